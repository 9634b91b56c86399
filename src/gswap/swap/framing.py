"""The square picture that the generator sees: one rule for the photos it is tuned on and the frames it paints.

Arc2Face was trained on aligned crops; a head that is framed otherwise than in training comes out worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import CHIN, face_height

INSIDE = 127
"""Mask level above which a pixel counts."""
BELOW_CHIN = 0.1
"""How far below the chin a head still counts, face heights."""


@dataclass(frozen=True)
class Framing:
    """An upright square of an image: its centre and side in continuous pixels. It may reach beyond the image."""

    x: float
    y: float
    side: float

    def to_picture(self, points: Float[np.ndarray, "n 2"], size: int) -> Float[np.ndarray, "n 2"]:
        """Image points -> points of the picture of ``size`` x ``size`` pixels."""
        return (points - (self.x - self.side / 2, self.y - self.side / 2)) * (size / self.side)

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """The picture; what lies beyond the image repeats its border (masks: is outside)."""
        scale = size / self.side
        matrix = _affine(scale, (self.side / 2 - self.x) * scale, (self.side / 2 - self.y) * scale)
        border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
        return _warp(image, matrix, (size, size), scale, border)

    def put_back(self, picture: np.ndarray, width: int, height: int) -> np.ndarray:
        """The image of which this is the picture; its border repeats beyond the square (masks: is outside)."""
        scale = self.side / picture.shape[0]
        matrix = _affine(scale, self.x - self.side / 2, self.y - self.side / 2)
        border = cv2.BORDER_CONSTANT if picture.ndim == 2 else cv2.BORDER_REPLICATE
        return _warp(picture, matrix, (width, height), scale, border)

    def grown_to(self, mask: np.ndarray, margin: float) -> Framing:
        """Enlarged about its centre until the whole mask with a margin (share of the side) is inside."""
        ys, xs = np.nonzero(mask > INSIDE)
        if not len(xs):
            return self
        reach = max(self.x - xs.min(), xs.max() + 1 - self.x, self.y - ys.min(), ys.max() + 1 - self.y)
        return Framing(self.x, self.y, max(self.side, 2 * float(reach) / (1 - 2 * margin)))


def frame_head(mask: np.ndarray, landmarks: Float[np.ndarray, "478 2"], ratio: float) -> Framing:
    """The picture of a head: centred on it, ``ratio`` times its larger extent.

    Necks and hair far below the chin do not count: how much of them is seen differs from photo to photo.

    Args:
        mask: Hair, face and ears, with or without the neck.
        landmarks: The face's.
        ratio: Side of the square in units of the head's larger extent.

    Raises:
        InputError: The mask is empty.
    """
    bottom = landmarks[CHIN, 1] + BELOW_CHIN * float(face_height(landmarks))
    counted = mask[: max(int(np.ceil(bottom)), 0)]
    ys, xs = np.nonzero(counted > INSIDE)
    if not len(xs):
        raise InputError("Expected a head in the mask, found an empty mask.")
    left, right, top, bottom = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    return Framing(float(left + right) / 2, float(top + bottom) / 2, ratio * float(max(right - left, bottom - top)))


def _affine(scale: float, dx: float, dy: float) -> np.ndarray:
    """Scale and shift of continuous coordinates, as OpenCV wants it (pixel centres at integers)."""
    centre = 0.5 * scale - 0.5
    return np.array([[scale, 0, dx + centre], [0, scale, dy + centre]])


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], scale: float, border: int) -> np.ndarray:
    if scale < 0.75:  # a low-pass filter first: warpAffine does not average when it shrinks
        sigma = 0.5 * np.sqrt(max(1 / scale**2 - 1, 0))
        image = cv2.GaussianBlur(image, (0, 0), float(sigma), borderType=cv2.BORDER_REPLICATE)
    mode = cv2.INTER_LINEAR if image.ndim == 2 or scale < 1 else cv2.INTER_LANCZOS4
    return cv2.warpAffine(image, matrix, size, flags=mode, borderMode=border)
