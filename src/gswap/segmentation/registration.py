"""How the camera moved between two images: matched ORB corners of the background and a robust similarity."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.types import RgbImage

Affine = Float[np.ndarray, "2 3"]
"""Image points (continuous coordinates) -> other image points."""

_CORNERS = 900
_FAST_THRESHOLD = 8
_REPROJECTION = 2.0
"""Pixels within which a match supports the motion."""
_FEWEST_MATCHES, _FEWEST_INLIERS = 25, 15
_LARGEST_ZOOM = 0.15
"""Scale changes beyond this are mismatches."""


@dataclass(frozen=True)
class Corners:
    """Described corners of one image's background."""

    points: Float[np.ndarray, "n 2"]
    descriptors: UInt8[np.ndarray, "n 32"]


def find_corners(image: RgbImage, background: Bool[np.ndarray, "h w"]) -> Corners:
    """Corners of the background; possibly none."""
    orb = cv2.ORB.create(_CORNERS, fastThreshold=_FAST_THRESHOLD)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = orb.detectAndCompute(gray, background.astype(np.uint8) * 255)
    if descriptors is None or not len(keypoints):
        return Corners(np.zeros((0, 2)), np.zeros((0, 32), np.uint8))
    return Corners(np.array([k.pt for k in keypoints]) + 0.5, descriptors)


def camera_motion(source: Corners, target: Corners) -> Affine | None:
    """Similarity that takes background points of one image to the other, ``None`` where the corners do not say."""
    if min(len(source.points), len(target.points)) < _FEWEST_MATCHES:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(source.descriptors, target.descriptors)
    if len(matches) < _FEWEST_MATCHES:
        return None
    before = source.points[[m.queryIdx for m in matches]]
    after = target.points[[m.trainIdx for m in matches]]
    motion, inliers = cv2.estimateAffinePartial2D(
        before, after, ransacReprojThreshold=_REPROJECTION, maxIters=4000, confidence=0.999, refineIters=20
    )
    if motion is None or int(inliers.sum()) < _FEWEST_INLIERS:
        return None
    if abs(float(np.hypot(*motion[:, 0])) - 1) > _LARGEST_ZOOM:
        return None
    return np.asarray(motion, np.float64)


def translation(x: float, y: float) -> Affine:
    """Shift by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def after(second: Affine, first: Affine) -> Affine:
    """The motion that does ``first``, then ``second``."""
    return second @ np.vstack([first, [0.0, 0.0, 1.0]])


def inverse(motion: Affine) -> Affine:
    """The motion backwards."""
    return np.asarray(cv2.invertAffineTransform(motion), np.float64)


def for_opencv(motion: Affine) -> Affine:
    """Continuous coordinates (pixel centres at +0.5) -> OpenCV's indices (centres at integers)."""
    out = np.array(motion, np.float64)
    out[:, 2] += out[:, :2] @ (0.5, 0.5) - 0.5
    return out
