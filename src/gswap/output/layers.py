"""Compositor layers: head RGBA, matte and clean plate of every frame as 16-bit PNG, full frame.

A render is I_out = A F + (1 - A) P in its window, and it replaces the frame B where it is edited. Over the full frame

    out = a F + (1 - a) Q,   a = A and Q = P where edited,   a = 0 and Q = B elsewhere,

with what rounding and enlargement of the window leave over put into F where it is opaque and into Q where it is not.
So the layers rebuild the output to 16-bit rounding, with the *over* node that every compositor has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt16

from gswap.foundation.store import PngStore, remove_parts, write_bytes
from gswap.foundation.types import Render, RgbImage, Window

FULL_SCALE = 65535
_EIGHT_BIT = 255.0
_HALF = 0.5
"""Alpha from which a pixel counts as the head's."""

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
{job}
"""
NAMES = ("head", "matte", "plate")
README_NAME = "README.txt"
_JOB = "Job: "


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
    """Place a window's render in its frame.

    Args:
        render: I_out and its parts, in the work window.
        frame: The clip's frame B, full size.
        window: Where the work window lies; parts of it outside the frame are dropped.
        t: Index of the frame.
    """
    x, y, width, height = int(window.x[t]), int(window.y[t]), window.width, window.height
    inside = (slice(max(y, 0), min(y + height, frame.shape[0])), slice(max(x, 0), min(x + width, frame.shape[1])))
    crop = (slice(inside[0].start - y, inside[0].stop - y), slice(inside[1].start - x, inside[1].stop - x))

    def place(image: np.ndarray, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
        enlarged = cv2.resize(image, (width, height), interpolation=interpolation) if window.scale != 1 else image
        return enlarged[crop].astype(np.float32) / _EIGHT_BIT

    edited = place(render.edited, cv2.INTER_NEAREST)[..., None] > 0
    out, head, plate = place(render.rgb), place(render.foreground), place(render.plate)
    alpha = np.where(edited, place(render.alpha)[..., None], 0)
    opaque = alpha >= _HALF
    head = np.where(opaque, (out - (1 - alpha) * plate) / np.maximum(alpha, _HALF), head).clip(0, 1)
    below = ((out - alpha * head) / np.maximum(1 - alpha, _HALF)).clip(0, 1)
    clean = frame.astype(np.float32) / _EIGHT_BIT
    clean[inside] = np.where(edited, np.where(opaque, plate, below), clean[inside])
    full_alpha, full_head = np.zeros(frame.shape[:2], np.float32), np.zeros_like(clean)
    full_alpha[inside] = alpha[..., 0]
    full_head[inside] = np.where(alpha > 0, head, 0)
    return FrameLayers(full_head, full_alpha, clean)


def untouched_layers(frame: RgbImage) -> FrameLayers:
    """Layers of a frame without the person: nothing over the clip's own picture."""
    plate = frame.astype(np.float32) / _EIGHT_BIT
    return FrameLayers(np.zeros_like(plate), np.zeros(frame.shape[:2], np.float32), plate)


def job_of(folder: Path) -> str | None:
    """Which job's layers lie in a folder, by its README: ``""`` for one that does not say, ``None`` for no layers."""
    if not any((folder / name).exists() for name in (*NAMES, README_NAME)):
        return None
    try:
        lines = (folder / README_NAME).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix(_JOB) for line in lines if line.startswith(_JOB)), "")


def is_complete(folder: Path, frame_count: int, job: str) -> bool:
    """Whether a folder holds the layers of all frames of a job."""
    files = (folder / name / f"{t:06d}.png" for name in NAMES for t in range(frame_count))
    return job_of(folder) == job and all(file.exists() for file in files)


class LayerWriter:
    """Writes the layers of a clip; frames that are there already can be skipped after a kill (``t in writer``).

    Layers of another job in the same folder are removed first.

    Args:
        folder: Where ``head/``, ``matte/``, ``plate/`` and ``README.txt`` go.
        frame_count: Number of frames of the clip.
        size: Width and height of the frames.
        job: What the layers depend on, as a word: equal jobs make equal layers.
    """

    def __init__(self, folder: Path, frame_count: int, size: tuple[int, int], job: str) -> None:
        self.folder = folder
        mine = job_of(folder) == job
        self._stores = {name: PngStore(folder / name, frame_count) for name in NAMES}
        remove_parts(folder)
        if not mine:
            for name in NAMES:
                for image in (folder / name).glob("[0-9]" * 6 + ".png"):
                    image.unlink()
        text = README.format(count=frame_count, width=size[0], height=size[1], job=_JOB + job)
        write_bytes(folder / README_NAME, text.encode())

    def __contains__(self, t: int) -> bool:
        return all(t in store for store in self._stores.values())

    def write(self, t: int, layers: FrameLayers) -> None:
        """Store the layers of frame ``t``."""
        head, alpha = _sixteen_bit(layers.foreground), _sixteen_bit(layers.alpha)
        self._stores["head"].write(t, np.dstack([head, alpha]))
        self._stores["matte"].write(t, alpha)
        self._stores["plate"].write(t, _sixteen_bit(layers.plate))


def _sixteen_bit(image: np.ndarray) -> UInt16[np.ndarray, "..."]:
    return np.rint(np.clip(image, 0, 1) * FULL_SCALE).astype(np.uint16)
