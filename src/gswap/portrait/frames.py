"""The training frames as tensors: read from their stores on demand, cut to the box of M_inp, kept within a budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gswap.foundation.types import BodyTrack, Camera, SwapSet, TargetSet
from gswap.portrait import masks

BOX_STEP = 16
BOX_MARGIN = 4


class Box(NamedTuple):
    """Part of an image, pixels."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of ``image`` in this box (a view)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class TrainingFrame:
    """One frame in its box. Images in [0, 1], float32, channels last in memory."""

    image: Float[Tensor, "1 3 h w"]
    """I_gen inside M_inp, I_tgt outside."""
    plate: Float[Tensor, "1 3 h w"]
    matte: Float[Tensor, "h w"]
    """A_gen: new head and neck."""
    gate: Float[Tensor, "h w"]
    """M_head."""
    mask_weight: Float[Tensor, "h w"]
    """0 on clothes."""
    weight: Float[Tensor, "h w"]
    """Confidence."""
    outside: Float[Tensor, "h w"]
    """1 where the background loss looks."""
    camera: Camera


def box_of(mask: np.ndarray) -> Box:
    """Bounding box of a mask with a margin, its sides multiples of 16 where the image allows.

    An empty mask gives the first 16 pixels of the image.
    """
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(ys):
        return Box(0, 0, min(BOX_STEP, width), min(BOX_STEP, height))
    y, box_height = _span(int(ys[0]), int(ys[-1]), height)
    x, box_width = _span(int(xs[0]), int(xs[-1]), width)
    return Box(x, y, box_width, box_height)


def _span(first: int, last: int, limit: int) -> tuple[int, int]:
    start = max(first - BOX_MARGIN, 0)
    size = min(-(-(last + BOX_MARGIN + 1 - start) // BOX_STEP) * BOX_STEP, limit)
    return min(start, limit - size), size


def cut_camera(camera: Camera, divisor: float, box: Box) -> Camera:
    """Camera of a box in an image that is ``divisor`` times smaller (below 1: larger)."""
    return Camera(
        camera.focal / divisor, camera.cx / divisor - box.x, camera.cy / divisor - box.y, box.width, box.height
    )


def shrink(image: np.ndarray, divisor: int) -> np.ndarray:
    """Area average; rows and columns that do not fill a block are dropped, so that the scale is exact."""
    if divisor == 1:
        return image
    height, width = image.shape[0] // divisor, image.shape[1] // divisor
    whole = image[: height * divisor, : width * divisor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def window_camera(target: TargetSet, drive: BodyTrack, t: int) -> Camera:
    """Camera of the work image of frame ``t``."""
    width, height = (int(v) for v in drive.sizes[t])
    return target.window.camera(t, float(drive.focal[t]), width, height)


class TrainingFrames:
    """The frames of a clip at one size.

    Args:
        target: The clip.
        swap: I_gen of the clip.
        drive: Track, for the cameras.
        divisor: How much smaller the images are than the window, a whole number.
        least_confidence: See :class:`~gswap.portrait.config.FitConfig`.
        upper_body: The mattes hold the target's torso too, for a field that covers it; what is composited does not.
        budget: Bytes of decoded frames to keep; the least recently used go first.
    """

    def __init__(
        self,
        target: TargetSet,
        swap: SwapSet,
        drive: BodyTrack,
        divisor: float,
        *,
        least_confidence: float,
        budget: int,
        upper_body: bool = False,
    ) -> None:
        self._target, self._swap, self._drive = target, swap, drive
        self.divisor = divisor
        self._least, self._upper_body = least_confidence, upper_body
        self._budget, self._used = budget, 0
        self._kept: OrderedDict[int, tuple[Box, UInt8[np.ndarray, "h w 11"]]] = OrderedDict()

    def __getitem__(self, t: int) -> TrainingFrame:
        if t in self._kept:
            self._kept.move_to_end(t)
        else:
            self._kept[t] = self._read(t)
            self._used += self._kept[t][1].nbytes
            while self._used > self._budget and len(self._kept) > 1:
                self._used -= self._kept.popitem(last=False)[1][1].nbytes
        box, packed = self._kept[t]
        values = torch.from_numpy(packed).permute(2, 0, 1).float().div_(255)
        image = lambda k: values[k : k + 3][None].contiguous(memory_format=torch.channels_last)  # noqa: E731
        matte, gate, mask_weight, weight, outside = (values[k].contiguous() for k in range(6, 11))
        camera = cut_camera(window_camera(self._target, self._drive, t), self.divisor, box)
        return TrainingFrame(image(0), image(3), matte, gate, mask_weight, weight, outside, camera)

    def _read(self, t: int) -> tuple[Box, UInt8[np.ndarray, "h w 11"]]:
        planes, hole = self._planes(t)
        divisor = int(self.divisor)
        box = box_of(shrink(self._shown(planes, hole), divisor))
        return box, pack([shrink(plane, divisor) for plane in planes], box)

    def _planes(self, t: int) -> tuple[list[np.ndarray], UInt8[np.ndarray, "h w"]]:
        """The fields of :class:`TrainingFrame` in the window's size, as ``uint8``, and M_inp."""
        target, swap = self._target, self._swap
        head, neck = swap.head[t], swap.neck[t]
        target_head, target_neck = target.head[t], target.neck[t]
        matte = masks.union_matte(head, neck)
        rgb, plate = target.rgb[t], swap.plate[t]
        hole = masks.inpaint_mask(matte, target_head, target_neck, rgb=rgb, plate=plate)
        body = masks.torso(target.person[t], target_head, target_neck)
        image = np.where(hole[..., None] > 0, swap.rgb[t], rgb)
        floats = [
            masks.head_gate(hole, body, head, neck),
            masks.mask_weight(body, matte),
            masks.pixel_weight(matte, swap.confidence[t], self._least),
            masks.outside(hole),
        ]
        if self._upper_body:
            matte = np.maximum(matte, np.round(body * 255).astype(np.uint8))
            floats[1] = np.ones_like(floats[1])
        return [image, plate, matte, *((f * 255 + 0.5).astype(np.uint8) for f in floats)], hole

    def _shown(self, planes: Sequence[np.ndarray], hole: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """What a step has to see: M_inp, and the torso where the field covers it."""
        return np.maximum(hole, planes[2]) if self._upper_body else hole


def pack(planes: Sequence[np.ndarray], box: Box) -> UInt8[np.ndarray, "h w 11"]:
    """A box of all planes, channel after channel."""
    return np.ascontiguousarray(np.concatenate([np.atleast_3d(box.cut(plane)) for plane in planes], 2))
