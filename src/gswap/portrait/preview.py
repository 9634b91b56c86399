"""A sheet of pictures that shows how far a fit is."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from gswap.foundation.types import RgbImage
from gswap.portrait.frames import TrainingFrame
from gswap.portrait.model import Rendering

CELL = 240
GREY = 0.5


def to_rgb(image: Tensor) -> RgbImage:
    """``(3, h, w)`` in [0, 1] -> uint8, clamped and rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def preview_sheet(shown: Sequence[tuple[TrainingFrame, Rendering]]) -> RgbImage:
    """One row a frame: I_gen, I_out inside M_head, the head alone over grey."""
    rows = []
    for frame, rendering in shown:
        composite = frame.image + frame.gate * (rendering.image - frame.image)
        alone = rendering.features[:3] + (1 - rendering.alpha) * GREY
        cells = [to_rgb(frame.image[0]), to_rgb(composite[0]), to_rgb(alone)]
        rows.append(np.hstack([_cell(cell) for cell in cells]))
    return np.vstack(rows)


def _cell(image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    scale = CELL / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    out = np.full((CELL, CELL, 3), round(GREY * 255), np.uint8)
    y, x = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    out[y : y + size[1], x : x + size[0]] = small
    return out
