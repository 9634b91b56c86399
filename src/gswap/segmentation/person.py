"""The person matte where it counts: networks with a small square input see the head large, not the whole frame."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.foundation.protocols import PersonMatte
from gswap.foundation.types import RgbImage, SoftMask
from gswap.segmentation.layout import face_unit

_SIDE = 4.2
"""Side of the square, in face units: the largest hair fits in."""
_BELOW_MIDDLE = 0.35
"""How far below the middle of the face the square's middle lies, in face units: shoulders tell a person."""
_SQUEEZE = 1.3
"""Images no longer than this many times their shorter side may be squeezed into the network's square."""
_LARGER = 1.35
"""Images at most this many times as large as the square are looked at as a whole, once."""
_FADE = 0.1
"""Part of the square's side over which its matte fades into the whole image's."""


def person_around(image: RgbImage, landmarks: Float[np.ndarray, "478 3"], matte: PersonMatte) -> SoftMask:
    """Matte of the people in an image, at its best around one face.

    Args:
        image: Any size and shape.
        landmarks: Of the face, in pixels of the image.
        matte: Perception's matte; it is run on a square around the head, and on the whole image for what is outside.
    """
    height, width = image.shape[:2]
    longest, unit = max(height, width), face_unit(landmarks)
    # A narrow image may leave parts of the square empty; the head of a low one is as high as the image.
    side = min(round(_SIDE * unit), height)
    if longest <= _LARGER * side:
        if longest < _SQUEEZE * min(height, width):
            return matte(image)
        # A squeezed head is no head to the network: the missing part of the square repeats the image's border.
        return _on_square(image, (width - longest) // 2, height - longest, longest, matte)
    middle = (landmarks[CHIN, :2] + landmarks[FOREHEAD_TOP, :2]) / 2 + (0, _BELOW_MIDDLE * unit)
    x, y = (_offset(m, side, length) for m, length in zip(middle, (width, height), strict=True))
    near = _on_square(image, x, y, side, matte).astype(np.float32)
    whole = matte(image).astype(np.float32)
    # Only borders of the square that are not borders of the image need a transition.
    inside = np.zeros((height, width), np.uint8)
    inside[max(y, 0) : y + side, max(x, 0) : x + side] = 1
    inside = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    fade = np.clip(cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1] / (_FADE * side), 0, 1)
    return np.round(near * fade + whole * (1 - fade)).astype(np.uint8)


def _offset(middle: float, side: int, length: int) -> int:
    """Where a square begins on an axis: inside the image if it fits; else it holds the whole axis."""
    return int(np.clip(middle - side / 2, min(0, length - side), max(0, length - side)))


def _on_square(image: RgbImage, x: int, y: int, side: int, matte: PersonMatte) -> SoftMask:
    """Matte of a square that may reach outside the image; 0 where the image is not covered."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    margins = (y0 - y, y + side - y1, x0 - x, x + side - x1)
    square = cv2.copyMakeBorder(image[y0:y1, x0:x1], *margins, cv2.BORDER_REPLICATE)
    out = np.zeros((height, width), np.uint8)
    out[y0:y1, x0:x1] = matte(square)[margins[0] : side - margins[1], margins[2] : side - margins[3]]
    return out
