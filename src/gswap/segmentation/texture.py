"""Filling what no frame shows: continue the texture by shifted copies of the surroundings (He and Sun, ECCV 2012)."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from gswap.foundation.imaging import blur, disc, smooth_fill

_WORK_SIDE = 200
"""Pixels: the optimisation's time grows quickly with the image; a hole is filled at about this size."""
_CONTRAST_SIGMA = 3.0
_INSIDE = 13
"""Pixels from the border of what is known within which contrast is not measured."""


def _reduced(image: np.ndarray) -> float:
    return min(1.0, _WORK_SIDE / max(image.shape[:2]))


def local_contrast(image: UInt8[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"]) -> float:
    """Median difference to the local mean, 8-bit levels, well inside ``known`` and at the working size."""
    scale = _reduced(image)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(known.astype(np.uint8), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(inside, disc(_INSIDE), borderType=cv2.BORDER_REPLICATE) > 0
    if not inside.any():
        return 0.0
    return 1.5 * float(np.median(np.abs(small - blur(small, _CONTRAST_SIGMA)).mean(-1)[inside]))


def continue_texture(image: UInt8[np.ndarray, "h w 3"], hole: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Fill ``hole`` with pieces of the rest of the image; smoothly where that is impossible."""
    if not hole.any() or hole.all():
        return image
    rows, columns = np.flatnonzero(~hole.all(1)), np.flatnonzero(~hole.all(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part, missing = image[box], hole[box]
    scale = _reduced(part)
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    size = (small.shape[1], small.shape[0])
    missing_small = cv2.resize(missing.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    missing_small = cv2.dilate(missing_small, disc(3))
    filled = _shift_map(small, missing_small)
    if filled is None:
        filled = smooth_fill(small.astype(np.float32), missing_small > 0).clip(0, 255).astype(np.uint8)
    large = cv2.resize(filled, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_CUBIC)
    out = image.copy()
    out[box] = np.where(missing[..., None], large, part)
    outside = hole.copy()
    outside[box] = False
    return smooth_fill(out.astype(np.float32), outside).clip(0, 255).astype(np.uint8) if outside.any() else out


def _shift_map(image: UInt8[np.ndarray, "h w 3"], missing: UInt8[np.ndarray, "h w"]) -> np.ndarray | None:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    filled = np.zeros_like(lab)
    cv2.setRNGSeed(0)
    try:
        cv2.xphoto.inpaint(lab, (1 - missing) * 255, filled, cv2.xphoto.INPAINT_SHIFTMAP)
    except cv2.error:  # too little is known for any shift to be found
        return None
    return cv2.cvtColor(filled, cv2.COLOR_LAB2RGB)
