"""Pictures beside each other, for people to look at: contact sheets and side-by-side frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gswap.foundation.types import RgbImage

_GAP = 4
_BACKGROUND = (24, 24, 24)
_TEXT = (235, 235, 235)
_LABEL_PART = 0.09
"""Height of a label line as part of the cell's height."""
_MIN_LABEL = 14


def contact_sheet(
    rows: Sequence[Sequence[RgbImage]], labels: Sequence[str] = (), *, cell_height: int = 256
) -> RgbImage:
    """A table of pictures on a dark ground.

    Args:
        rows: Pictures of any size; each is scaled to ``cell_height`` and centred in its column.
        labels: Titles of the columns; fewer than columns is fine.
        cell_height: Pixels.
    """
    cells = [[_scaled(image, cell_height) for image in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max((row[c].shape[1] for row in cells if c < len(row)), default=1) for c in range(columns)]
    title = _label_height(cell_height) if any(labels) else 0
    height = title + len(cells) * (cell_height + _GAP) + _GAP
    width = sum(widths) + (columns + 1) * _GAP
    sheet = np.full((height, width, 3), _BACKGROUND, np.uint8)
    left = _GAP
    for c, column_width in enumerate(widths):
        for r, row in enumerate(cells):
            if c < len(row):
                top = title + _GAP + r * (cell_height + _GAP)
                x = left + (column_width - row[c].shape[1]) // 2
                sheet[top : top + cell_height, x : x + row[c].shape[1]] = row[c]
        if c < len(labels):
            _write_label(sheet[:title, left : left + column_width], labels[c])
        left += column_width + _GAP
    return sheet


def side_by_side(images: Sequence[RgbImage], labels: Sequence[str] = (), *, height: int | None = None) -> RgbImage:
    """Pictures in one row, as one frame of a video: even width and height, the same for the same inputs' sizes.

    Args:
        images: Pictures, scaled to one height.
        labels: Title over each picture; empty for none.
        height: Height of the pictures in pixels; default: that of the first.
    """
    height = height or images[0].shape[0]
    title = _label_height(height) if any(labels) else 0
    scaled = [_scaled(image, height) for image in images]
    row = np.full((title + height, sum(i.shape[1] for i in scaled), 3), _BACKGROUND, np.uint8)
    left = 0
    for i, image in enumerate(scaled):
        row[title:, left : left + image.shape[1]] = image
        if i < len(labels):
            _write_label(row[:title, left : left + image.shape[1]], labels[i])
        left += image.shape[1]
    pad_y, pad_x = row.shape[0] % 2, row.shape[1] % 2
    return np.pad(row, ((0, pad_y), (0, pad_x), (0, 0)), mode="edge") if pad_y or pad_x else row


def _scaled(image: RgbImage, height: int) -> RgbImage:
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    shrinking = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def _label_height(cell_height: int) -> int:
    return max(_MIN_LABEL, round(cell_height * _LABEL_PART))


def _write_label(area: np.ndarray, text: str) -> None:
    """Write ``text`` centred into ``area``, in place; too long a text is cut off at its sides."""
    height, width = area.shape[:2]
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    font = ImageFont.load_default(size=height * 0.62)
    ImageDraw.Draw(canvas).text((width / 2, height / 2), text, fill=_TEXT, font=font, anchor="mm")
    area[:] = np.asarray(canvas)
