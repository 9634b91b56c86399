"""How fit a face image is: its focus."""

from __future__ import annotations

import cv2
import numpy as np

from gswap.foundation.landmarks import Landmarks, face_width
from gswap.foundation.types import RgbImage

FACE_PIXELS = 256
"""Face width to which images are shrunk before focus is measured."""


def sharpness(image: RgbImage, landmarks: Landmarks) -> float:
    """Focus of the face: standard deviation of the Laplacian in grey levels, at a face width of at most 256 px.

    Around 3-8 for a blurred face, 15-60 for a sharp one. A small face is measured as it is.
    """
    xy = landmarks[:468, :2]
    x0, y0 = np.maximum(np.floor(xy.min(0)).astype(int), 0)
    x1, y1 = np.ceil(xy.max(0)).astype(int)
    face = image[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)]
    if face.size == 0:
        return 0.0
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    scale = FACE_PIXELS / max(float(face_width(landmarks)), 1.0)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std())
