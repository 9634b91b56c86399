"""How the camera moved between two images: tracked background points and a robust similarity.

Points are followed with pyramidal Lucas-Kanade, which works on blurred backgrounds too; where the images are too far
apart for it, ORB corners are matched instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.types import RgbImage

Affine = Float[np.ndarray, "2 3"]
"""Image points (continuous coordinates) -> other image points."""

_POINTS, _POINT_QUALITY, _POINT_DISTANCE = 200, 0.004, 8.0
"""Tracked points: how many, the weakest relative to the strongest, and their spacing in pixels."""
_FLOW_WINDOW, _FLOW_LEVELS = (25, 25), 4
_ROUND_TRIP = 0.5
"""Pixels within which a point followed there and back must return."""
_CORNERS, _FAST_THRESHOLD = 900, 8
_REPROJECTION = 1.5
"""Pixels within which a pair of points supports the motion."""
_FEWEST_PAIRS, _FEWEST_INLIERS, _INLIER_SHARE = 20, 15, 0.4
_LARGEST_ZOOM = 0.15
"""Scale changes beyond this are mistakes."""


@dataclass(frozen=True)
class Scenery:
    """The background of one image, ready to be registered."""

    gray: UInt8[np.ndarray, "h w"]
    background: Bool[np.ndarray, "h w"]

    @classmethod
    def of(cls, image: RgbImage, background: Bool[np.ndarray, "h w"]) -> Scenery:
        """The scenery of an image."""
        return cls(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), background)


def camera_motion(source: Scenery, target: Scenery, guess: Affine | None = None) -> Affine | None:
    """Similarity that takes background points of one image to the other, ``None`` where nothing can be followed.

    Args:
        source: Image to come from.
        target: Image to go to.
        guess: About where the points go; the identity without it.
    """
    cv2.setRNGSeed(0)
    motion = _robust(*_follow(source, target, translation(0, 0) if guess is None else guess))
    return motion if motion is not None else _robust(*_match(source, target))


def _follow(source: Scenery, target: Scenery, guess: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points by Lucas-Kanade, checked by going back."""
    mask = source.background.astype(np.uint8)
    found = cv2.goodFeaturesToTrack(source.gray, _POINTS, _POINT_QUALITY, _POINT_DISTANCE, mask=mask)
    none = np.zeros((0, 2))
    if found is None or len(found) < _FEWEST_PAIRS:
        return none, none
    start = found.reshape(-1, 2).astype(np.float32)
    hint = for_opencv(guess)
    expected = (start @ hint[:, :2].T + hint[:, 2]).astype(np.float32)
    options = {"winSize": _FLOW_WINDOW, "maxLevel": _FLOW_LEVELS, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    end, there, _ = cv2.calcOpticalFlowPyrLK(source.gray, target.gray, start, expected.copy(), **options)
    home, back, _ = cv2.calcOpticalFlowPyrLK(target.gray, source.gray, end, start.copy(), **options)
    column, row = np.round(end).astype(int).T
    height, width = target.gray.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside[inside] = target.background[row[inside], column[inside]]
    good = inside & (there.ravel() > 0) & (back.ravel() > 0) & (np.abs(home - start).max(1) < _ROUND_TRIP)
    return start[good] + 0.5, end[good] + 0.5


def _match(source: Scenery, target: Scenery) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points by ORB descriptors."""
    orb = cv2.ORB.create(_CORNERS, fastThreshold=_FAST_THRESHOLD)
    keys_a, described_a = orb.detectAndCompute(source.gray, source.background.astype(np.uint8) * 255)
    keys_b, described_b = orb.detectAndCompute(target.gray, target.background.astype(np.uint8) * 255)
    none = np.zeros((0, 2))
    if described_a is None or described_b is None:
        return none, none
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(described_a, described_b)
    if not matches:
        return none, none
    before = np.array([keys_a[m.queryIdx].pt for m in matches])
    return before + 0.5, np.array([keys_b[m.trainIdx].pt for m in matches]) + 0.5


def _robust(before: np.ndarray, after_: np.ndarray) -> Affine | None:
    if len(before) < _FEWEST_PAIRS:
        return None
    motion, inliers = cv2.estimateAffinePartial2D(
        before, after_, ransacReprojThreshold=_REPROJECTION, maxIters=4000, confidence=0.999, refineIters=20
    )
    if motion is None or int(inliers.sum()) < max(_FEWEST_INLIERS, _INLIER_SHARE * len(before)):
        return None
    if abs(float(np.hypot(*motion[:, 0])) - 1) > _LARGEST_ZOOM:
        return None
    return np.asarray(motion, np.float64)


def translation(x: float, y: float) -> Affine:
    """Shift by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def resampling(motion: Affine, interpolation: int) -> int:
    """OpenCV's interpolation for warping by ``motion``: whole pixels are copied, which is faster and the same."""
    whole = np.array_equal(motion[:, :2], np.eye(2)) and np.array_equal(motion[:, 2], np.round(motion[:, 2]))
    return cv2.INTER_NEAREST if whole else interpolation


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
