"""What a pixel probably is from where it lies: the posed body and the face say so before any colour is looked at."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.imaging import blur, disc, fill_polygon
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS_OUTER
from gswap.segmentation.layout import HEAD_PART, NECK_PART, NOTHING, TORSO_PART, Layout

HEAD, NECK, CLOTHES, OUTSIDE = range(4)
LABELS = 4

_FIT_ERROR = 0.035
"""Face units: how far the outline of the fitted body may be off (sigma of the prior's blur)."""
_BELOW_JAW = 0.12
"""Height under which a pixel of the head part that is not face is seen from below: the underside of the chin."""

# Probabilities of head, neck, clothes, outside, by the part of the body that is seen there.
_IN_FACE = (0.997, 0.001, 0.001, 0.001)
_IN_HEAD = (0.94, 0.02, 0.01, 0.03)
_UNDER_CHIN = (0.72, 0.23, 0.03, 0.02)
_IN_NECK = (0.04, 0.64, 0.26, 0.06)
_IN_TORSO = (0.01, 0.10, 0.84, 0.05)
_ABOVE = (0.49, 0.005, 0.01, 0.495)
_BELOW = (0.003, 0.02, 0.5, 0.477)
_LONG_HAIR = 0.5
"""Probability of hair below the jaw when hair is long, fading out downwards."""
_LONG_REACH = (-3.2, -1.2)
"""Heights between which long hair fades out."""
_LONG_SIDE = (1.1, 0.7)
"""Sideways distances between which long hair fades out."""
_NECK_SIDE = (0.55, 0.38)
"""Sideways distances between which skin beside the jaw stops being neck: there it is the inside of a hood or collar."""
_THROAT, _THROAT_HAIR = (0.4, 0.2), 0.08
"""Sideways distances between which the neck becomes the throat, where long hair is this probable: it hangs beside."""
_BARE_THROAT = 0.1
"""Sideways distance within which a turned head's hair does not lie either."""
_HAIR_WIDTH = 0.95
"""Sideways distance beyond which pixels of the torso are clothes for certain."""
_TAIL_START, _TAIL_END = 0.3, -1.2
"""Heights between which a tail hangs."""
_ROOT_HEIGHT, _TAIL_AWAY = (0.1, 0.6), 0.08
"""Heights of the hair that it hangs on, and that hair's distance from the face: a jaw in the shade is no hair."""
_HAIR_DEPTH, _HAIR_THINS = 0.14, 0.14
"""Face units: how thick hair may be over the skull, and how fast it gets improbable beyond that."""
_SHORT_JAW, _LONG_JAW = (0.2, 0.42), (-0.05, 0.15)
"""Heights, beside the head, between which "below" (clothes) turns into "above" (hair)."""


def ramp(value: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Smooth step from 0 at ``start`` to 1 at ``stop`` (either order)."""
    t = np.clip((value - start) / (stop - start), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def label_prior(layout: Layout, long_hair: bool) -> Float[np.ndarray, "4 h w"]:
    """Probability of every label at every pixel; sums to 1."""
    prior = np.empty((LABELS, *layout.part.shape), np.float32)
    coarse = layout.every_other()
    for label, plane in enumerate(_outlines(coarse, long_hair)):
        prior[label] = cv2.pyrUp(blur(plane, _FIT_ERROR * coarse.unit), dstsize=prior.shape[:0:-1])
        prior[label] += layout.face * (_IN_FACE[label] - prior[label])
    return prior


def _outlines(layout: Layout, long_hair: bool) -> Float[np.ndarray, "4 h w"]:
    """The prior of a body that fits exactly, with the face like the rest of the head."""
    height, side, part = layout.height, np.abs(layout.side), layout.part
    above = ramp(height, *(_LONG_JAW if long_hair else _SHORT_JAW))
    too_far = np.exp(-np.maximum(_from_skull(layout) - _HAIR_DEPTH, 0) / _HAIR_THINS)
    prior = np.empty((LABELS, *part.shape), np.float32)
    hairy = (too_far * _ABOVE[HEAD], _ABOVE[NECK], _ABOVE[CLOTHES], _ABOVE[OUTSIDE] + (1 - too_far) * _ABOVE[HEAD])
    on_head, on_chin = part == HEAD_PART, (part == HEAD_PART) & (height < _BELOW_JAW)
    on_neck, on_torso = part == NECK_PART, part == TORSO_PART
    for label, plane in enumerate(prior):
        plane[:] = above * (hairy[label] - _BELOW[label]) + _BELOW[label]
        plane[on_head] = _IN_HEAD[label]
        plane[on_chin] = _UNDER_CHIN[label]
        plane[on_neck] = _IN_NECK[label]
        plane[on_torso] = _IN_TORSO[label]
    beside = ramp(side, *_NECK_SIDE) + ramp(height, -0.1, -0.3)
    prior[NECK] *= np.clip(beside, 0.1, 1)
    if long_hair:
        _let_hair_fall(prior, layout, side)
    prior /= prior.sum(0)
    return prior


def _let_hair_fall(prior: Float[np.ndarray, "4 h w"], layout: Layout, side: Float[np.ndarray, "h w"]) -> None:
    """Make hair probable below the jaw, beside the throat; changes ``prior``."""
    height = layout.height
    low = height < _LONG_JAW[1]
    hair = _LONG_HAIR * ramp(height, *_LONG_REACH) * ramp(side, *_LONG_SIDE)
    throat = ramp(np.abs(layout.side - layout.throat), *_THROAT) * low
    hair = np.where(throat > 0, hair * (1 - throat) + _THROAT_HAIR * throat, hair)
    hair = np.where(low & (layout.part != HEAD_PART), np.maximum(hair, prior[HEAD]), prior[HEAD])
    prior *= (1 - hair) / np.maximum(1 - prior[HEAD], 1e-6)
    prior[HEAD] = hair


def _from_skull(layout: Layout) -> Float[np.ndarray, "h w"]:
    """Distance to the body's head, in face units; hair that hangs beside the face is as near as at its root."""
    skull = (layout.part == HEAD_PART) | (layout.face > 0.5)
    distance = cv2.distanceTransform((~skull).astype(np.uint8), cv2.DIST_L2, 5) / layout.unit
    return np.where(layout.height > 0.5, distance, 0).astype(np.float32) if skull.any() else distance * 0


def skin_share(layout: Layout) -> Float[np.ndarray, "h w"]:
    """How much of the head label is skin rather than hair at every pixel, in [0, 1]."""
    coarse = layout.every_other()
    ears = (coarse.height > 0.1) & (coarse.height < 0.85) & (np.abs(coarse.side) < 0.72)
    share = np.full(coarse.height.shape, 0.02, np.float32)
    share[ears & (coarse.part == NOTHING)] = 0.2
    share[(coarse.part == HEAD_PART) & (coarse.height > 0)] = 0.5
    share = cv2.pyrUp(blur(share, _FIT_ERROR * coarse.unit), dstsize=layout.face.shape[::-1])
    return np.maximum(share, 0.9 * layout.face)


def skin_seeds(layout: Layout, points: Float[np.ndarray, "478 2"]) -> Float[np.ndarray, "h w"]:
    """Pixels that are bare face: the oval without eyes, brows, mouth and rim."""
    shape = layout.height.shape
    inner = cv2.erode(layout.face, disc(0.12 * layout.unit))
    holes = np.zeros(shape, np.float32)
    for ring in (EYE_RIGHT, EYE_LEFT, LIPS_OUTER):
        holes = np.maximum(holes, fill_polygon(points[list(ring)], *shape))
    for brow in (BROW_RIGHT, BROW_LEFT):
        hull = cv2.convexHull(points[list(brow)].astype(np.float32))[:, 0]
        holes = np.maximum(holes, fill_polygon(hull, *shape))
    holes = cv2.dilate(holes, disc(0.05 * layout.unit))
    return ((inner > 0.5) & (holes < 0.5) & (layout.height < 0.85)).astype(np.float32)


def hairless(layout: Layout, long_hair: bool) -> Float[np.ndarray, "h w"]:
    """1 where no hair can hang: everywhere below short hair, at the throat and far out below long hair."""
    if not long_hair:
        return np.ones(layout.side.shape, np.float32)
    bare = np.abs(layout.side - layout.throat) < _BARE_THROAT
    return ((np.abs(layout.side) > _HAIR_WIDTH) | bare).astype(np.float32)


def below_hair(layout: Layout) -> Bool[np.ndarray, "h w"]:
    """Where a tail may hang: beside the throat and below the jaw, off the face."""
    height, side = layout.height, np.abs(layout.side)
    beside = (side < _HAIR_WIDTH) & (np.abs(layout.side - layout.throat) > _THROAT[1])
    return beside & (height > _TAIL_END) & (height < _TAIL_START) & (layout.face < 0.05)


def nape(layout: Layout) -> Bool[np.ndarray, "h w"]:
    """Where the hair is that a tail hangs on: between jaw and eyes, not next to the face."""
    away = cv2.distanceTransform((layout.face < 0.5).view(np.uint8), cv2.DIST_L2, 5) > _TAIL_AWAY * layout.unit
    return away & (layout.height > _ROOT_HEIGHT[0]) & (layout.height < _ROOT_HEIGHT[1])


def hair_seeds(layout: Layout, person: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Pixels of the person above the face: hair, or the scalp of a bald head."""
    solid = cv2.erode(person, disc(0.06 * layout.unit)) > 0.85
    near = (layout.height > 1.02) & (layout.height < 1.7) & (np.abs(layout.side) < 0.5)
    return (solid & near & (layout.face < 0.05)).astype(np.float32)


def clothes_seeds(layout: Layout, person: Float[np.ndarray, "h w"], long_hair: bool) -> Float[np.ndarray, "h w"]:
    """Pixels of the torso, a little below the collar, where no hair can lie."""
    torso: Bool[np.ndarray, "h w"] = (layout.part == TORSO_PART) | (layout.part == NOTHING)
    side = np.abs(layout.side)
    low = (layout.height < -0.5) | ((layout.height < -0.12) & (side > 0.75))
    return (torso & low & (person > 0.85)).astype(np.float32) * hairless(layout, long_hair)


def background_seeds(layout: Layout, person: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Pixels far from people."""
    near = cv2.dilate(person, disc(0.12 * layout.unit))
    return ((near < 0.1) & (layout.part == NOTHING)).astype(np.float32)
