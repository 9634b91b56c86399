"""Filling what no frame shows: smoothly, with the detail of shifted copies of the rest (He and Sun, ECCV 2012)."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur, disc, smooth_fill

_CONTRAST_SIGMA = 3.0
_INSIDE = 13
"""Pixels from the border of what is known within which contrast is not measured."""
_OVERLAP = 4
"""Working pixels around the hole that are filled too, to blend over."""
_DETAIL_SIGMA = 5.0
"""Working pixels: what is larger than this is not texture; the smooth fill gives it."""
_SEAM_SIGMA = 0.8
"""Working pixels: blurs the joints between the copied pieces."""


def local_contrast(image: UInt8[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"], side: int) -> float:
    """Median difference to the local mean, 8-bit levels, well inside ``known``, of the image reduced to ``side``."""
    scale = _reduction(image, side)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(known.astype(np.uint8), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(inside, disc(_INSIDE), borderType=cv2.BORDER_REPLICATE) > 0
    if not inside.any():
        return 0.0
    return 1.5 * float(np.median(np.abs(small - blur(small, _CONTRAST_SIGMA)).mean(-1)[inside]))


def continue_texture(
    image: UInt8[np.ndarray, "h w 3"], unknown: Bool[np.ndarray, "h w"], needed: Bool[np.ndarray, "h w"], side: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Fill ``unknown`` smoothly, with the detail of pieces of the rest of the image where ``needed``.

    Args:
        image: Known outside ``unknown``.
        unknown: What to fill.
        needed: The part of it that will be seen.
        side: The pieces are chosen on an image of at most this many pixels on a side.
    """
    smooth = np.round(smooth_fill(image.astype(np.float32), unknown)).clip(0, 255).astype(np.uint8)
    hole = unknown & needed
    if not hole.any():
        return smooth
    box = _box_to_copy_within(hole, unknown)
    part, missing, useless = smooth[box], hole[box], (unknown & ~needed)[box]
    scale = _reduction(part, side)
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    size = (small.shape[1], small.shape[0])
    missing_small = cv2.resize(missing.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.05
    useless_small = cv2.resize(useless.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.05
    wide = cv2.dilate(missing_small.astype(np.uint8), disc(2 * _OVERLAP + 1)) > 0
    filled = _shift_map(small, wide | useless_small)
    if filled is None:
        return smooth
    filled = blur(filled.astype(np.float32), _SEAM_SIGMA)
    # Only the detail of the pieces is taken: their light and large shapes belong elsewhere.
    detail = filled - blur(filled, _DETAIL_SIGMA)
    filled = part + cv2.resize(detail, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_CUBIC)
    fade = np.clip(cv2.distanceTransform((~missing).astype(np.uint8), cv2.DIST_L2, 3) * scale / _OVERLAP, 0, 1)
    fade = np.where(useless, 1, fade)[..., None].astype(np.float32)
    known = ~(missing | useless)[..., None]
    mixed = np.where(known, part, filled * (1 - fade) + part * fade)
    out = smooth.copy()
    out[box] = np.round(mixed).clip(0, 255).astype(np.uint8)
    return out


def _reduction(image: np.ndarray, side: int) -> float:
    return min(1.0, side / max(image.shape[:2]))


def _box_to_copy_within(hole: Bool[np.ndarray, "h w"], unknown: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of the hole, and as much again around it to copy from, as long as that is mostly known."""
    known = ~unknown
    x, y, width, height = cv2.boundingRect(hole.view(np.uint8))
    rows = _grown(y, y + height, known[:, max(x - width // 2, 0) : x + width + width // 2].mean(1))
    return rows, _grown(x, x + width, known[rows].mean(0))


def _grown(low: int, high: int, known: Float[np.ndarray, " n"]) -> slice:
    """The interval, half its length wider on either side, without ends that are mostly unknown."""
    margin = (high - low) // 2
    before = np.flatnonzero(known[max(low - margin, 0) : low] > 0.5)
    behind = np.flatnonzero(known[high : high + margin] > 0.5)
    start = max(low - margin, 0) + before[0] if len(before) else low
    return slice(int(start), int(high + behind[-1] + 1) if len(behind) else high)


def _shift_map(image: UInt8[np.ndarray, "h w 3"], missing: Bool[np.ndarray, "h w"]) -> np.ndarray | None:
    """OpenCV's shift-map inpainting, ``None`` where it finds nothing to copy."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    filled = np.zeros_like(lab)
    cv2.setRNGSeed(0)
    try:
        cv2.xphoto.inpaint(lab, np.where(missing, 0, 255).astype(np.uint8), filled, cv2.xphoto.INPAINT_SHIFTMAP)
    except cv2.error:  # too little is known for any shift to be found
        return None
    untouched = missing & (filled == 0).all(-1)  # left at zero where no shift reaches what is known
    rgb = cv2.cvtColor(filled, cv2.COLOR_LAB2RGB)
    return smooth_fill(rgb.astype(np.float32), untouched) if untouched.any() else rgb
