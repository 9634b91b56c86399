"""Compositor layers: head RGBA, matte and clean plate of every frame as 16-bit PNG, full frame.

The pipeline's edit blends I_out = A F + (1 - A) P into the frame B with the feathered region e:
``(1 - e) B + e (A F + (1 - A) P)``. Written as one *over* of straight colour on a clean plate this is

    out = a F + (1 - a) Q,   a = e A,   Q = ((1 - e) B + e (1 - A) P) / (1 - a)

exactly, so that what is written here rebuilds the output with the node that every compositor has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt16

from gswap.foundation.store import PngStore, write_bytes
from gswap.foundation.types import Render, RgbImage, Window

FULL_SCALE = 65535
_EIGHT_BIT = 255.0
_SOLID = 1.0 - 1e-6
"""Above this alpha the plate cannot be seen; P itself stands in for it."""

README = """gswap layers
============
{count} frames, {width}x{height}, 16-bit PNG, numbered from 000000 as in the clip.

head/   RGBA. Straight (un-premultiplied) alpha. RGB is the head and neck with no background in it.
matte/  The alpha of head/ alone, one channel.
plate/  RGB. The clip without the original head: what the new head is laid over.

Colour: the clip's own RGB encoding (sRGB/BT.709 transfer, not linear), full range: 0 = 0.0, 65535 = 1.0.
Rebuild: out = head.rgb * head.a + plate * (1 - head.a), in the encoded values as they are (no linearisation).
         In a node compositor: read head/ as straight alpha, premultiply, over plate/, with colour management off.
Label, watermark and provenance are not in these layers. Whoever publishes a composite discloses it.
Frames without the person: head/ and matte/ are empty, plate/ is the clip.
"""


@dataclass(frozen=True)
class FrameLayers:
    """One frame's layers over the full frame, floats in [0, 1]: ``out = alpha * foreground + (1 - alpha) * plate``."""

    foreground: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]
    plate: Float[np.ndarray, "h w 3"]

    def over(self) -> Float[np.ndarray, "h w 3"]:
        """The composite."""
        a = self.alpha[..., None]
        return a * self.foreground + (1 - a) * self.plate


def frame_layers(render: Render, frame: RgbImage, window: Window, t: int) -> FrameLayers:
    """Place a window's render in its frame and fold the edit's feather into alpha and plate (see the module).

    Args:
        render: I_out and its parts, in the work window.
        frame: The clip's frame B, full size.
        window: Where the work window lies; parts of it outside the frame are dropped.
        t: Index of the frame.
    """
    size = (window.width, window.height)
    head, plate = (_unit(image, size) for image in (render.foreground, render.plate))
    matte, edited = (_unit(image, size)[..., None] for image in (render.alpha, render.edited))
    x, y = int(window.x[t]), int(window.y[t])
    height, width = frame.shape[:2]
    inside = (slice(max(y, 0), min(y + size[1], height)), slice(max(x, 0), min(x + size[0], width)))
    crop = (slice(inside[0].start - y, inside[0].stop - y), slice(inside[1].start - x, inside[1].stop - x))
    head, plate, matte, edited = head[crop], plate[crop], matte[crop], edited[crop]
    background = frame.astype(np.float32) / _EIGHT_BIT
    alpha = edited * matte
    mixed = (1 - edited) * background[inside] + edited * (1 - matte) * plate
    solid = alpha > _SOLID
    clean = np.where(solid, plate, mixed / np.where(solid, 1.0, 1 - alpha))
    full_alpha = np.zeros((height, width), np.float32)
    full_head = np.zeros_like(background)
    full_alpha[inside] = alpha[..., 0]
    full_head[inside] = np.where(alpha > 0, head, 0)
    background[inside] = clean
    return FrameLayers(full_head, full_alpha, background)


def untouched_layers(frame: RgbImage) -> FrameLayers:
    """Layers of a frame without the person: nothing over the clip's own picture."""
    plate = frame.astype(np.float32) / _EIGHT_BIT
    return FrameLayers(np.zeros_like(plate), np.zeros(frame.shape[:2], np.float32), plate)


class LayerWriter:
    """Writes the layers of a clip; frames that are there already can be skipped after a kill (``t in writer``).

    Args:
        folder: Where ``head/``, ``matte/``, ``plate/`` and ``README.txt`` go.
        frame_count: Number of frames of the clip.
        size: Width and height of the frames.
    """

    def __init__(self, folder: Path, frame_count: int, size: tuple[int, int]) -> None:
        self.folder = folder
        self._stores = {name: PngStore(folder / name, frame_count) for name in ("head", "matte", "plate")}
        text = README.format(count=frame_count, width=size[0], height=size[1])
        write_bytes(folder / "README.txt", text.encode())

    def __contains__(self, t: int) -> bool:
        return all(t in store for store in self._stores.values())

    def write(self, t: int, layers: FrameLayers) -> None:
        """Store the layers of frame ``t``."""
        head, alpha = _sixteen_bit(layers.foreground), _sixteen_bit(layers.alpha)
        self._stores["head"].write(t, np.dstack([head, alpha]))
        self._stores["matte"].write(t, alpha)
        self._stores["plate"].write(t, _sixteen_bit(layers.plate))


def _unit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``uint8`` work image -> float in [0, 1] at the window's size in frame pixels."""
    value = image.astype(np.float32) / _EIGHT_BIT
    if (image.shape[1], image.shape[0]) != size:
        value = cv2.resize(value, size, interpolation=cv2.INTER_LINEAR)
    return value


def _sixteen_bit(image: np.ndarray) -> UInt16[np.ndarray, "..."]:
    return np.rint(np.clip(image, 0, 1) * FULL_SCALE).astype(np.uint16)
