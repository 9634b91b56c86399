"""Areas of a face in an image, drawn from its landmarks, and the face's own ruler."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from gswap.foundation.imaging import blur, disc, fill_polygon, fill_polygons
from gswap.foundation.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    CHIN,
    EYE_LEFT,
    EYE_RIGHT,
    FOREHEAD_TOP,
    JAW,
    LIPS_OUTER,
    OVAL,
)

Points2 = Float[np.ndarray, "478 2"]
Mask = Float[np.ndarray, "h w"]

MUZZLE = (*LIPS_OUTER, 2, 94, 98, 327, 18, 83, 313, 199, 200, 175, CHIN)
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327, 129, 358)
"""Parts of the face that stand out beyond its oval when the head is turned."""
MOUTH_HULL = (*LIPS_OUTER, 164, 18, 200, 57, 287, 43, 273)
TURN = (0.1, 0.3)
"""Distances of the middle of the jaw's corners from the chin's axis between which a head begins to be turned and is,
face widths."""
LOG_FLOOR = 4.0
"""Added to 8-bit levels before a logarithm, so that noise in the dark is not amplified."""


@dataclass(frozen=True)
class FaceRuler:
    """Heights over the chin along the face's up axis, in face heights, and distances from that axis, in face widths."""

    chin: Float[np.ndarray, "2"]
    up: Float[np.ndarray, "2"]
    height: float
    width: float

    @classmethod
    def of(cls, points: Float[np.ndarray, "n 2"], scale: float = 1.0) -> FaceRuler:
        """Ruler of a face; ``scale`` = pixels of the wanted raster per pixel of the landmarks."""
        span = points[FOREHEAD_TOP] - points[CHIN]
        height = float(np.linalg.norm(span))
        width = float(np.ptp(points[:468, 0]))
        return cls(points[CHIN] * scale, span / height, height * scale, width * scale)

    def axes(self, height: int, width: int) -> tuple[Mask, Mask]:
        """Height over the chin (1 = top of the forehead) and lateral distance of every pixel."""
        up, out = self.grid(height, width)
        return up, np.abs(out)

    def grid(self, height: int, width: int) -> tuple[Mask, Mask]:
        """:meth:`measure` of every pixel."""
        (x, y), (ux, uy) = self._sides(height, width), self.up / self.width
        return self.heights(height, width), y * np.float32(ux) - x * np.float32(uy)

    def heights(self, height: int, width: int) -> Mask:
        """Height over the chin of every pixel."""
        (x, y), (ux, uy) = self._sides(height, width), self.up / self.height
        return x * np.float32(ux) + y * np.float32(uy)

    def _sides(self, height: int, width: int) -> tuple[Float[np.ndarray, "1 w"], Float[np.ndarray, "h 1"]]:
        x = np.arange(width, dtype=np.float32)[None] + np.float32(0.5 - self.chin[0])
        return x, np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - self.chin[1])

    def measure(self, points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Heights over the chin, and signed distances from the axis (positive on the side of the person's left)."""
        x, y = (np.asarray(points) - self.chin).T
        return (x * self.up[0] + y * self.up[1]) / self.height, (y * self.up[0] - x * self.up[1]) / self.width


@dataclass(frozen=True)
class Turn:
    """How a turned head shows one side of its neck."""

    side: int
    """Sign of the signed distances (:meth:`FaceRuler.measure`) on the side that is shown; 0 = frontal."""
    amount: float
    """0 to 1."""
    axis: float
    """Where the neck's axis is, signed, face widths."""
    corner: float
    """Distance of the jaw's corner on the shown side, face widths."""

    @classmethod
    def of(cls, points: Points2, ruler: FaceRuler) -> Turn:
        """Of a face: in frontal pictures the middle of the jaw's corners is above the chin, in turned ones behind."""
        corners = ruler.measure(points[[JAW[4], JAW[-5]]])[1]
        behind = float(corners.mean())
        amount = float(np.clip((abs(behind) - TURN[0]) / (TURN[1] - TURN[0]), 0, 1))
        return cls(int(np.sign(behind)) if amount else 0, amount, amount * behind, float(np.abs(corners).max()))


def bounds(points: Float[np.ndarray, "n 2"], margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box of whole pixels ``(x0, y0, x1, y1)`` around some points, kept to an image; empty where all are outside.

    Args:
        points: Pixels.
        margin: Pixels.
        size: Width and height of the image.
    """
    low = np.clip(np.floor(points.min(0) - margin), 0, size).astype(int)
    high = np.clip(np.ceil(points.max(0) + margin), 0, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def bounds_of(mask: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
    """:func:`bounds` around what is not zero in a mask; ``None`` where nothing is."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
    return bounds(corners, margin, (mask.shape[1], mask.shape[0]))


def hull(points: Points2, indices: tuple[int, ...], height: int, width: int) -> Mask:
    """Convex hull of some landmarks, 1 inside."""
    return fill_polygon(_outline(points, indices), height, width)


def _outline(points: Points2, indices: tuple[int, ...]) -> Float[np.ndarray, "n 2"]:
    return cv2.convexHull(points[list(indices)].astype(np.float32))[:, 0].astype(np.float64)


def oval_mask(points: Points2, height: int, width: int) -> Mask:
    """The face from jaw to forehead, with nose, lips and chin of a turned head; 1 inside."""
    return fill_polygons([points[list(OVAL)], *(_outline(points, part) for part in (NOSE, MUZZLE))], height, width)


def skin_mask(points: Points2, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The face without eyes, brows and lips."""
    mask = oval_mask(points, height, width) > 0.9
    grow = disc(0.035 * np.ptp(points[:468, 0]))
    for part in (EYE_RIGHT, EYE_LEFT, LIPS_OUTER, BROW_RIGHT, BROW_LEFT):
        x0, y0, x1, y1 = bounds(points[list(part)], len(grow), (width, height))
        if x0 < x1 and y0 < y1:
            feature = hull(points - [x0, y0], part, y1 - y0, x1 - x0)
            mask[y0:y1, x0:x1] &= cv2.dilate(feature, grow) < 0.1
    return mask


def eyes_mask(points: Points2, height: int, width: int, face_width: float) -> Mask:
    """Soft area of eyes and brows that is taken from the photo chosen for the eyes."""
    mask = hull(points, EYE_RIGHT + BROW_RIGHT, height, width)
    mask = np.maximum(mask, hull(points, EYE_LEFT + BROW_LEFT, height, width))
    return blur(cv2.dilate(mask, disc(0.04 * face_width)), 0.02 * face_width)


def mouth_mask(points: Points2, height: int, width: int, face_width: float) -> Mask:
    """Soft area around the mouth that is taken from the photo chosen for it."""
    mask = hull(points, MOUTH_HULL, height, width)
    return blur(cv2.dilate(mask, disc(0.06 * face_width)), 0.04 * face_width)


def smooth_contour(points: Float[np.ndarray, "n 2"], subdivisions: int = 6) -> Float[np.ndarray, "m 2"]:
    """Closed Catmull-Rom spline through the points."""
    p0, p1, p2, p3 = (np.roll(points, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    u = (np.arange(subdivisions) / subdivisions)[None, :, None]
    curve = p1 + 0.5 * u * (p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0)))
    return curve.reshape(-1, 2)


def smoothstep(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """0 up to 0, 1 from 1 on, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def luminance(image: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, ...]:
    """Rec. 601 luma."""
    return image @ np.array([0.299, 0.587, 0.114], np.float32)


def log_luminance(log_colour: Float[np.ndarray, "3"]) -> float:
    """Log luma of a log colour."""
    return float(np.log(luminance(np.exp(log_colour))))


def mean_log(image: np.ndarray, mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "3"]:
    """Mean log colour of the pixels of a mask (mid grey when it is empty)."""
    if not mask.any():
        return np.full(3, np.log(128.0))
    return np.log(image[mask].astype(np.float32) + np.float32(LOG_FLOOR)).mean(0, dtype=np.float64)


def nearest_known(empty: np.ndarray) -> tuple[Float[np.ndarray, "h w"], Int[np.ndarray, "h w"]]:
    """Distance to the nearest zero pixel, and that pixel's index in row-major order.

    Args:
        empty: ``uint8``, at least one pixel zero.
    """
    distance, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = np.flatnonzero(empty.ravel() == 0)
    place = np.zeros(len(known) + 1, np.int32)
    place[labels.ravel()[known]] = known
    return np.asarray(distance, np.float32), place[np.asarray(labels, np.int32)]


def extend_nearest(values: Float[np.ndarray, "h w c"], known: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w c"]:
    """Give every unknown pixel the value of the nearest known one."""
    if known.all():
        return values
    _, nearest = nearest_known((~known).astype(np.uint8))
    return values.reshape(-1, values.shape[-1])[nearest]


HAIR_ABOVE, FEWEST_HAIRS = 0.45, 30
"""Outside the face and above this height (face heights) long hair shows its colour, in so many pixels at least."""
LIKE_HAIR = (9.0, 3.0)
"""How unlike the known hair (:func:`unlike`) other hair may be in lightness, for it shines, and in chroma."""
LOCK = 0.03
"""Bridges between areas of the hair's colour narrower than this join nothing, face widths."""
OFF_THE_FACE = 0.10
"""Distance from the face from which a head's pixels there are surely hair, face heights."""


def unlike(lab: Float[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Squared distance from known colours (8-bit Lab), in spreads that strands across the skin do not widen."""
    return _unlike_parts(lab, known).sum(-1)


def _unlike_parts(lab: Float[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    pixels = lab[known] if known.any() else lab.reshape(-1, 3)
    middle = np.median(pixels, axis=0)
    spread = 1.48 * np.median(np.abs(pixels - middle), axis=0) + np.array([25, 4, 4])
    return np.square((lab - middle.astype(np.float32)) / spread.astype(np.float32))


def hair_likeness(
    foreground: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"], points: Points2
) -> Float[np.ndarray, "h w"]:
    """1 where a head's pixels outside its face are like its hair, and more so than like its skin; 0 without known hair.

    It is one with what grows above the ears; the chin's shadow on the neck may have its colour. Below the jaw it is no
    further out than beside the face: what lies there is clothes.
    """
    h, w = alpha.shape
    ruler = FaceRuler.of(points)
    face = oval_mask(points, h, w)
    height, across = ruler.grid(h, w)
    away = cv2.distanceTransform((face < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / ruler.height
    known = (alpha > 230) & (height > HAIR_ABOVE) & (away > OFF_THE_FACE)
    if np.count_nonzero(known) < FEWEST_HAIRS:
        return np.zeros((h, w), np.float32)
    lab = cv2.cvtColor(foreground, cv2.COLOR_RGB2LAB).astype(np.float32)
    parts = _unlike_parts(lab, known)
    like = (parts[..., 0] < LIKE_HAIR[0]) & (parts[..., 1:].sum(-1) < LIKE_HAIR[1]) & (face < 0.5)
    like &= parts.sum(-1) < unlike(lab, skin_mask(points, h, w))
    beside = (alpha > 127) & (height > 0) & (height < HAIR_ABOVE)
    if beside.any():
        like &= (height > 0) | ((across > across[beside].min()) & (across < across[beside].max()))
    joined = cv2.morphologyEx((like | known).astype(np.uint8), cv2.MORPH_OPEN, disc(LOCK * ruler.width))
    labels = cv2.connectedComponents(joined)[1]
    grown = np.isin(labels, np.unique(labels[known & (joined > 0)])) & (joined > 0)
    near = cv2.dilate(grown.astype(np.uint8), disc(2 * LOCK * ruler.width)) > 0
    return (like & near).astype(np.float32)
