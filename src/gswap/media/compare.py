"""Pictures next to each other, for people."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from gswap.foundation.types import RgbImage

GAP = 4
"""Pixels between cells."""
BACKGROUND = 24
TEXT = (235, 235, 235)
LINE = 22
"""Height of a caption, pixels."""


def side_by_side(images: Sequence[RgbImage]) -> RgbImage:
    """Images in a row; lower ones are centred on a dark background."""
    height = max(image.shape[0] for image in images)
    columns = []
    for image in images:
        column = np.full((height, image.shape[1], 3), BACKGROUND, np.uint8)
        top = (height - image.shape[0]) // 2
        column[top : top + image.shape[0]] = image
        columns.append(column)
    return np.concatenate(columns, 1)


def contact_sheet(rows: Sequence[Sequence[RgbImage]], labels: Sequence[str] = ()) -> RgbImage:
    """A grid of images: every row is captioned by its label, columns are as wide as their widest image."""
    columns = max(len(row) for row in rows)
    widths = [max(row[k].shape[1] for row in rows if k < len(row)) for k in range(columns)]
    heights = [max(image.shape[0] for image in row) for row in rows]
    caption = LINE if labels else 0
    total = (sum(heights) + (GAP + caption) * len(rows) + GAP, sum(widths) + GAP * (columns + 1))
    sheet = np.full((*total, 3), BACKGROUND, np.uint8)
    y = GAP
    for index, row in enumerate(rows):
        if labels:
            cv2.putText(sheet, labels[index], (GAP, y + LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT, 1, cv2.LINE_AA)
            y += LINE
        x = GAP
        for k, image in enumerate(row):
            sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
            x += widths[k] + GAP
        y += heights[index] + GAP
    return sheet
