"""Where the ears, the skull, the jaw and the middle of the face are, as pictures of many people teach it.

A cascade of linear regressions on histograms of oriented gradients (supervised descent: Xiong & De la Torre 2013),
learnt by ``scripts/make_head_points.py`` on synthetic people whose truth is known. The head's scaled orthographic pose
under the landmarks gives a frame; the points' mean places in it are corrected by what the landmarks and the whole head
look like, then by what is seen around every point where it is thought to be: the face's points by what is around these
and between jaw and mouth, ears and skull by what is around theirs (each is noise to the other); the face's also by how
near what is seen is to what was seen in others (Nystroem's kernel regression: Williams & Seeger 2000). What a hidden
point gets is a guess; ``body.head_points`` knows how good such guesses are. Points of the face correct the detector,
whose errors they see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.foundation.errors import InternalError
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS, OVAL
from gswap.foundation.types import RgbImage

REFERENCE_EYE_DISTANCE = 0.09
"""Metres between the outer eye corners of the mean adult: the unit of the head's frame."""
HEAD_SCALE, HEAD_SIZE = 40, 192
"""Pixels per eye distance, and side, of the picture of the whole head."""
LOCAL_SCALE, LOCAL_SIZE = 56, 256
"""The same of the picture whose details are looked at around every point."""
LOCAL_REACH, LOCAL_BLUR = 2.5, 2.2
"""Four histograms stand this many pixels above, below and beside a point; standard deviation of each one's window."""
CELL, BINS, LOCAL_BINS = 8, 9, 12
"""Side of a histogram's cell in pixels, its number of orientations (half a turn), and that of a local one (a whole)."""
SHARPEST = 0.6
"""Histogram entries are clipped here after normalisation."""
FLAT, LOCAL_FLAT = 0.3, 0.6
"""Square root of the gradient, per pixel, below which a cell counts as flat; the same of a point's four histograms."""
YAWS, YAW_WIDTH = np.radians([-30.0, 0.0, 30.0]), np.radians(18.0)
"""Yaws at which the regressions were learnt, and how wide each reaches."""
VIEW_WIDTH = np.radians([79.0, 32.0])
"""How far yaw and pitch are from others that count as much as the width of a bell."""
STABLE = np.setdiff1d(np.arange(478), [*LIPS, *OVAL, *EYE_RIGHT, *EYE_LEFT, *IRIS_RIGHT, *IRIS_LEFT])
"""Landmarks that tell the head's pose."""


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
class Regression:
    """A linear regression through ``r`` numbers, whose weights change with the head's yaw."""

    mean: Float[np.ndarray, "f"]
    weights: Float[np.ndarray, "3 f r"]
    """At each of :data:`YAWS`."""
    shapes: Float[np.ndarray, "r m"]
    view: Float[np.ndarray, "7 m"]
    """What :func:`view_powers` add."""

    def __call__(self, looks: Float[np.ndarray, "f"], frame: HeadFrame) -> Float[np.ndarray, "m"]:
        """The answer to what is seen."""
        seen = (looks - self.mean).astype(np.float32)
        numbers = yaw_shares(frame.yaw) @ np.stack([seen @ weights for weights in self.weights])
        return numbers @ self.shapes + view_powers(frame) @ self.view


@dataclass(frozen=True)
class Bells:
    """What a linear regression cannot say: a sum of :func:`bells` around what was seen in some of the people."""

    axes: Float[np.ndarray, "f k"]
    centres: Float[np.ndarray, "c k+2"]
    heights: Float[np.ndarray, "c m"]

    def __call__(self, looks: Float[np.ndarray, "f"], frame: HeadFrame) -> Float[np.ndarray, "m"]:
        """The answer to what is seen, less its mean."""
        view = np.array([[frame.yaw, frame.pitch]])
        return (bells(bell_places(looks[None], view, self.axes), self.centres) @ self.heights)[0]


@dataclass(frozen=True)
class HeadPointFinder:
    """The learnt numbers of ``p`` points."""

    canonical: Float[np.ndarray, "478 3"]
    """Landmarks of the mean person, head coordinates."""
    points: Float[np.ndarray, "p 3"]
    middle: Float[np.ndarray, "3"]
    """Middle of the skull."""
    ear: Int[np.ndarray, "p"]
    """Which ear a point belongs to."""
    between: Float[np.ndarray, "b p"]
    """Further places of the face where details are looked at, as weighted sums of points."""
    head: Regression
    """:func:`head_features` -> shifts of the points from their mean places."""
    face: Regression
    """:func:`local_features` of the face -> further shifts of its points, which are the first."""
    face_bells: Bells
    """Added to ``face``."""
    local: Regression
    """:func:`local_features` of the rest -> its further shifts, then how much of the right and of the left ear is
    seen."""

    def of_face(self) -> Bool[np.ndarray, "p+b"]:
        """Which of :meth:`places` are the face's."""
        return face_places(self.face.view.shape[1] // 2, len(self.points), len(self.between))

    def places(self, points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p+b 2"]:
        """Where details are looked at when the points are thought to be at ``points``."""
        return np.concatenate([points, self.between @ points])


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
    points = frame.project(finder.points)
    points += finder.head(head_features(image, landmarks, frame, finder.canonical), frame).reshape(-1, 2)
    details, of_face = local_features(local_picture(image, frame), finder.places(points)), finder.of_face()
    of_face, others = details[of_face].ravel(), details[~of_face].ravel()
    face = finder.face(of_face, frame) + finder.face_bells(of_face - finder.face.mean, frame)
    rest = finder.local(others, frame)
    closer = np.concatenate([face, rest[:-2]]).reshape(-1, 2)
    return frame.outside(points + closer), np.clip(rest[-2:], 0, 1)


def face_places(face: int, points: int, between: int) -> Bool[np.ndarray, "p+b"]:
    """Which places are the face's: its points, which are the first, and those between."""
    return np.repeat([True, False, True], [face, points - face, between])


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


def head_features(
    image: RgbImage, landmarks: Float[np.ndarray, "478 _"], frame: HeadFrame, canonical: Float[np.ndarray, "478 3"]
) -> Float[np.ndarray, "f"]:
    """Landmarks against the mean person's, then histograms of the whole head."""
    off = frame.inside(landmarks[:, :2].astype(np.float64)) - frame.project(canonical)
    picture = aligned(image, frame, HEAD_SCALE, HEAD_SIZE)
    return np.concatenate([off.ravel(), gradients(picture).ravel()])


def local_picture(image: RgbImage, frame: HeadFrame) -> np.ndarray:
    """The grey picture of the head for :func:`local_features`."""
    return aligned(image, frame, LOCAL_SCALE, LOCAL_SIZE)


def local_features(picture: np.ndarray, points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 48"]:
    """Four histograms around every point of the frame (after SIFT: Lowe 2004)."""
    size = LOCAL_SIZE
    table = oriented(picture, 0.8, 2 * np.pi, LOCAL_BINS).reshape(size, size, LOCAL_BINS)
    table = cv2.GaussianBlur(table, (0, 0), LOCAL_BLUR).reshape(-1, LOCAL_BINS)
    corners = LOCAL_REACH * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    places = np.clip(points[:, None] * LOCAL_SCALE + corners + (size - 1) / 2, 0, size - 1.001)
    low = places.astype(np.int64)
    right, down = np.moveaxis(places - low, -1, 0)[..., None]
    first = low[..., 1] * size + low[..., 0]
    above = table[first] * (1 - right) + table[first + 1] * right
    below = table[first + size] * (1 - right) + table[first + size + 1] * right
    around = above * (1 - down) + below * down
    energy = np.square(around).sum((1, 2), keepdims=True)
    return np.minimum(around / np.sqrt(energy + LOCAL_FLAT**2), SHARPEST).reshape(len(points), -1)


def aligned(image: RgbImage, frame: HeadFrame, scale: float, size: int) -> np.ndarray:
    """Grey picture around the middle of the frame, upright, with ``scale`` pixels per eye distance."""
    zoom = scale / frame.unit
    matrix = zoom * frame.axes
    middle = frame.centre
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
    table = oriented(picture, 1.0, np.pi, BINS)
    half = CELL // 2
    n = picture.shape[0] // half
    sums = np.ascontiguousarray(table.reshape(n, half, n, half, BINS).sum((1, 3)))
    soft = np.stack([cv2.GaussianBlur(sums[..., b], (0, 0), 0.9) for b in range(BINS)], -1)
    cells = soft[::2, ::2] + soft[1::2, ::2] + soft[::2, 1::2] + soft[1::2, 1::2]
    energy = cv2.GaussianBlur(np.square(cells).sum(-1), (0, 0), 1.0)
    return np.minimum(cells / np.sqrt(energy + (FLAT * CELL * CELL) ** 2)[..., None], SHARPEST)


def oriented(picture: np.ndarray, blur: float, period: float, bins: int) -> Float[np.ndarray, "hw b"]:
    """Square root of every pixel's gradient, shared by the two bins next to its direction modulo ``period``."""
    smooth = cv2.GaussianBlur(picture, (0, 0), blur).astype(np.float32)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1)
    strength = np.sqrt(np.sqrt(dx * dx + dy * dy)).ravel()  # cv2.magnitude: last bit by memory
    angle = (np.arctan2(dy, dx) % period * (bins / period)).ravel()
    below = angle.astype(np.int64)
    share = angle - below
    table = np.zeros((strength.size, bins), np.float32)
    rows = np.arange(strength.size)
    table[rows, below % bins] = strength * (1 - share)
    table[rows, (below + 1) % bins] = strength * share
    return table


def bell_places(
    looks: Float[np.ndarray, "n f"], view: Float[np.ndarray, "n 2"], axes: Float[np.ndarray, "f k"]
) -> Float[np.ndarray, "n k+2"]:
    """What is seen, less its mean, and yaw and pitch, as places that are as far from each other as they differ."""
    return np.concatenate([looks @ axes, view / VIEW_WIDTH], 1).astype(np.float32)


def bells(places: Float[np.ndarray, "n k"], centres: Float[np.ndarray, "c k"]) -> Float[np.ndarray, "n c"]:
    """Gaussian bells of width 1 around ``centres``."""
    apart = np.square(places).sum(1)[:, None] + np.square(centres).sum(1) - 2 * places @ centres.T
    return np.exp(-0.5 * np.maximum(apart, 0))


def yaw_shares(yaw: float) -> Float[np.ndarray, "3"]:
    """Shares of the regressions learnt around :data:`YAWS`; they add up to 1."""
    bells = np.exp(-0.5 * np.square((np.clip(yaw, -1.0, 1.0) - YAWS) / YAW_WIDTH))
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
    plain = {name: arrays[name].astype(np.float64) for name in ("canonical", "points", "middle", "between")}
    head, face, local = (_read_regression(arrays, name) for name in ("head", "face", "local"))
    ear = arrays["ear"].astype(np.int64)
    axes, centres = (from_bytes(arrays, f"bells_{part}") for part in ("axes", "centres"))
    face_bells = Bells(axes, centres, arrays["bells_heights"].astype(np.float32))
    return HeadPointFinder(ear=ear, head=head, face=face, face_bells=face_bells, local=local, **plain)


def from_bytes(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Numbers that are stored as bytes with a step per column."""
    return arrays[name].astype(np.float32) * arrays[f"{name}_step"]


def _read_regression(arrays: Mapping[str, np.ndarray], name: str) -> Regression:
    weights = from_bytes(arrays, f"{name}_weights")
    rest = {part: arrays[f"{name}_{part}"].astype(np.float64) for part in ("mean", "shapes", "view")}
    return Regression(weights=weights, **rest)
