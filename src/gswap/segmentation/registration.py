"""How the camera moved between two images: tracked background points and a robust similarity.

Points are followed with pyramidal Lucas-Kanade, in the reduced images where a blurred background gives too few of them
in the full ones; where the images are too far apart for it, ORB corners are matched instead. What was found can be
refined until the whole backgrounds agree, which also undoes the drift of a chain of motions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur, disc
from gswap.foundation.types import RgbImage

Affine = Float[np.ndarray, "2 3"]
"""Image points (continuous coordinates) -> other image points."""

_POINTS, _POINT_QUALITY, _POINT_DISTANCE = 200, 0.004, 8.0
"""Tracked points: how many, the weakest relative to the strongest, and their spacing in pixels."""
_FLOW_WINDOW, _FLOW_LEVELS = (25, 25), 4
_ROUND_TRIP = 0.5
"""Pixels within which a point followed there and back must return."""
_BLURRED_SCALE = 0.5
"""Where too few points can be followed, they are in images of this scale: out-of-focus walls have few at full size."""
_CORNERS, _FAST_THRESHOLD = 900, 8
_REPROJECTION = 1.5
"""Pixels within which a pair of points supports the motion."""
_FEWEST_PAIRS, _FEWEST_INLIERS, _INLIER_SHARE = 20, 15, 0.4
_LARGEST_ZOOM = 0.15
"""Scale changes beyond this are mistakes."""
_REFINING_SIDE, _REFINING_SIGMA = 260, 1.0
"""Side of the images on which motions are refined, and the blur of these images, in their pixels."""
_PLAIN, _PLAIN_SIGMA, _PLAIN_MARGIN = 0.4, 3.0, 13
"""Mean difference of these images to their local mean, 8-bit levels, at which a wall is plain: what moves on it is the
codec's noise. Measured this many pixels away from people."""
_REFINING_ROUNDS, _REFINED = 12, 0.02
"""Gauss-Newton steps at most; a step that moves the middle by less than this many of the reduced pixels is the last."""
_REFINING_PIXELS = 500
"""Fewer common pixels of background than this say nothing about a motion."""
_REFINING_NOISE = 0.3
"""Smallest spread of the differences, 8-bit levels, that is believed."""


@dataclass(frozen=True)
class Scenery:
    """The background of one image, ready to be registered."""

    gray: UInt8[np.ndarray, "h w"]
    background: Bool[np.ndarray, "h w"]

    @classmethod
    def of(cls, image: RgbImage, background: Bool[np.ndarray, "h w"]) -> Scenery:
        """The scenery of an image."""
        return cls(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), background)

    def reduced(self, scale: float) -> Scenery:
        """The scenery at another size; what is background in part only is none."""
        if scale == 1:
            return self
        gray = cv2.resize(self.gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        share = cv2.resize(self.background.view(np.uint8) * 255, gray.shape[::-1], interpolation=cv2.INTER_AREA)
        return Scenery(gray, share == 255)

    @cached_property
    def soft(self) -> tuple[float, Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
        """A reduced, slightly blurred image to refine motions on: its scale, brightness and background."""
        scale = min(1.0, _REFINING_SIDE / max(self.gray.shape))
        small = self.reduced(scale)
        return scale, blur(small.gray.astype(np.float32), _REFINING_SIGMA), small.background

    @cached_property
    def plain(self) -> bool:
        """Nothing in the background tells whether it moved, apart from single points."""
        _, image, background = self.soft
        inside = cv2.erode(background.view(np.uint8), disc(_PLAIN_MARGIN), borderType=cv2.BORDER_REPLICATE) > 0
        return not inside.any() or float(np.abs(image - blur(image, _PLAIN_SIGMA))[inside].mean()) < _PLAIN


def camera_motion(source: Scenery, target: Scenery, guess: Affine | None = None) -> Affine | None:
    """Similarity that takes background points of one image to the other, ``None`` where nothing can be followed.

    Args:
        source: Image to come from.
        target: Image to go to.
        guess: About where the points go; the identity without it.
    """
    cv2.setRNGSeed(0)
    guess = translation(0, 0) if guess is None else guess
    for scale in (1.0,) if source.plain else (1.0, _BLURRED_SCALE):
        motion = _robust(*_follow(source.reduced(scale), target.reduced(scale), _resized(guess, scale)))
        if motion is not None:
            return _resized(motion, 1 / scale)
    return _robust(*_match(source, target))


def refined_motion(source: Scenery, target: Scenery, motion: Affine) -> Affine:
    """A motion that is right to some pixels, corrected until the backgrounds agree (not where they are plain).

    Robust Gauss-Newton steps on a similarity and a change of brightness (Baker and Matthews, "Lucas-Kanade 20 years
    on", IJCV 2004), over everything that is background in both images. It finds the nearest agreement and cannot tell
    whether there is any: ask it only about motions that :func:`camera_motion` has found.

    Args:
        source: Image to come from.
        target: Image to go to, of the same size.
        motion: About the motion.

    Returns:
        The motion under which the images differ least of those looked at, ``motion`` among them.
    """
    if source.plain:
        return motion
    scale, here, visible = source.soft
    _, there, visible_there = target.soft
    height, width = here.shape
    layers = np.dstack([there, *np.gradient(there)[::-1], visible_there.astype(np.float32)])
    half = max(height, width) / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x + 0.5 - width / 2) / half, (y + 0.5 - height / 2) / half
    now = _resized(motion, scale)
    best, least, spread = now, np.inf, None
    for _ in range(_REFINING_ROUNDS):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(layers, for_opencv(now), (width, height), flags=flags)
        common = visible & (seen[..., 3] > 0.99)
        if common.sum() < _REFINING_PIXELS:
            break
        difference = seen[common, 0] - here[common]
        difference -= np.median(difference)
        if spread is None:
            spread = max(2 * 1.4826 * float(np.median(np.abs(difference))), _REFINING_NOISE)
        misfit = (difference / spread) ** 2
        cost = float((misfit / (1 + misfit)).mean())  # Geman and McClure: what moved by itself counts no more than 1
        if cost < least:
            best, least = now, cost
        dx, dy, px, py = seen[common, 1], seen[common, 2], x[common], y[common]
        slopes = np.stack([dx, dy, dx * px + dy * py, dy * px - dx * py, np.ones_like(dx)], 1)
        weighted = slopes / ((1 + misfit) ** 2)[:, None]
        step = np.linalg.lstsq(slopes.T @ weighted, -(difference @ weighted), rcond=None)[0]
        turn = np.array([[step[2], -step[3]], [step[3], step[2]]], np.float64) / half
        now = now + np.column_stack([turn, step[:2] - turn @ (width / 2, height / 2)])
        if np.abs(step[:4]).max() < _REFINED:
            break
    return _resized(best, 1 / scale)


def _resized(motion: Affine, scale: float) -> Affine:
    """The motion in images of another size."""
    return motion * np.array([1.0, 1.0, scale])


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
