"""The visible label: "AI MODIFIED" burnt into the frames, in a contrast box, readable on any background.

It is drawn with the typeface inside Pillow, so that no system font is needed, and blended into RGB images or straight
into the decoder's planes (8 to 16 bit), where samples outside the box keep their bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from gswap.foundation.errors import UsageError
from gswap.foundation.types import RgbImage
from gswap.output.marks import NOTICE

Position = Literal["top-right", "top-left", "bottom-right", "bottom-left"]
MIN_HEIGHT = 0.03
"""Smallest capital height, as a fraction of the picture's height."""
MIN_CAPITAL_PIXELS = 9
"""Capitals smaller than this cannot be read; very small pictures get a relatively larger label."""
BOX_OPACITY = 0.78
"""On white this leaves a box of luma 56: a contrast of more than 10:1 with the white letters."""
_SUPERSAMPLING = 4
_PADDING = 0.7
"""Space around the letters, and from the box to the picture's edge, in capital heights."""


@dataclass(frozen=True)
class LabelConfig:
    """How the visible label looks."""

    position: Position = "top-right"
    """Corner of the picture."""
    height: float = 0.032
    """Height of the capitals as a fraction of the picture's height; at least 0.03."""
    seconds: float | None = None
    """Show the label for this long from the start; by default throughout."""
    text: str = NOTICE
    """What it says. It must keep the capitals "AI"."""


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
        UsageError: The label would not be readable, or does not say "AI".
    """

    def __init__(self, size: tuple[int, int], config: LabelConfig | None = None) -> None:
        self.size = size
        self.config = config or LabelConfig()
        if self.config.height < MIN_HEIGHT:
            raise UsageError(f"The label's height is {self.config.height:g}, expected at least {MIN_HEIGHT:g}.")
        if "AI" not in self.config.text:
            raise UsageError(f'The label says "{self.config.text}", expected a text with the capitals "AI".')
        if self.config.position not in get_args(Position):
            raise UsageError(
                f"The label's position is {self.config.position!r}, expected {', '.join(get_args(Position))}."
            )

    def shown_at(self, seconds: float) -> bool:
        """Whether the label is on at this time from the clip's start."""
        return self.config.seconds is None or seconds < self.config.seconds

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The label's rectangle ``(x, y, width, height)`` in frame pixels; x and y are even, for subsampled chroma."""
        height, width = self._art[0].shape
        margin = round(self._capital * _PADDING)
        x = margin if self.config.position.endswith("left") else self.size[0] - width - margin
        y = margin if self.config.position.startswith("top") else self.size[1] - height - margin
        return max(x, 0) // 2 * 2, max(y, 0) // 2 * 2, width, height

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

    @cached_property
    def _capital(self) -> float:
        """Height of the capitals in pixels."""
        return max(self.config.height * self.size[1], MIN_CAPITAL_PIXELS)

    @cached_property
    def _art(self) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """Opacity of the box and premultiplied white, both in [0, 1]; width and height are multiples of four."""
        k = _SUPERSAMPLING
        font = _font(self._capital * k)
        left, top, right, bottom = font.getbbox(self.config.text)
        pad = round(self._capital * k * _PADDING)
        unit = 4 * k
        w, h = (-(-round(s + 2 * pad) // unit) * unit for s in (right - left, bottom - top))
        if w // k > self.size[0] or h // k > self.size[1]:
            raise UsageError(
                f"The label does not fit into a picture of {self.size[0]}x{self.size[1]}.", hint="Use a shorter text."
            )
        canvas = Image.new("L", (w, h))
        origin = ((w - (right - left)) / 2 - left, (h - (bottom - top)) / 2 - top)
        ImageDraw.Draw(canvas).text(origin, self.config.text, fill=255, font=font)
        letters = np.asarray(canvas, np.float32).reshape(h // k, k, w // k, k).mean((1, 3)) / 255
        return BOX_OPACITY * (1 - letters) + letters, letters


def _font(capital_height: float) -> ImageFont.FreeTypeFont:
    """Pillow's bundled typeface in the size that makes a capital ``capital_height`` pixels high."""
    reference = 100.0
    font = ImageFont.load_default(reference)
    assert isinstance(font, ImageFont.FreeTypeFont)
    _, top, _, bottom = font.getbbox("A")
    sized = ImageFont.load_default(reference * capital_height / (bottom - top))
    assert isinstance(sized, ImageFont.FreeTypeFont)
    return sized
