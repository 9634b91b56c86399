"""The person matte where it counts: networks with a small square input see the head large, not the whole frame."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.foundation.protocols import PersonMatte
from gswap.foundation.types import RgbImage, SoftMask
from gswap.segmentation.layout import face_unit

_SIDE = 3.6
"""Side of the square, in face units."""
_BELOW_MIDDLE = 0.35
"""How far below the middle of the face the square's middle lies, in face units: shoulders tell a person."""
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
    side = min(round(_SIDE * face_unit(landmarks)), height, width)
    middle = (landmarks[CHIN, :2] + landmarks[FOREHEAD_TOP, :2]) / 2 + (0, _BELOW_MIDDLE * face_unit(landmarks))
    x = int(np.clip(middle[0] - side / 2, 0, width - side))
    y = int(np.clip(middle[1] - side / 2, 0, height - side))
    near = matte(np.ascontiguousarray(image[y : y + side, x : x + side]))
    if side == height == width:
        return near
    whole = matte(image).astype(np.float32)
    # Only borders of the square that are not borders of the image need a transition.
    inside = np.zeros((height, width), np.uint8)
    inside[y : y + side, x : x + side] = 1
    inside = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    fade = np.clip(cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1] / (_FADE * side), 0, 1)
    placed = np.zeros_like(whole)
    placed[y : y + side, x : x + side] = near
    return np.round(placed * fade + whole * (1 - fade)).astype(np.uint8)
