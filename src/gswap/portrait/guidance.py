"""Super-resolution guidance (Sec. III-C3 of arXiv 2603.23168): the portrait is also rendered at twice the window's size
and compared with I_gen enlarged by a super-resolution network. Nothing changes in how it is driven.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gswap.foundation.protocols import Upscaler
from gswap.foundation.store import PngStore
from gswap.foundation.types import BodyTrack, Camera, ImageStore, Progress, SwapSet, TargetSet, no_progress
from gswap.portrait.config import FitConfig
from gswap.portrait.frames import Box, TrainingFrame, TrainingFrames, box_of, pack
from gswap.portrait.losses import PerceptualLoss, gradient_loss
from gswap.portrait.model import Rendering

SCALE = 2
"""Size of the guiding pictures, in windows."""
SIDE = 512
"""Largest side of what one step renders of them, pixels: larger ones are cut at random places."""
_CUBIC, _LINEAR = cv2.INTER_CUBIC, cv2.INTER_LINEAR


def enlarge_generated(
    generated: ImageStore, chosen: Iterable[int], upscale: Upscaler, store: PngStore, progress: Progress = no_progress
) -> None:
    """Store I_gen at :data:`SCALE` times its size; frames that are stored already are kept.

    Args:
        generated: I_gen.
        chosen: The frames that the fit uses.
        upscale: Super-resolution; factors beyond :data:`SCALE` are averaged down to it.
        store: Where they go.
        progress: Told of frames.
    """
    wanted = [t for t in chosen if t not in store]
    for done, t in enumerate(wanted, 1):
        image = generated[t]
        large = upscale(image)
        size = (image.shape[1] * SCALE, image.shape[0] * SCALE)
        if large.shape[1::-1] != size:
            smaller = large.shape[1] > size[0]
            large = np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA if smaller else _CUBIC))
        store.write(t, large)
        progress(done, len(wanted), "super-resolution")


class GuidingFrames(TrainingFrames):
    """The training frames at :data:`SCALE` times the window's size, with I_gen from a super-resolution network.

    Args:
        enlarged: I_gen at that size.
        target: The clip.
        swap: I_gen of the clip.
        drive: Track, for the cameras.
        cfg: Weights and memory.
    """

    def __init__(
        self, enlarged: ImageStore, target: TargetSet, swap: SwapSet, drive: BodyTrack, cfg: FitConfig
    ) -> None:
        budget = cfg.cache_megabytes * 2**20
        super().__init__(
            target,
            swap,
            drive,
            1 / SCALE,
            least_confidence=cfg.least_confidence,
            budget=budget,
            upper_body=cfg.region == "upper-body",
        )
        self._enlarged = enlarged

    def _read(self, t: int) -> tuple[Box, UInt8[np.ndarray, "h w 11"]]:
        planes, hole = self._planes(t)
        size = (hole.shape[1] * SCALE, hole.shape[0] * SCALE)
        image, plate = (cv2.resize(plane, size, interpolation=_CUBIC) for plane in planes[:2])
        soft = [cv2.resize(plane, size, interpolation=_LINEAR) for plane in planes[2:]]
        inside = cv2.resize(hole, size, interpolation=cv2.INTER_NEAREST)
        guided = np.where(inside[..., None] > 0, self._enlarged[t], image)
        box = box_of(self._shown([image, plate, *soft], inside))
        return box, pack([guided, plate, *soft], box)


def cut(frame: TrainingFrame, generator: np.random.Generator, side: int = SIDE) -> TrainingFrame:
    """A random part of a frame, at most ``side`` pixels wide and high; smaller frames are given as they are."""
    height, width = frame.matte.shape
    if height <= side and width <= side:
        return frame
    box_height, box_width = min(height, side), min(width, side)
    y = int(generator.integers(0, height - box_height + 1))
    x = int(generator.integers(0, width - box_width + 1))
    rows, columns = slice(y, y + box_height), slice(x, x + box_width)
    picture = lambda values: values[..., rows, columns].contiguous(memory_format=torch.channels_last)  # noqa: E731
    plane = lambda values: values[rows, columns].contiguous()  # noqa: E731
    camera = frame.camera
    return TrainingFrame(
        image=picture(frame.image),
        plate=picture(frame.plate),
        matte=plane(frame.matte),
        gate=plane(frame.gate),
        mask_weight=plane(frame.mask_weight),
        weight=plane(frame.weight),
        outside=plane(frame.outside),
        camera=Camera(camera.focal, camera.cx - x, camera.cy - y, box_width, box_height),
    )


def guided_loss(
    rendering: Rendering, frame: TrainingFrame, cfg: FitConfig, perceptual: PerceptualLoss | None
) -> Float[Tensor, ""]:
    """Distance of a large rendering from the guiding picture: L1, and LPIPS or what stands in for it."""
    image, truth = rendering.image.contiguous(), frame.image.contiguous()
    loss = ((image - truth).abs() * frame.weight).mean()
    if perceptual is None:
        return loss + cfg.weight_gradient * gradient_loss(image, truth, frame.weight)
    return loss + cfg.weight_perceptual * perceptual(image, truth)
