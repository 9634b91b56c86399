"""How a pixel format lays out its samples, and decoder frames <-> planar arrays.

"Planes" are the native samples as separate arrays, ``uint8`` or ``uint16``: ``(Y, U, V)``, ``(Y,)`` or ``(G, B, R)``.
Packed and semi-planar formats (nv12, rgb24) are taken apart, which loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import av
import numpy as np
from av.video.frame import VideoFrame as AvFrame

from gswap.foundation.errors import InputError
from gswap.foundation.types import VideoInfo

Planes = tuple[np.ndarray, ...]

MIN_BITS, MAX_BITS = 8, 12
_SUBSAMPLING = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440", (2, 0): "411", (2, 2): "410"}
_PACKED_RGB = {"rgb24": (1, 2, 0), "bgr24": (1, 0, 2), "rgb0": (1, 2, 0), "bgr0": (1, 0, 2)}
"""Where G, B and R stand in a packed pixel."""


@dataclass(frozen=True)
class PlaneLayout:
    """Shape and depth of the planes of one pixel format.

    ``log2_x`` and ``log2_y`` say how many luma columns and rows share a chroma sample (1 = two). ``full_range`` is
    the range that the format's own name states (yuvj), else ``False``.
    """

    family: Literal["yuv", "gray", "rgb"]
    bits: int
    log2_x: int = 0
    log2_y: int = 0
    full_range: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Sample type."""
        return np.uint8 if self.bits == MIN_BITS else np.uint16

    @property
    def maximum(self) -> int:
        """Largest code value."""
        return (1 << self.bits) - 1

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the planar format with these samples."""
        depth = "" if self.bits == MIN_BITS else f"{self.bits}le"
        if self.family == "gray":
            return f"gray{depth}"
        if self.family == "rgb":
            return f"gbrp{depth}"
        return f"yuv{_SUBSAMPLING[self.log2_x, self.log2_y]}p{depth}"

    def shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """``(rows, columns)`` of every plane of a ``width`` x ``height`` picture."""
        full = (height, width)
        if self.family == "gray":
            return (full,)
        if self.family == "rgb":
            return (full, full, full)
        chroma = (-(-height >> self.log2_y), -(-width >> self.log2_x))
        return (full, chroma, chroma)

    def rotated(self, rotation: int) -> PlaneLayout:
        """The layout after turning the picture: a quarter turn exchanges the chroma directions."""
        if rotation % 180 == 0:
            return self
        return PlaneLayout(self.family, self.bits, self.log2_y, self.log2_x, self.full_range)


@lru_cache
def layout_of(pixel_format: str) -> PlaneLayout:
    """The layout of FFmpeg's ``pixel_format``.

    Raises:
        InputError: The format has alpha, a palette, or samples that cannot be written back without loss.
    """
    try:
        fmt = av.VideoFormat(pixel_format, 64, 64)
    except ValueError as error:
        raise InputError(f"Expected a known pixel format, found {pixel_format!r}.") from error
    if fmt.has_palette or any(c.is_alpha for c in fmt.components):
        raise _refusal(pixel_format, "transparency or a palette")
    if pixel_format in _PACKED_RGB:
        return PlaneLayout("rgb", MIN_BITS)
    depths = {c.bits for c in fmt.components}
    bits = next(iter(depths))
    if len(depths) > 1 or not MIN_BITS <= bits <= MAX_BITS or fmt.is_big_endian:
        raise _refusal(pixel_format, "a sample depth other than 8 to 12 bits")
    if fmt.is_rgb and fmt.is_planar and len(fmt.components) == 3:
        return PlaneLayout("rgb", bits)
    if pixel_format.startswith("gray") and len(fmt.components) == 1:
        return PlaneLayout("gray", bits)
    if pixel_format.startswith("yuv") and fmt.is_planar and len(fmt.components) == 3:
        log2 = (64 // fmt.components[1].width).bit_length() - 1, (64 // fmt.components[1].height).bit_length() - 1
        if log2 in _SUBSAMPLING:
            return PlaneLayout("yuv", bits, *log2, full_range=pixel_format.startswith("yuvj"))
    if pixel_format == "nv12":
        return PlaneLayout("yuv", MIN_BITS, 1, 1)
    raise _refusal(pixel_format, "an unusual sample order")


def display_layout(info: VideoInfo) -> PlaneLayout:
    """The layout of the planes that :class:`~gswap.media.read.VideoReader` yields for ``info``."""
    return layout_of(info.pixel_format).rotated(info.rotation)


def planes_of(frame: AvFrame) -> Planes:
    """Copy the samples of a decoded frame, unrotated."""
    layout = layout_of(frame.format.name)
    width, height = frame.width, frame.height
    if frame.format.name in _PACKED_RGB:
        pixel_bytes = 4 if frame.format.name.endswith("0") else 3
        pixels = _rows(frame, 0, np.uint8)[:height, : width * pixel_bytes].reshape(height, width, pixel_bytes)
        return tuple(np.ascontiguousarray(pixels[:, :, c]) for c in _PACKED_RGB[frame.format.name])
    shapes = layout.shapes(width, height)
    if frame.format.name == "nv12":
        rows, columns = shapes[1]
        pairs = _rows(frame, 1, np.uint8)[:rows, : columns * 2].reshape(rows, columns, 2)
        return (
            _rows(frame, 0, np.uint8)[:height, :width].copy(),
            np.ascontiguousarray(pairs[:, :, 0]),
            np.ascontiguousarray(pairs[:, :, 1]),
        )
    return tuple(_rows(frame, i, layout.dtype)[:h, :w].copy() for i, (h, w) in enumerate(shapes))


def frame_of(planes: Planes, layout: PlaneLayout, pixel_format: str | None = None) -> AvFrame:
    """Planes -> a frame for an encoder, in the planar format of ``layout`` or in a packed RGB ``pixel_format``."""
    height, width = planes[0].shape
    if pixel_format in _PACKED_RGB:
        frame = AvFrame(width, height, pixel_format)
        pixel_bytes = 4 if pixel_format.endswith("0") else 3
        pixels = _rows(frame, 0, np.uint8)[:height, : width * pixel_bytes].reshape(height, width, pixel_bytes)
        for plane, place in zip(planes, _PACKED_RGB[pixel_format], strict=True):
            pixels[:, :, place] = plane
        return frame
    frame = AvFrame(width, height, layout.pixel_format)
    for i, (plane, (h, w)) in enumerate(zip(planes, layout.shapes(width, height), strict=True)):
        _rows(frame, i, layout.dtype)[:h, :w] = plane
    return frame


def rotate(planes: Planes, rotation: int) -> Planes:
    """Turn every plane by ``rotation`` degrees counter-clockwise (a multiple of 90)."""
    turns = rotation // 90 % 4
    if turns == 0:
        return planes
    return tuple(np.ascontiguousarray(np.rot90(plane, turns)) for plane in planes)


def to_444(planes: Planes, layout: PlaneLayout) -> tuple[Planes, PlaneLayout]:
    """Repeat the chroma samples to luma size; averaging them gives the original back."""
    if layout.family != "yuv":
        return planes, layout
    height, width = planes[0].shape
    full = PlaneLayout(layout.family, layout.bits, 0, 0, layout.full_range)
    return (planes[0], *(repeat_chroma(plane, layout, width, height) for plane in planes[1:])), full


def repeat_chroma(plane: np.ndarray, layout: PlaneLayout, width: int, height: int) -> np.ndarray:
    """One chroma plane at luma size: every sample repeated over the luma samples that share it."""
    if layout.log2_x:
        plane = np.repeat(plane, 1 << layout.log2_x, axis=1)[:, :width]
    if layout.log2_y:
        plane = np.repeat(plane, 1 << layout.log2_y, axis=0)[:height]
    return plane


def _rows(frame: AvFrame, index: int, dtype: type) -> np.ndarray:
    """The memory of one plane, padding included, as a writable array."""
    plane = frame.planes[index]
    return np.frombuffer(plane, dtype).reshape(-1, plane.line_size // np.dtype(dtype).itemsize)  # type: ignore[arg-type]


def _refusal(pixel_format: str, what: str) -> InputError:
    return InputError(
        f"Expected 8 to 12-bit YUV, grey or RGB video, found the pixel format {pixel_format} ({what}).",
        hint="Convert the clip to yuv420p, yuv422p10 or similar first.",
    )
