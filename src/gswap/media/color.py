"""Planes <-> RGB by a video's colour tags, and pasting an edited picture into planes bit-exactly elsewhere.

RGB here is the clip's own non-linear RGB: matrix and range are applied, primaries and transfer curve are not touched.
Chroma is repeated over the luma samples that share it and averaged on the way back: the two are exact inverses, so
writing an unchanged picture back moves no sample by more than rounding, wherever the chroma is sited.

Unspecified tags are guessed as players do (mpv, VLC): the matrix from the primaries, else BT.709 for pictures wider
than 1279 or taller than 576 pixels and BT.601 below; the range is limited for YUV, full for grey and RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.foundation.errors import InputError
from gswap.foundation.types import ColorTags, RgbImage, VideoInfo
from gswap.media.layout import PlaneLayout, Planes, display_layout, repeat_chroma

MATRIX_RGB, MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_BT601 = 0, 1, 2, 6
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2
_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Luma coefficients of red and blue by matrix code (ITU-T H.273, table 4)."""
_MATRIX_OF_PRIMARIES = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}
_HD_WIDTH, _SD_MAX_HEIGHT = 1280, 576


def resolve_tags(color: ColorTags, layout: PlaneLayout, width: int, height: int) -> tuple[int, bool]:
    """The matrix code and whether the range is full, with unspecified tags guessed (see the module's docstring).

    Raises:
        InputError: The matrix is one that is not a plain luma-chroma matrix (YCgCo, ICtCp, constant luminance).
    """
    full = color.range == RANGE_FULL or layout.full_range
    if layout.family == "rgb":
        return MATRIX_RGB, color.range != RANGE_LIMITED
    if layout.family == "gray":
        full = color.range != RANGE_LIMITED
    matrix = color.matrix
    if matrix == MATRIX_UNSPECIFIED or (matrix == MATRIX_RGB and layout.family == "gray"):
        guess = MATRIX_BT709 if width >= _HD_WIDTH or height > _SD_MAX_HEIGHT else MATRIX_BT601
        matrix = _MATRIX_OF_PRIMARIES.get(color.primaries, guess)
    if matrix not in _KR_KB:
        raise InputError(
            f"Expected a BT.601, BT.709 or BT.2020 colour matrix, found matrix code {matrix}.",
            hint="Convert the clip to BT.709 first.",
        )
    return matrix, full


def rgb_transform(
    color: ColorTags, layout: PlaneLayout, width: int, height: int
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """``(m, o)`` with ``rgb = m @ samples + o``: rgb in [0, 255], samples as code values in plane order."""
    matrix, full = resolve_tags(color, layout, width, height)
    unit = 1 << (layout.bits - 8)
    black = 0.0 if full else 16.0 * unit
    luma = 255.0 / (layout.maximum if full else 219.0 * unit)
    if layout.family == "rgb":
        order = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float64)  # planes are G, B, R
        return order * luma, np.full(3, -black * luma)
    chroma = 255.0 / (layout.maximum if full else 224.0 * unit)
    neutral = float(1 << (layout.bits - 1))
    kr, kb = _KR_KB[matrix]
    kg = 1.0 - kr - kb
    yuv_to_rgb = np.array(
        [
            [1.0, 0.0, 2 * (1 - kr)],
            [1.0, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg],
            [1.0, 2 * (1 - kb), 0.0],
        ],
        np.float64,
    )
    m = yuv_to_rgb * np.array([luma, chroma, chroma])
    return m, -(m @ np.array([black, neutral, neutral], np.float64))


def planes_to_rgb(planes: Planes, layout: PlaneLayout, color: ColorTags) -> RgbImage:
    """Planes -> 8-bit RGB, each value the nearest to the exact one."""
    height, width = planes[0].shape
    m, o = rgb_transform(color, layout, width, height)
    if layout.family == "gray":
        neutral = 1 << (layout.bits - 1)
        offset = o[0] + m[0, 1:].sum() * neutral
        value = planes[0].astype(np.float32) * np.float32(m[0, 0]) + np.float32(offset)
        return np.repeat(_to_uint8(value)[:, :, None], 3, axis=2)
    channels = [planes[0], *(repeat_chroma(p, layout, width, height) for p in planes[1:])]
    samples = cv2.merge([c.astype(np.float32) for c in channels])
    return _to_uint8(cv2.transform(samples, np.column_stack([m, o])))


def rgb_to_planes(rgb: np.ndarray, layout: PlaneLayout, color: ColorTags) -> Planes:
    """RGB (``uint8``, or float in [0, 255]) ``(h, w, 3)`` -> planes, chroma averaged over the luma that shares it."""
    height, width = rgb.shape[:2]
    blank = tuple(np.zeros(shape, layout.dtype) for shape in layout.shapes(width, height))
    edited = np.full((height, width), 255, np.uint8)
    return _paste(blank, rgb, edited, layout, color, 0, 0)


def paste(planes: Planes, rgb: np.ndarray, edited: UInt8[np.ndarray, "h w"], info: VideoInfo, x: int, y: int) -> Planes:
    """Put the edited pixels of a picture into a frame; every other sample keeps its exact value.

    Args:
        planes: The frame's planes in display orientation, as :class:`~gswap.media.read.VideoReader` yields them.
        rgb: ``(h, w, 3)`` picture, ``uint8`` or float in [0, 255] (float keeps more than 8 bits). Soft edges are
            already blended in.
        edited: Which of its pixels count: luma where it is > 0, and the chroma samples any of whose luma is > 0 (a
            shared chroma sample is the mean of new values and, for its unedited pixels, its old value).
        info: The video of the planes.
        x: Frame column of the picture's left edge. The picture may stick out of the frame on any side.
        y: Frame row of its top edge.
    """
    return _paste(planes, rgb, edited, display_layout(info), info.color, x, y)


def _paste(
    planes: Planes, rgb: np.ndarray, edited: np.ndarray, layout: PlaneLayout, color: ColorTags, x: int, y: int
) -> Planes:
    frame_h, frame_w = planes[0].shape
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + rgb.shape[1], frame_w), min(y + rgb.shape[0], frame_h)
    out = tuple(plane.copy() for plane in planes)
    if right <= left or bottom <= top:
        return out
    crop = np.s_[top - y : bottom - y, left - x : right - x]
    mask = edited[crop] > 0
    if not mask.any():
        return out
    m, o = rgb_transform(color, layout, frame_w, frame_h)
    inverse = np.linalg.inv(m)
    affine = np.column_stack([inverse, -inverse @ o])
    samples = cv2.transform(np.ascontiguousarray(rgb[crop], np.float32), affine)

    window = np.s_[top:bottom, left:right]
    subsampled = layout.log2_x > 0 or layout.log2_y > 0
    for channel, plane in enumerate(out):
        if channel == 0 or not subsampled:
            plane[window][mask] = _to_codes(samples[:, :, channel], layout)[mask]
        else:
            _paste_chroma(plane, samples[:, :, channel], mask, layout, (left, top, frame_w, frame_h))
    return out


def _paste_chroma(
    plane: np.ndarray, value: np.ndarray, mask: np.ndarray, layout: PlaneLayout, place: tuple[int, int, int, int]
) -> None:
    """Average new chroma into the subsampled ``plane``, in place. ``place``: left, top, frame width, frame height."""
    left, top, frame_w, frame_h = place
    step_x, step_y = 1 << layout.log2_x, 1 << layout.log2_y
    height, width = mask.shape
    x0, y0 = left // step_x, top // step_y
    x1, y1 = -(-(left + width) // step_x), -(-(top + height) // step_y)
    grid = np.zeros(((y1 - y0) * step_y, (x1 - x0) * step_x, 2), np.float64)
    oy, ox = top - y0 * step_y, left - x0 * step_x
    grid[oy : oy + height, ox : ox + width, 0] = np.where(mask, value, 0.0)
    grid[oy : oy + height, ox : ox + width, 1] = mask
    blocks = grid.reshape(y1 - y0, step_y, x1 - x0, step_x, 2).sum(axis=(1, 3))
    total, count = blocks[:, :, 0], blocks[:, :, 1]
    # Chroma samples at an odd right or bottom edge cover fewer luma samples.
    columns = np.minimum(step_x, frame_w - np.arange(x0, x1) * step_x)
    rows = np.minimum(step_y, frame_h - np.arange(y0, y1) * step_y)
    covered = rows[:, None] * columns[None, :]
    old = plane[y0:y1, x0:x1]
    mixed = (total + (covered - count) * old) / covered
    touched = count > 0
    old[touched] = _to_codes(mixed, layout)[touched]


def _to_uint8(value: Float[np.ndarray, "..."]) -> np.ndarray:
    """Rounded to the nearest (halves to even) and saturated, in one pass."""
    return cv2.addWeighted(value, 1.0, value, 0.0, 0.0, dtype=cv2.CV_8U)


def _to_codes(value: np.ndarray, layout: PlaneLayout) -> np.ndarray:
    return np.clip(np.rint(value), 0, layout.maximum).astype(layout.dtype)
