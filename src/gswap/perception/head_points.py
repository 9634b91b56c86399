"""Where the ears, the skull and the jaw are: points of the head that the landmark detector does not report.

A cascade of linear regressions on histograms of oriented gradients (supervised descent: Xiong & De la Torre 2013),
learnt by ``scripts/make_head_points.py`` on synthetic people whose truth is known. The head's scaled orthographic pose
under the landmarks gives a frame; the points' mean places in it are corrected, first by what the landmarks and the
whole head look like, then each ear by what is seen around it. The right ear is found as the left one of the mirrored
picture. What a hidden point gets is a guess; ``body.head_points`` knows how good such guesses are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.errors import InternalError
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS, OVAL
from gswap.foundation.types import RgbImage

REFERENCE_EYE_DISTANCE = 0.09
"""Metres between the outer eye corners of the mean adult: the unit of the head's frame."""
HEAD_SCALE, HEAD_SIZE = 40, 192
"""Pixels per eye distance, and side, of the picture of the whole head."""
EAR_SCALE, EAR_SIZE = 72, 96
"""The same of the picture of an ear."""
CELL, BINS = 8, 9
"""Side of a histogram's cell in pixels, and number of orientations."""
SHARPEST = 0.6
"""Histogram entries are clipped here after normalisation."""
FLAT = 0.3
"""Square root of the gradient, per pixel, below which a cell counts as flat."""
HEAD_YAWS, HEAD_WIDTH = np.radians([-30.0, 0.0, 30.0]), np.radians(18.0)
EAR_YAWS, EAR_WIDTH = np.radians([-25.0, 5.0, 35.0]), np.radians(16.0)
"""Yaws at which the regressions were learnt, and how wide each reaches."""
NO_EAR, RIGHT_EAR, LEFT_EAR = 0, 1, 2
STABLE = np.setdiff1d(np.arange(478), [*LIPS, *OVAL, *EYE_RIGHT, *EYE_LEFT, *IRIS_RIGHT, *IRIS_LEFT])
"""Landmarks that tell the head's pose."""


LEARNT = ("head_mean", "head_weights", "head_shapes", "head_view", "ear_mean", "ear_weights", "ear_view")
"""Fields of :class:`HeadPointFinder` that are learnt."""


@dataclass(frozen=True)
class HeadFrame:
    """Scaled orthographic pose of the mean head under the landmarks of an image.

    Coordinates in the frame are eye distances from the middle of the skull, along the head's sideways axis in the
    image and across it.
    """

    projection: Float[np.ndarray, "2 3"]
    """Head coordinates (metres) -> pixels, with ``shift``."""
    shift: Float[np.ndarray, "2"]
    axes: Float[np.ndarray, "2 2"]
    """The frame's axes in the image, as rows."""
    centre: Float[np.ndarray, "2"]
    unit: float
    """Pixels per eye distance."""
    yaw: float
    """Radians, to the person's left."""
    pitch: float

    def inside(self, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels -> frame."""
        return (pixels - self.centre) @ self.axes.T / self.unit

    def outside(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Frame -> pixels."""
        return points @ self.axes * self.unit + self.centre

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Head coordinates -> frame."""
        return self.inside(points @ self.projection.T + self.shift)


@dataclass(frozen=True)
class HeadPointFinder:
    """The learnt regressions. ``p`` points, of which ``e`` belong to each ear."""

    canonical: Float[np.ndarray, "478 3"]
    """Landmarks of the mean person, head coordinates."""
    points: Float[np.ndarray, "p 3"]
    middle: Float[np.ndarray, "3"]
    """Middle of the skull."""
    ear: Int[np.ndarray, "p"]
    head_mean: Float[np.ndarray, "f"]
    """Mean of the landmarks' differences to ``canonical`` and of the head's histograms."""
    head_weights: Float[np.ndarray, "3 f r"]
    """By yaw; through ``r`` numbers to the points' shifts."""
    head_shapes: Float[np.ndarray, "r 2p"]
    head_view: Float[np.ndarray, "7 2p"]
    """Shift by :func:`view_powers`."""
    ear_mean: Float[np.ndarray, "g"]
    ear_weights: Float[np.ndarray, "3 g 2e+1"]
    """By yaw; to the shifts of the left ear's points and to how much of it is seen."""
    ear_view: Float[np.ndarray, "5 2e+1"]
    """By the three yaws' shares, yaw and pitch; the constant with the first three."""


def find_head_points(
    image: RgbImage, landmarks: Float[np.ndarray, "478 _"], finder: HeadPointFinder | None = None
) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, "2"]]:
    """Look for the head's points in an image.

    Args:
        image: The whole image.
        landmarks: Of the face, pixels.
        finder: The learnt numbers; default: the shipped ones.

    Returns:
        The points, pixels, and how much of the right and of the left ear can be seen, 0 to 1.
    """
    finder = finder or load_finder()
    frame = head_frame(landmarks[:, :2].astype(np.float64), finder)
    points = frame.project(finder.points) + first_shift(image, landmarks, frame, finder)
    seen = np.zeros(2)
    for side in (RIGHT_EAR, LEFT_EAR):
        mine = finder.ear == side
        shift, seen[side - 1] = ear_shift(image, points[mine].mean(0), frame, finder, side)
        points[mine] += shift
    return frame.outside(points), np.clip(seen, 0, 1)


def head_frame(landmarks: Float[np.ndarray, "478 2"], finder: HeadPointFinder) -> HeadFrame:
    """The frame of a head from its landmarks."""
    points, pixels = finder.canonical[STABLE], landmarks[STABLE]
    here, there = points.mean(0), pixels.mean(0)
    affine = np.linalg.lstsq(points - here, pixels - there, rcond=None)[0].T
    left, sizes, right = np.linalg.svd(affine, full_matrices=False)
    scale = float(sizes.mean())
    turn = left @ right
    shift = there - scale * turn @ here
    x = turn[:, 0] / max(float(np.linalg.norm(turn[:, 0])), 1e-9)
    axes = np.array([[x[0], x[1]], [-x[1], x[0]]])
    upright = axes @ turn
    ahead = -np.array([upright[0, 2], upright[1, 2], np.cross(turn[0], turn[1])[2]])
    return HeadFrame(
        projection=scale * turn,
        shift=shift,
        axes=axes,
        centre=scale * turn @ finder.middle + shift,
        unit=scale * REFERENCE_EYE_DISTANCE,
        yaw=float(np.arctan2(ahead[0], -ahead[2])),
        pitch=float(np.arcsin(np.clip(ahead[1], -1, 1))),
    )


def first_shift(
    image: RgbImage, landmarks: Float[np.ndarray, "478 _"], frame: HeadFrame, finder: HeadPointFinder
) -> Float[np.ndarray, "p 2"]:
    """How far the points are from their mean places, judged by the landmarks and the whole head."""
    looks = head_features(image, landmarks, frame, finder.canonical) - finder.head_mean
    shares = yaw_shares(frame.yaw, HEAD_YAWS, HEAD_WIDTH)
    numbers = looks @ np.tensordot(shares, finder.head_weights, 1)
    return (numbers @ finder.head_shapes + view_powers(frame) @ finder.head_view).reshape(-1, 2)


def ear_shift(
    image: RgbImage, centre: Float[np.ndarray, "2"], frame: HeadFrame, finder: HeadPointFinder, side: int
) -> tuple[Float[np.ndarray, "e 2"], float]:
    """How far an ear's points are from where they are thought to be, and how much of the ear is seen."""
    flip = side == RIGHT_EAR
    looks = gradients(ear_picture(image, centre, frame, flip)).ravel() - finder.ear_mean
    yaw = -frame.yaw if flip else frame.yaw
    shares = yaw_shares(yaw, EAR_YAWS, EAR_WIDTH)
    out = looks @ np.tensordot(shares, finder.ear_weights, 1)
    out += np.array([*shares, yaw, frame.pitch]) @ finder.ear_view
    shift = out[:-1].reshape(-1, 2)
    return (shift * [-1, 1] if flip else shift), float(out[-1])


def head_features(
    image: RgbImage, landmarks: Float[np.ndarray, "478 _"], frame: HeadFrame, canonical: Float[np.ndarray, "478 3"]
) -> Float[np.ndarray, "f"]:
    """Landmarks against the mean person's, then histograms of the whole head."""
    off = frame.inside(landmarks[:, :2].astype(np.float64)) - frame.project(canonical)
    picture = aligned(image, frame, np.zeros(2), HEAD_SCALE, HEAD_SIZE)
    return np.concatenate([off.ravel(), gradients(picture).ravel()])


def ear_picture(image: RgbImage, centre: Float[np.ndarray, "2"], frame: HeadFrame, flip: bool) -> np.ndarray:
    """The grey picture around an ear, a right one mirrored to look like a left one."""
    picture = aligned(image, frame, centre, EAR_SCALE, EAR_SIZE)
    return np.ascontiguousarray(picture[:, ::-1]) if flip else picture


def aligned(image: RgbImage, frame: HeadFrame, at: Float[np.ndarray, "2"], scale: float, size: int) -> np.ndarray:
    """Grey picture around a point of the frame, upright, with ``scale`` pixels per eye distance."""
    zoom = scale / frame.unit
    matrix = zoom * frame.axes
    middle = frame.outside(np.asarray(at, float)[None])[0]
    # Continuous coordinates: pixel centres are at halves there and at integers for the warp.
    shift = (size - 1) / 2 - matrix @ (middle - 0.5)
    reach = np.abs(np.linalg.inv(matrix)).sum(1) * size / 2 + 4 / min(zoom, 1)
    low = np.clip(np.floor(middle - reach), 0, None).astype(int)
    high = np.minimum(np.ceil(middle + reach).astype(int), image.shape[1::-1])
    if (high - low < 2).any():
        return np.zeros((size, size), np.uint8)
    part = cv2.cvtColor(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]), cv2.COLOR_RGB2GRAY)
    if zoom < 0.6:
        part = cv2.GaussianBlur(part, (0, 0), 0.35 / zoom)
    warp = np.column_stack([matrix, shift + matrix @ low])
    return cv2.warpAffine(part, warp, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def gradients(picture: np.ndarray) -> Float[np.ndarray, "n n 9"]:
    """Histograms of unsigned gradient directions per cell, normalised by their neighbourhood (after Dalal & Triggs)."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1)
    strength = np.sqrt(np.sqrt(dx * dx + dy * dy)).ravel()  # cv2.magnitude: last bit by memory
    angle = (np.arctan2(dy, dx) % np.pi * (BINS / np.pi)).ravel()
    below = angle.astype(np.int64)
    share = angle - below
    table = np.zeros((strength.size, BINS), np.float32)
    rows = np.arange(strength.size)
    table[rows, below % BINS] = strength * (1 - share)
    table[rows, (below + 1) % BINS] = strength * share
    half = CELL // 2
    n = picture.shape[0] // half
    sums = np.ascontiguousarray(table.reshape(n, half, n, half, BINS).sum((1, 3)))
    soft = np.stack([cv2.GaussianBlur(sums[..., b], (0, 0), 0.9) for b in range(BINS)], -1)
    cells = soft[::2, ::2] + soft[1::2, ::2] + soft[::2, 1::2] + soft[1::2, 1::2]
    energy = cv2.GaussianBlur(np.square(cells).sum(-1), (0, 0), 1.0)
    return np.minimum(cells / np.sqrt(energy + (FLAT * CELL * CELL) ** 2)[..., None], SHARPEST)


def yaw_shares(yaw: float, knots: Float[np.ndarray, "q"], width: float) -> Float[np.ndarray, "q"]:
    """Shares of the regressions learnt around ``knots``; they add up to 1."""
    bells = np.exp(-0.5 * np.square((np.clip(yaw, -1.0, 1.0) - knots) / width))
    return bells / bells.sum()


def view_powers(frame: HeadFrame) -> Float[np.ndarray, "7"]:
    """Low powers of yaw and pitch."""
    y, p = frame.yaw, frame.pitch
    return np.array([1.0, y, p, y * y, y * p, p * p, y**3])


@cache
def load_finder() -> HeadPointFinder:
    """The shipped numbers, read once per process.

    Raises:
        InternalError: The package data are missing.
    """
    path = resources.files("gswap.perception").joinpath("data", "head_points.npz")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return read_finder({name: archive[name] for name in archive.files})
    except FileNotFoundError as error:
        raise InternalError("The package data head_points.npz is missing.", hint="Reinstall gswap.") from error


def read_finder(arrays: Mapping[str, np.ndarray]) -> HeadPointFinder:
    """Stored arrays -> numbers; weights are stored as bytes with a step per column."""
    plain = {
        name: arrays[name].astype(np.float64)
        for name in ("canonical", "points", "middle", "head_shapes", "head_view", "ear_view", "head_mean", "ear_mean")
    }
    weights = {
        name: arrays[name].astype(np.float32) * arrays[f"{name}_step"] for name in ("head_weights", "ear_weights")
    }
    return HeadPointFinder(ear=arrays["ear"].astype(np.int64), **plain, **weights)
