"""The person and all images in one Gauss-Newton step: the images' unknowns are eliminated by their Schur complement."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gswap.body.gauss_newton import FROZEN, Priors, at_bound, bounded_step, linearise
from gswap.body.head_terms import linearise_head
from gswap.body.landmark_model import COUNT, FaceShape, LandmarkModel
from gswap.body.views import Observations, States, through_points

KNOWN_FOCAL = 1e-6
"""Standard deviation of the logarithm of a focal length that is known."""
LONGEST_ZOOM = 0.3
"""Largest change of that logarithm in one step."""


def solve_with_shape(
    lm: LandmarkModel,
    shape: FaceShape,
    states: States,
    observations: Observations,
    priors: Priors,
    slopes: Float[np.ndarray, "s 478+p 3"],
    shape_strength: float,
    focal_prior: tuple[float, float] | None = None,
) -> tuple[FaceShape, States, float]:
    """One Gauss-Newton step of the person and of all frames (no temporal terms), frames eliminated by Schur complement.

    The person's unknowns are the free shape parameters and the personal errors; the camera's is its focal
    length.

    Args:
        lm: The landmarks of the body.
        shape: The person so far.
        states: The images' unknowns so far.
        observations: The images.
        priors: On the images' unknowns.
        slopes: Of :meth:`LandmarkModel.shape_slopes`.
        shape_strength: Of the prior on the shape.
        focal_prior: Logarithm of the focal length over the expected one, and its standard deviation; ``None``: it is
            known.

    Returns:
        The new shape (its offsets are zero), the states, and the factor by which all focal lengths have grown.
    """
    values = states.stack()
    s, n = len(slopes), values.shape[1]
    longer, focal_sigma = focal_prior or (0.0, KNOWN_FOCAL)
    known = np.concatenate([shape.parameters, shape.personal, [longer]])
    stiffness = np.concatenate(
        [shape_strength / np.square(lm.space.sigma), np.ones(len(shape.personal)), [1 / focal_sigma**2]]
    )
    reduced, right = np.diag(stiffness), np.negative(stiffness * known)
    columns = _PersonColumns.of(lm, slopes)
    blocks = []
    for t in range(len(values)):
        gram = columns.gram(lm, shape, states, observations, t, len(known))
        block = _ImageBlock.of(gram, priors, values[t])
        change, step = block.eliminated(values[t])
        reduced += gram[n:-1, n:-1] - block.mixed.T @ change
        right -= gram[n:-1, -1] - block.mixed.T @ step
        blocks.append(block)
    change = np.linalg.solve(reduced, right)
    parameters = np.clip(shape.parameters + change[:s], lm.space.lower, lm.space.upper)
    change[:s] = parameters - shape.parameters
    change[-1] = np.clip(change[-1], -LONGEST_ZOOM, LONGEST_ZOOM) if focal_prior else 0.0
    steps = np.empty_like(values)
    for t, block in enumerate(blocks):
        solve = partial(_solve_one, block.hessian)
        steps[t] = bounded_step(solve, values[t], block.gradient + block.mixed @ change)
    factor = float(np.exp(change[-1]))
    solved = States.unstack(values + steps).moved_away(factor)
    return lm.face_shape(parameters, shape.personal + change[s:-1]), solved, factor


class _PersonColumns(NamedTuple):
    """How landmarks and the head's points go with the person's unknowns, in head coordinates."""

    landmarks: Float[np.ndarray, "478 3 s+k"]
    """By shape parameters and by the modes of the landmarks' personal errors."""
    points: Float[np.ndarray, "p 3 s"]
    """By shape parameters."""

    @classmethod
    def of(cls, lm: LandmarkModel, slopes: Float[np.ndarray, "s 478+p 3"]) -> _PersonColumns:
        landmarks = np.concatenate([slopes[:, :COUNT], lm.errors.person]).transpose(1, 2, 0)
        return cls(np.ascontiguousarray(landmarks), np.ascontiguousarray(slopes[:, COUNT:].transpose(1, 2, 0)))

    def gram(
        self, lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations, t: int, person: int
    ) -> Float[np.ndarray, "n+m+1 n+m+1"]:
        """Image ``t``: products of the derivatives by its own and the ``person`` unknowns, and of the residual."""
        s = self.points.shape[-1]
        k = self.landmarks.shape[-1] - s
        line = linearise(lm, shape, states, observations, t)
        by_points = through_points(line.point_jacobian, self.landmarks).reshape(2 * COUNT, -1)
        nothing = np.zeros((2 * COUNT, person - s - k - 1))
        gram = line.precision.gram(np.column_stack([line.jacobian, by_points, nothing, line.by_focal, line.residual]))
        head = linearise_head(lm, shape, states, observations, t)
        if head is not None:
            by_points = through_points(head.point_jacobian, self.points).reshape(-1, s)
            nothing = np.zeros((len(by_points), k))
            gram += head.gram(
                np.column_stack([head.jacobian, by_points, nothing, head.by_personal, head.by_focal, head.residual])
            )
        return gram


class _ImageBlock(NamedTuple):
    """One image's unknowns in the system of all images and the person."""

    hessian: Float[np.ndarray, "n n"]
    gradient: Float[np.ndarray, "n"]
    mixed: Float[np.ndarray, "n m"]
    """With the person's unknowns."""

    @classmethod
    def of(cls, gram: np.ndarray, priors: Priors, values: Float[np.ndarray, "n"]) -> _ImageBlock:
        n = len(values)
        gradient = gram[:n, -1] + priors.hessian @ values + priors.linear
        return cls(gram[:n, :n] + priors.hessian, gradient, gram[:n, n:-1])

    def eliminated(self, values: Float[np.ndarray, "n"]) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n"]]:
        """Inverse Hessian times ``mixed`` and times the gradient, actions at their bounds held there."""
        frozen = at_bound(values, self.gradient)
        held = self.hessian + np.diag(np.where(frozen, FROZEN, 0.0))
        inverse = np.linalg.solve(held, np.column_stack([self.mixed, np.where(frozen, 0, self.gradient)]))
        return inverse[:, :-1], inverse[:, -1]


def _solve_one(hessian: np.ndarray, extra: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(hessian + np.diag(extra), right)
