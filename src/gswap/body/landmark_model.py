"""A body model seen through the face landmarks: what they are for a shape, an expression and a gaze, all linear.

Everything is in head coordinates: the rest frame with the head joint at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.body.head_points import HeadPoints
from gswap.body.landmark_errors import LandmarkErrors
from gswap.body.posing import HeadRig
from gswap.body.shapes import SparseShapes
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS, OVAL
from gswap.foundation.protocols import BodyModel, RestBody
from gswap.foundation.types import BodyShape

COUNT = 478
SLOPE_STEP = 0.2
SLOPE_BLEND = 0.1
"""Free parameters this near to zero use a mean of both slopes."""
IRISES = np.array([IRIS_RIGHT, IRIS_LEFT])
SKIN_COUNT = 468
LIDS = np.array([EYE_RIGHT, EYE_LEFT])
BLINKS = ("eyeBlinkRight", "eyeBlinkLeft")
REFERENCE_EYE_DISTANCE = 0.09
"""Metres between the outer eye corners of the mean adult: turns pixel residuals into shares of it."""


@dataclass(frozen=True)
class ShapeSpace:
    """The part of a model's shape vector that a face can determine, with its prior."""

    basis: Float[np.ndarray, "k n"]
    """Shape vector = neutral + basis @ free parameters; symmetric left to right."""
    sigma: Float[np.ndarray, "n"]
    """Standard deviation of each free parameter over people."""
    lower: Float[np.ndarray, "n"]
    upper: Float[np.ndarray, "n"]


class FaceModel(BodyModel, Protocol):
    """What the fit needs beyond :class:`BodyModel`."""

    actions: SparseShapes
    rig: HeadRig
    shape_space: ShapeSpace
    free_actions: tuple[str, ...]
    """Actions that landmarks can determine."""
    landmark_errors: LandmarkErrors
    """How the detector errs on this model's landmarks."""
    head_points: HeadPoints | None
    """Where the points lie that perception finds in pixels; ``None``: unknown for this body."""


@dataclass(frozen=True)
class FaceShape:
    """The landmarks of one person at rest."""

    parameters: Float[np.ndarray, "n"]
    """Free shape parameters."""
    points: Float[np.ndarray, "478 3"]
    """Landmarks, head coordinates, without offsets."""
    eyes: Float[np.ndarray, "2 3"]
    """Right and left eyeball centre, without offsets."""
    offsets: Float[np.ndarray, "468 3"]
    """Free offsets of the skin landmarks."""
    personal: Float[np.ndarray, "k"]
    """Coefficients of the personal errors, of the detector and of finding the head's points."""
    missed: Float[np.ndarray, "478 3"]
    """How far the detector misses this person's landmarks; no part of the geometry."""
    head: Float[np.ndarray, "p 3"]
    """The head's other points (:mod:`gswap.body.head_points`), without offsets."""
    head_missed: Float[np.ndarray, "p 2"]
    """How far these are missed in plain view, shares of the eye distance along the head's axes in the image."""

    @cached_property
    def rest(self) -> Float[np.ndarray, "478 3"]:
        """Landmarks with offsets. Eyeballs follow the mean offset of their lids."""
        out = self.points.copy()
        out[:SKIN_COUNT] += self.offsets
        out[IRISES] += self.eye_offsets[:, None]
        return out

    @cached_property
    def eye_offsets(self) -> Float[np.ndarray, "2 3"]:
        """How far each eyeball is moved by the offsets around it."""
        return self.offsets[LIDS].mean(1)

    @cached_property
    def eye_centres(self) -> Float[np.ndarray, "2 3"]:
        """Right and left eyeball centre, with offsets."""
        return self.eyes + self.eye_offsets


class LandmarkModel:
    """Landmarks of a body model as functions of the fit's unknowns."""

    def __init__(self, model: FaceModel) -> None:
        self.body = model
        self.space = model.shape_space
        self.free: Int[np.ndarray, "a"] = np.array([model.action_names.index(n) for n in model.free_actions])
        actions = model.actions.dense()
        self.every_action: Float[np.ndarray, "b 478 3"] = self._at_landmarks(actions)
        self.actions: Float[np.ndarray, "a 478 3"] = self.every_action[self.free]
        self.neutral: BodyShape = model.neutral_shape()
        self.errors: LandmarkErrors = model.landmark_errors
        self.marks: HeadPoints | None = model.head_points
        self.head_modes: Float[np.ndarray, "k p 2"] = np.zeros((0, 0, 2)) if self.marks is None else self.marks.person
        self.head_actions: Float[np.ndarray, "a p 3"] = self._at_head_points(actions[self.free])
        names = list(model.free_actions)
        self.blinks: Int[np.ndarray, "2"] = np.array([names.index(n) for n in BLINKS if n in names], int)

    def body_shape(self, parameters: Float[np.ndarray, "n"]) -> BodyShape:
        """Free parameters -> the model's shape, without offsets."""
        return replace(self.neutral, coefficients=self.neutral.coefficients + self.space.basis @ parameters)

    def parameters(self, shape: BodyShape) -> Float[np.ndarray, "n"]:
        """The free parameters nearest to a shape."""
        difference = shape.coefficients - self.neutral.coefficients
        return np.linalg.lstsq(self.space.basis, difference, rcond=None)[0]

    def face_shape(
        self, parameters: Float[np.ndarray, "n"], personal: Float[np.ndarray, "k"] | None = None
    ) -> FaceShape:
        """The landmarks of the person with these free parameters, and with these personal errors."""
        rest = self.body.rest(self.body_shape(parameters))
        points, eyes = self._measure(rest)
        head = self._at_head_points(rest.vertices[None] - rest.joints[self.body.head_joint])[0]
        k = len(self.errors.person)
        known = np.zeros(k + len(self.head_modes)) if personal is None else personal
        missed = np.tensordot(known[:k], self.errors.person, 1)
        head_missed = np.tensordot(known[k:], self.head_modes, 1)
        return FaceShape(parameters, points, eyes, np.zeros((SKIN_COUNT, 3)), known, missed, head, head_missed)

    def shape_slopes(self, parameters: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 478+p 3"]:
        """Derivative of the landmarks, then of the head's other points, by the free parameters.

        Shapes are nearly linear on either side of the mean, with another slope on each side (a nose that grows is not
        the mirror image of one that shrinks).
        """
        rising, falling = self._slopes
        share = np.clip(0.5 + parameters / (2 * SLOPE_BLEND), 0, 1)[:, None, None]
        return share * rising + (1 - share) * falling

    @cached_property
    def _slopes(self) -> tuple[Float[np.ndarray, "n 478+p 3"], Float[np.ndarray, "n 478+p 3"]]:
        """One-sided differences at the mean person, above and below."""

        def every_point(parameters: Float[np.ndarray, "n"]) -> Float[np.ndarray, "478+p 3"]:
            face = self.face_shape(parameters)
            return np.concatenate([face.points, face.head])

        zero = np.zeros(self.space.basis.shape[1])
        base = every_point(zero)
        sides = []
        for step in (SLOPE_STEP, -SLOPE_STEP):
            steps = np.eye(len(zero)) * step
            sides.append(np.stack([(every_point(row) - base) / step for row in steps]))
        return sides[0], sides[1]

    def _measure(self, rest: RestBody) -> tuple[Float[np.ndarray, "478 3"], Float[np.ndarray, "2 3"]]:
        head = rest.joints[self.body.head_joint]
        corners = rest.vertices[self.body.landmark_triangles]
        points = (corners * self.body.landmark_barycentric[..., None]).sum(1)
        return points - head, rest.joints[list(self.body.rig.eyes)] - head

    def _at_head_points(self, shapes: Float[np.ndarray, "k v 3"]) -> Float[np.ndarray, "k p 3"]:
        if self.marks is None:
            return np.zeros((len(shapes), 0, 3))
        weights = self.marks.barycentric[..., None]
        return np.ascontiguousarray((shapes[:, self.marks.triangles] * weights).sum(2))

    def _at_landmarks(self, shapes: Float[np.ndarray, "k v 3"]) -> Float[np.ndarray, "k 478 3"]:
        weights = self.body.landmark_barycentric[..., None]
        return np.ascontiguousarray((shapes[:, self.body.landmark_triangles] * weights).sum(2))


@cache
def landmark_model(body: FaceModel) -> LandmarkModel:
    """The landmarks of a body model, prepared once per process."""
    return LandmarkModel(body)


def gaze_rotation(gaze: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 3"]:
    """Gaze angles (up, towards the person's left; radians) -> rotation vector of the eyeball."""
    up, left = gaze[..., 0], gaze[..., 1]
    return np.stack([-up, -left, np.zeros_like(up)], -1)


def turned_irises(shape: FaceShape, gaze: Float[np.ndarray, "*k 2 2"]) -> Float[np.ndarray, "*k 2 5 3"]:
    """Iris landmarks after both eyeballs have turned, head coordinates."""
    turn = rotvec_to_matrix(gaze_rotation(gaze))
    arms = shape.rest[IRISES] - shape.eye_centres[:, None]
    return shape.eye_centres[:, None] + arms @ np.swapaxes(turn, -1, -2)


def landmark_weights(spread: Float[np.ndarray, "478"]) -> Float[np.ndarray, "478"]:
    """Trust in each landmark: lips count most, lids and irises double, the sliding face oval less."""
    weights = np.ones(COUNT)
    weights[list(OVAL)] = 0.75
    weights[list(LIPS)] = 4.0
    weights[LIDS.ravel()] = 2.0
    weights[IRISES.ravel()] = 2.0
    return weights / (1 + spread / SPREAD_SCALE)


SPREAD_SCALE = 4e-3
"""Metres: a landmark that wanders this far over the skin counts half."""


def rigid_mask() -> Bool[np.ndarray, "478"]:
    """Landmarks that start the pose: all but lips, lids, irises and the oval."""
    mask = np.ones(COUNT, bool)
    for group in (LIPS, OVAL, LIDS.ravel(), IRISES.ravel()):
        mask[list(group)] = False
    return mask
