"""How far ears, skull and jaw are found from where any shape of the body has them: the fit's mean residuals as offsets.

The fit weighs the head's points as evidence for the pose and for a few shape parameters. An ear that stands off, or a
jaw that is no mixture of the model's, remains as a residual that is the same in all images. The offsets move the
surface (``offsets``). What the fit takes for the finder's errors on this person is not taken out of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gswap.body.head_terms import found_in, head_points_in_head
from gswap.body.landmark_model import REFERENCE_EYE_DISTANCE, FaceShape, LandmarkModel
from gswap.body.views import Observations, States, see

DOUBT = 0.5
"""Typical error of a point's mean place over the typical distance of that place from the fitted surface."""
STRAY = 0.1
"""Share of the eye distance beyond which an image's residual counts less and less."""


def solve_head_offsets(
    lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations
) -> Float[np.ndarray, "p 3"]:
    """Offsets (metres, head coordinates) that bring the head's points to where they were found on average.

    Across the line of sight they are nearly as long as the mean residual, along it nearly zero unless the head turns.
    Zero where no image shows the points.
    """
    count = 0 if lm.marks is None else len(lm.marks)
    hessian, gradient, total = np.zeros((count, 3, 3)), np.zeros((count, 3)), np.full(count, 1e-9)
    for t in range(len(states)):
        if not found_in(lm, observations, t):
            continue
        seen = see(observations, states, t, head_points_in_head(lm, shape, states, t))
        residual = seen.at - observations.head[t] / seen.scale
        weight = 1 / (1 + np.square(residual / STRAY).sum(1))
        total += weight
        hessian += np.einsum("pic,pid,p->pcd", seen.by_point, seen.by_point, weight)
        gradient += np.einsum("pic,pi,p->pc", seen.by_point, residual, weight)
    hessian = hessian / total[:, None, None] + (DOUBT / REFERENCE_EYE_DISTANCE) ** 2 * np.eye(3)
    return -np.linalg.solve(hessian, (gradient / total[:, None])[..., None])[..., 0]
