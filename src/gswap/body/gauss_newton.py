"""Gauss-Newton on the landmarks: one frame's normal equations, and their solution over a whole shot at once.

Residuals are in units of the eye distance, weighted robustly; priors and temporal terms are quadratic, so a shot is
one banded linear system. The unknowns of a frame are stacked as :mod:`gswap.body.views` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded

from gswap.body.head_terms import HeadTerms, linearise_head
from gswap.body.landmark_errors import head_axes, view_angles, view_features
from gswap.body.landmark_model import (
    COUNT,
    IRISES,
    REFERENCE_EYE_DISTANCE,
    FaceShape,
    LandmarkModel,
    turned_irises,
)
from gswap.body.precision import Precision
from gswap.body.views import ACTIONS, GAZE, POSE, Observations, States, see, through_points
from gswap.foundation.geometry import rotvec_to_matrix

OUTLIER = 0.06
"""Share of the eye distance beyond which a landmark's pull stops growing."""
HIDDEN_IRIS = 0.02
"""Weight of the iris of a closed eye."""
ACTION_SIGMA = 0.5
ACTION_SPARSITY = 0.4
"""Constant pull of an action towards zero."""
GAZE_SIGMA = (0.05, 0.5)
"""Radians: how far people look up or down, and sideways, against their head."""
VERGENCE_SIGMA = (0.02, 0.08)
"""Radians: how far the two eyes' gaze may differ upwards and sideways."""
ACCELERATION_SIGMA = (0.012, 0.012, 0.012, 1e-3, 1e-3, 3e-3)
"""Typical second difference from frame to frame of rotation (radians) and translation (metres)."""
ACTION_CHANGE_SIGMA = 0.35
GAZE_CHANGE_SIGMA = 0.25
_BOUND_PASSES = 4
FROZEN = 1e12
"""Added to the diagonal, holds an unknown where it is."""
_GAZE_STEP = 1e-4
_GAZE_STEPS = _GAZE_STEP * np.repeat(np.concatenate([np.eye(2), -np.eye(2)])[:, None], 2, 1)
"""Both eyes up and left, then both back: one eye's landmarks do not move with the other."""


@dataclass(frozen=True)
class Linearised:
    """One frame's residuals around the current estimate, in shares of the eye distance."""

    residual: Float[np.ndarray, "956"]
    """x and y of every landmark in turn."""
    weight: Float[np.ndarray, "956"]
    """Inverse variance of the landmarks' independent errors."""
    jacobian: Float[np.ndarray, "956 n"]
    point_jacobian: Float[np.ndarray, "478 2 3"]
    """By a displacement of the landmark in head coordinates."""
    modes: Float[np.ndarray, "956 m"]
    """Directions in which landmarks err together, one standard deviation long."""
    by_focal: Float[np.ndarray, "956"]
    """By the logarithm of the focal length when the head moves away as much, so that it stays as large."""

    @cached_property
    def precision(self) -> Precision:
        """Inverse covariance of the residual."""
        return Precision.of(self.weight, self.modes)

    def explained(self) -> Float[np.ndarray, "956"]:
        """The part of the residual that the common errors explain best."""
        weighted = self.weight[:, None] * self.modes
        inner = np.eye(self.modes.shape[1]) + self.modes.T @ weighted
        return self.modes @ np.linalg.solve(inner, weighted.T @ self.residual)


def landmarks_in_head(lm: LandmarkModel, shape: FaceShape, states: States, t: int) -> Float[np.ndarray, "478 3"]:
    """Landmarks of image ``t`` in head coordinates."""
    points = shape.rest + np.tensordot(states.actions[t], lm.actions, 1)
    points[IRISES] = turned_irises(shape, states.gaze[t])
    return points


def detected_shift(
    lm: LandmarkModel, states: States, t: int, turn: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "478 2"]:
    """How far the detector shifts the landmarks of image ``t``, shares of the eye distance along the image's axes."""
    view = view_features(*view_angles(turn, states.translation[t]))
    return lm.errors.shift(view, states.gaze[t], states.actions[t]) @ head_axes(turn)


def project(
    lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations
) -> Float[np.ndarray, "t 478 2"]:
    """Landmarks of all images in pixels, as the detector would report them."""
    out = np.empty((len(states), COUNT, 2))
    turns = rotvec_to_matrix(states.rotation)
    scale = eye_distance_pixels(observations, states)
    for t in range(len(states)):
        points = (landmarks_in_head(lm, shape, states, t) + shape.missed) @ turns[t].T + states.translation[t]
        out[t] = observations.focal[t] * points[:, :2] / points[:, 2:] + observations.centre[t]
        out[t] += scale[t] * detected_shift(lm, states, t, turns[t])
    return out


def eye_distance_pixels(observations: Observations, states: States) -> Float[np.ndarray, "t"]:
    """The mean adult's eye distance at the head's depth, seen frontally, in pixels."""
    return observations.focal * REFERENCE_EYE_DISTANCE / np.maximum(states.translation[:, 2], 1e-3)


def linearise(lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations, t: int) -> Linearised:
    """Residuals of image ``t`` and their derivatives."""
    turn = rotvec_to_matrix(states.rotation[t])
    seen = see(observations, states, t, landmarks_in_head(lm, shape, states, t) + shape.missed)
    residual = seen.at - observations.landmarks[t] / seen.scale
    yaw, pitch = view_angles(turn, states.translation[t])
    axes = head_axes(turn)
    residual += lm.errors.shift(view_features(yaw, pitch), states.gaze[t], states.actions[t]) @ axes
    by_point = seen.by_point

    by_gaze = np.zeros((COUNT, 2, 4))
    high, low = turned_irises(shape, states.gaze[t] + _GAZE_STEPS).reshape(2, 2, *IRISES.shape, 3)
    slopes = (high - low) / (2 * _GAZE_STEP)
    for eye, marks in enumerate(IRISES):
        by_gaze[marks, :, 2 * eye : 2 * eye + 2] = np.einsum("lij,alj->lia", by_point[marks], slopes[:, eye])
    by_actions = through_points(by_point, lm.actions.transpose(1, 2, 0))
    by_actions[IRISES.ravel()] = 0
    by_gaze += (lm.errors.gaze @ axes).transpose(1, 2, 0)
    by_actions += (lm.errors.actions @ axes).transpose(1, 2, 0)
    robust = 1 / (1 + (np.linalg.norm(residual, axis=1) / OUTLIER) ** 2)
    weight = observations.trust[t] * robust * lm.errors.precision(yaw)
    weight[IRISES] *= eye_openness(lm, states.actions[t])[:, None]
    jacobian = np.concatenate([seen.by_rotation, seen.by_camera, by_gaze, by_actions], 2)
    modes = observations.common * (lm.errors.frame @ axes).transpose(1, 2, 0).reshape(2 * COUNT, -1)
    return Linearised(
        residual=residual.ravel(),
        weight=np.repeat(weight, 2),
        jacobian=jacobian.reshape(2 * COUNT, -1),
        point_jacobian=by_point,
        modes=np.ascontiguousarray(modes),
        by_focal=seen.by_focal.ravel(),
    )


def eye_openness(lm: LandmarkModel, actions: Float[np.ndarray, "a"]) -> Float[np.ndarray, "2"]:
    """How much of the right and left iris is seen: behind a lid the detector invents it."""
    return np.clip(1 - actions[lm.blinks], HIDDEN_IRIS, 1) if len(lm.blinks) else np.ones(2)


@dataclass(frozen=True)
class Priors:
    """Quadratic terms on a frame's unknowns: ``0.5 x^T hessian x + linear x``."""

    hessian: Float[np.ndarray, "n n"]
    linear: Float[np.ndarray, "n"]

    @staticmethod
    def standard(action_count: int, strength: float) -> Priors:
        """Small actions, gaze near the middle, both eyes looking nearly the same way."""
        n = 10 + action_count
        hessian = np.zeros((n, n))
        hessian[range(6, 10), range(6, 10)] = np.tile(1 / np.square(GAZE_SIGMA), 2)
        for axis, sigma in enumerate(VERGENCE_SIGMA):
            right, left = 6 + axis, 8 + axis
            hessian[[right, left], [right, left]] += 1 / sigma**2
            hessian[[right, left], [left, right]] -= 1 / sigma**2
        actions = np.arange(10, n)
        hessian[actions, actions] = strength / ACTION_SIGMA**2
        linear = np.zeros(n)
        linear[ACTIONS] = strength * ACTION_SPARSITY
        return Priors(hessian, linear)


def normal_equations(
    line: Linearised, head: HeadTerms | None, priors: Priors, values: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n"]]:
    """Hessian and gradient of one frame."""
    gram = line.precision.gram(np.column_stack([line.jacobian, line.residual]))
    if head is not None:
        gram += head.gram(np.column_stack([head.jacobian, head.residual]))
    return gram[:-1, :-1] + priors.hessian, gram[:-1, -1] + priors.hessian @ values + priors.linear


def at_bound(values: Float[np.ndarray, "... n"], gradient: Float[np.ndarray, "... n"]) -> Bool[np.ndarray, "... n"]:
    """Actions that stand at 0 or 1 and are pushed outwards: they stay where they are in this step."""
    frozen = np.zeros(values.shape, bool)
    actions, push = values[..., ACTIONS], gradient[..., ACTIONS]
    frozen[..., ACTIONS] = ((actions <= 0) & (push > 0)) | ((actions >= 1) & (push < 0))
    return frozen


def solve_shot(
    lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations, priors: Priors, smoothness: float
) -> States:
    """One Gauss-Newton step of all frames of a shot together, temporal terms included."""
    values = states.stack()
    count, n = values.shape
    hessians = np.empty((count, n, n))
    gradients = np.empty((count, n))
    for t in range(count):
        line = linearise(lm, shape, states, observations, t)
        head = linearise_head(lm, shape, states, observations, t)
        hessians[t], gradients[t] = normal_equations(line, head, priors, values[t])
    band = np.zeros((2 * n + 1, count * n))
    diagonal, near, far = _temporal_band(count, n, smoothness)
    gradients += _temporal_gradient(values, diagonal, near, far)
    hessians[:, range(n), range(n)] += 1e-9
    for i in range(n):
        band[: n - i, i::n] = hessians[:, i:, i].T
    band[0] += diagonal.ravel()
    if count > 1:
        band[n, : (count - 1) * n] = near.ravel()
    if count > 2:
        band[2 * n, : (count - 2) * n] = far.ravel()

    def solve(extra: np.ndarray, right: np.ndarray) -> np.ndarray:
        held = band.copy()
        held[0] += extra.ravel()
        step = solveh_banded(held, right.ravel(), lower=True, overwrite_ab=True, check_finite=False)
        return step.reshape(count, n)

    return States.unstack(values + bounded_step(solve, values, gradients))


def bounded_step(
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray],
    values: Float[np.ndarray, "*t n"],
    gradient: Float[np.ndarray, "*t n"],
) -> Float[np.ndarray, "*t n"]:
    """Newton step that takes no action out of [0, 1].

    Actions that would leave are held at their bound and the others solved again. Clipped afterwards, they would leave
    behind what the others do to make up for them.

    Args:
        solve: ``(extra diagonal, right side) -> step`` of the quadratic model.
        values: Where the step starts.
        gradient: There.
    """
    fixed, target = at_bound(values, gradient), np.zeros_like(values)
    step = target
    for _ in range(_BOUND_PASSES):
        step = solve(np.where(fixed, FROZEN, 0.0), np.where(fixed, FROZEN * target, -gradient))
        wanted = (values + step)[..., ACTIONS]
        leaving = ~fixed[..., ACTIONS] & ((wanted < 0) | (wanted > 1))
        if not leaving.any():
            break
        fixed[..., ACTIONS] |= leaving
        target[..., ACTIONS] += np.where(leaving, np.clip(wanted, 0, 1) - values[..., ACTIONS], 0)
    return step


def _temporal_band(count: int, n: int, smoothness: float):
    """Diagonal, first and second off-diagonal blocks (all diagonal) of the temporal terms."""
    diagonal, near, far = np.zeros((count, n)), np.zeros((max(count - 1, 0), n)), np.zeros((max(count - 2, 0), n))
    if smoothness > 0 and count > 2:
        k = smoothness / np.square(ACCELERATION_SIGMA)
        diagonal[:-2, POSE] += k
        diagonal[1:-1, POSE] += 4 * k
        diagonal[2:, POSE] += k
        near[:-1, POSE] -= 2 * k
        near[1:, POSE] -= 2 * k
        far[:, POSE] += k
    if smoothness > 0 and count > 1:
        change = np.zeros(n)
        change[GAZE] = smoothness / GAZE_CHANGE_SIGMA**2
        change[ACTIONS] = smoothness / ACTION_CHANGE_SIGMA**2
        diagonal[:-1] += change
        diagonal[1:] += change
        near -= change
    return diagonal, near, far


def _temporal_gradient(values, diagonal, near, far) -> Float[np.ndarray, "t n"]:
    out = diagonal * values
    if len(near):
        out[:-1] += near * values[1:]
        out[1:] += near * values[:-1]
    if len(far):
        out[:-2] += far * values[2:]
        out[2:] += far * values[:-2]
    return out


def solve_offsets(
    lm: LandmarkModel,
    shape: FaceShape,
    states: States,
    observations: Observations,
    sigma: Float[np.ndarray, "468"],
) -> FaceShape:
    """Best free offsets of the skin landmarks with everything else held."""
    skin = slice(0, len(shape.offsets))
    hessian = np.tile(np.eye(3), (len(shape.offsets), 1, 1)) / np.square(sigma)[:, None, None]
    gradient = shape.offsets / np.square(sigma)[:, None]
    for t in range(len(states)):
        line = linearise(lm, shape, states, observations, t)
        j, w = line.point_jacobian[skin], line.weight[::2][skin]
        left = (line.residual - line.explained()).reshape(-1, 2)[skin]
        hessian += np.einsum("lic,lid,l->lcd", j, j, w)
        gradient += np.einsum("lic,li,l->lc", j, left, w)
    return replace(shape, offsets=shape.offsets - np.linalg.solve(hessian, gradient[..., None])[..., 0])
