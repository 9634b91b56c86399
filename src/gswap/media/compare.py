"""Pictures beside each other, for people to look at: contact sheets and side-by-side frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gswap.foundation.types import RgbImage

GAP = 4
"""Pixels between cells."""
LINE = 22
"""Height of a line of text, pixels."""
_BACKGROUND = (24, 24, 24)
_TEXT = (235, 235, 235)
_FONT_PART = 0.62


def side_by_side(images: Sequence[RgbImage]) -> RgbImage:
    """Images in a row without gaps; lower ones are centred on a dark ground."""
    height = max(image.shape[0] for image in images)
    row = np.full((height, sum(image.shape[1] for image in images), 3), _BACKGROUND, np.uint8)
    x = 0
    for image in images:
        y = (height - image.shape[0]) // 2
        row[y : y + image.shape[0], x : x + image.shape[1]] = image
        x += image.shape[1]
    return row


def contact_sheet(
    rows: Sequence[Sequence[RgbImage]], labels: Sequence[str] = (), columns: Sequence[str] = ()
) -> RgbImage:
    """A table of images in their own sizes on a dark ground.

    Args:
        rows: Images; a column is as wide as its widest, a row as high as its highest image.
        labels: A caption over each row; empty for none.
        columns: Titles of the columns; empty for none.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max(row[k].shape[1] for row in rows if k < len(row)) for k in range(count)]
    heights = [max((image.shape[0] for image in row), default=0) for row in rows]
    caption, title = LINE if labels else 0, LINE if columns else 0
    total_width = sum(widths) + GAP * (count + 1)
    total_height = title + sum(heights) + (GAP + caption) * len(rows) + GAP
    sheet = np.full((total_height, total_width, 3), _BACKGROUND, np.uint8)
    lefts = np.concatenate([[GAP], GAP + np.cumsum(np.array(widths, int) + GAP)]).astype(int)
    for k, text in enumerate(columns[:count]):
        _write(sheet[:title, lefts[k] : lefts[k] + widths[k]], text, centred=True)
    y = title + GAP
    for index, row in enumerate(rows):
        if index < len(labels):
            _write(sheet[y : y + caption, GAP : total_width - GAP], labels[index], centred=False)
        y += caption
        for k, image in enumerate(row):
            x = lefts[k] + (widths[k] - image.shape[1]) // 2
            sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        y += heights[index] + GAP
    return sheet


def _write(area: np.ndarray, text: str, *, centred: bool) -> None:
    """Write ``text`` into ``area``, in place; what does not fit is cut off."""
    height, width = area.shape[:2]
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    font = ImageFont.load_default(size=height * _FONT_PART)
    place, anchor = ((width / 2, height / 2), "mm") if centred else ((0, height / 2), "lm")
    ImageDraw.Draw(canvas).text(place, text, fill=_TEXT, font=font, anchor=anchor)
    area[:] = np.asarray(canvas)
