"""The visible label: "AI MODIFIED" burnt into the frames, in a contrast box, readable on any background.

It is drawn with the typeface inside Pillow, so that no system font is needed, and blended into RGB images or straight
into the decoder's planes (8 to 16 bit), where samples outside the box keep their bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from gswap.foundation.errors import UsageError
from gswap.foundation.types import RgbImage
from gswap.output.config import MAX_LABEL_SIZE, MIN_LABEL_SIZE, LabelConfig, LabelPosition

MIN_CAPITAL_PIXELS = 9
"""Capitals smaller than this are hard to read; small pictures get a relatively larger label."""
SMALLEST_CAPITAL_PIXELS = 6
"""Capitals smaller than this cannot be read; where not even they fit, there is no label and no output."""
BOX_OPACITY = 0.85
"""On white this leaves a box of luma 38: a contrast of more than 14:1 with the white letters."""
_SUPERSAMPLING = 4
_PADDING = 0.7
"""Space around the letters, and from the box to the picture's edge, in capital heights."""
_LEADING = 0.6
"""Space between two lines, in capital heights."""


@dataclass(frozen=True)
class PlaneLayout:
    """What the planes of a decoded frame are."""

    bit_depth: int = 8
    full_range: bool = False
    """Luma from 0 to the maximum rather than from 16 to 235 (at 8 bit)."""
    is_rgb: bool = False
    """Planar RGB (three full-size colour planes) instead of Y, U, V."""


class Label:
    """The label of one clip.

    Args:
        size: Width and height of the frames in display orientation, pixels.
        config: Position, height, duration, text.

    Raises:
        UsageError: The label would not be readable (the picture is too small for it), or does not say "AI".
    """

    def __init__(self, size: tuple[int, int], config: LabelConfig | None = None) -> None:
        self.size = size
        self.config = config or LabelConfig()
        if not MIN_LABEL_SIZE <= self.config.size <= MAX_LABEL_SIZE:
            raise UsageError(
                f"The label's size is {self.config.size:g}, expected {MIN_LABEL_SIZE:g} to {MAX_LABEL_SIZE:g} of the "
                "picture's height."
            )
        if "AI" not in self.config.text:
            raise UsageError(f'The label says "{self.config.text}", expected a text with the capitals "AI".')
        if self.config.position not in get_args(LabelPosition):
            raise UsageError(
                f"The label's position is {self.config.position!r}, expected {', '.join(get_args(LabelPosition))}."
            )
        self._lines, self._capital = self._set()

    def shown_at(self, seconds: float) -> bool:
        """Whether the label is on at this time from the clip's start."""
        return self.config.seconds is None or seconds < self.config.seconds

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The label's rectangle ``(x, y, width, height)`` in frame pixels; x and y are even, for subsampled chroma."""
        width, height = _box_size(self._lines, self._capital)
        margin = round(self._capital * _PADDING)
        free = (self.size[0] - width, self.size[1] - height)
        x = margin if self.config.position.endswith("left") else free[0] - margin
        y = margin if self.config.position.startswith("top") else free[1] - margin
        return min(max(x, 0), free[0]) // 2 * 2, min(max(y, 0), free[1]) // 2 * 2, width, height

    def apply(self, rgb: RgbImage) -> RgbImage:
        """A copy of ``rgb`` with the label in it."""
        x, y, w, h = self.box
        out = rgb.copy()
        opacity, value = self._art
        region = out[y : y + h, x : x + w]
        blended = region * (1 - opacity[..., None]) + 255.0 * value[..., None]
        out[y : y + h, x : x + w] = np.rint(blended)
        return out

    def apply_planes(self, planes: Sequence[np.ndarray], layout: PlaneLayout) -> tuple[np.ndarray, ...]:
        """Copies of a frame's planes with the label in them; samples outside :attr:`box` keep their bits.

        Args:
            planes: Y (gray), Y U V, or three RGB planes, each ``(h, w)``, then possibly alpha; ``uint8`` or
                ``uint16`` with the samples in the low ``bit_depth`` bits. Chroma may be subsampled.
            layout: What they are.
        """
        peak = (1 << layout.bit_depth) - 1
        unit = 1 << (layout.bit_depth - 8)
        out = []
        for index, plane in enumerate(planes):
            if layout.is_rgb and index < 3:
                low, high = 0.0, float(peak)
            elif index == 0:
                low, high = (0.0, float(peak)) if layout.full_range else (16.0 * unit, 235.0 * unit)
            elif index < 3:
                low = high = 128.0 * unit
            else:
                low = high = float(peak)
            out.append(self._blend(plane, low, high))
        return tuple(out)

    def _blend(self, plane: np.ndarray, low: float, high: float) -> np.ndarray:
        """Blend the box into one plane, in which black is ``low`` and white is ``high``."""
        x, y, w, h = self.box
        sx, sy = -(-self.size[0] // plane.shape[1]), -(-self.size[1] // plane.shape[0])
        opacity, value = self._art
        if (sx, sy) != (1, 1):
            opacity, value = (cv2.resize(a, (w // sx, h // sy), interpolation=cv2.INTER_AREA) for a in (opacity, value))
        rows, columns = slice(y // sy, y // sy + h // sy), slice(x // sx, x // sx + w // sx)
        out = plane.copy()
        out[rows, columns] = np.rint(out[rows, columns] * (1 - opacity) + low * opacity + (high - low) * value)
        return out

    def _set(self) -> tuple[tuple[str, ...], float]:
        """Typesetting: the lines and the height of the capitals in pixels; two lines, then smaller, where narrow."""
        wanted = max(self.config.size * self.size[1], MIN_CAPITAL_PIXELS)
        words = self.config.text.split()
        settings = [((self.config.text,), wanted)]
        settings += [(tuple(words), height) for height in np.arange(wanted, SMALLEST_CAPITAL_PIXELS - 0.5, -0.5)]
        for lines, height in settings:
            if all(box <= side for box, side in zip(_box_size(lines, float(height)), self.size, strict=True)):
                return lines, float(height)
        raise UsageError(
            f"A readable label does not fit into a picture of {self.size[0]}x{self.size[1]}.",
            hint="Use a larger clip, or a consent record that allows --label off.",
        )

    @cached_property
    def _art(self) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """Opacity of the box and premultiplied white, both in [0, 1]."""
        k = _SUPERSAMPLING
        w, h = (side * k for side in _box_size(self._lines, self._capital))
        font = _font(self._capital * k)
        canvas = Image.new("L", (w, h))
        draw = ImageDraw.Draw(canvas)
        step = self._capital * (1 + _LEADING) * k
        first = (h - step * (len(self._lines) - 1) + self._capital * k) / 2
        for i, line in enumerate(self._lines):
            draw.text((w / 2, first + i * step), line, fill=255, font=font, anchor="ms")
        letters = np.asarray(canvas, np.float32).reshape(h // k, k, w // k, k).mean((1, 3)) / 255
        return BOX_OPACITY * (1 - letters) + letters, letters


def _box_size(lines: Sequence[str], capital: float) -> tuple[int, int]:
    """Width and height of the label's box in pixels: multiples of four, for subsampled chroma."""
    font = _font(capital * _SUPERSAMPLING)
    width = max(font.getlength(line) for line in lines) / _SUPERSAMPLING
    height = capital * (len(lines) + _LEADING * (len(lines) - 1))
    return tuple(math.ceil((side + 2 * _PADDING * capital) / 4) * 4 for side in (width, height))  # type: ignore[return-value]


def _font(capital_height: float) -> ImageFont.FreeTypeFont:
    """Pillow's bundled typeface in the size that makes a capital ``capital_height`` pixels high."""
    reference = 100.0
    font = ImageFont.load_default(reference)
    assert isinstance(font, ImageFont.FreeTypeFont)
    _, top, _, bottom = font.getbbox("A")
    sized = ImageFont.load_default(reference * capital_height / (bottom - top))
    assert isinstance(sized, ImageFont.FreeTypeFont)
    return sized
