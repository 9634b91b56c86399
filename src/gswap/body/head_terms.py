"""What the points of ears, skull, jaw and face say about one frame (see :mod:`gswap.body.head_points`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from gswap.body.landmark_errors import head_axes, view_angles
from gswap.body.landmark_model import FaceShape, LandmarkModel
from gswap.body.precision import Precision
from gswap.body.views import Observations, States, see, through_points
from gswap.foundation.geometry import rotvec_to_matrix

HEAD_OUTLIER = 2.0
"""Standard deviations beyond which the pull of an image's head points stops growing."""
HEAD_TRUST = 2.0
"""Weight of the head's points against what their errors' statistics say."""


@dataclass(frozen=True)
class HeadTerms:
    """What the points of ears, skull, jaw and face say about one frame, in shares of the eye distance."""

    residual: Float[np.ndarray, "2p"]
    jacobian: Float[np.ndarray, "2p n"]
    point_jacobian: Float[np.ndarray, "p 2 3"]
    by_focal: Float[np.ndarray, "2p"]
    by_personal: Float[np.ndarray, "2p k"]
    """By the coefficients of the errors that are the person's."""
    axes: Float[np.ndarray, "2 2"]
    """Of the head in the image, along which the errors are known."""
    scale: Float[np.ndarray, "2p"]
    """Of the errors' standard deviations along them."""
    precision: Precision
    """Inverse covariance along them with that scale taken out, times the robust weight."""

    def gram(self, columns: Float[np.ndarray, "2p k"]) -> Float[np.ndarray, "k k"]:
        """``columns.T`` times the inverse covariance of the residual times ``columns``."""
        return self.precision.gram(self._turned(columns, self.axes) / self.scale[:, None])

    @staticmethod
    def _turned(columns: Float[np.ndarray, "2p k"], axes: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "2p k"]:
        return (axes @ columns.reshape(-1, 2, columns.shape[1])).reshape(columns.shape)


def found_in(lm: LandmarkModel, observations: Observations, t: int) -> bool:
    """Whether the head's points were found in image ``t``."""
    if lm.marks is None or not observations.head.size or observations.trust[t] < 1:
        return False
    return observations.head.shape[1] == len(lm.marks) and bool(np.isfinite(observations.head[t]).all())


def head_points_in_head(lm: LandmarkModel, shape: FaceShape, states: States, t: int) -> Float[np.ndarray, "p 3"]:
    """The head's points of image ``t`` in head coordinates; those that are landmarks have their offsets."""
    points = shape.head + np.tensordot(states.actions[t], lm.head_actions, 1)
    if lm.marks is not None:
        also = lm.marks.landmark >= 0
        points[also] += shape.offsets[lm.marks.landmark[also]]
    return points


def linearise_head(
    lm: LandmarkModel, shape: FaceShape, states: States, observations: Observations, t: int
) -> HeadTerms | None:
    """Residuals of the head's points in image ``t`` and their derivatives; ``None`` where there are none."""
    if lm.marks is None or not found_in(lm, observations, t):
        return None
    turn = rotvec_to_matrix(states.rotation[t])
    points = head_points_in_head(lm, shape, states, t)
    seen = see(observations, states, t, points)
    axes = head_axes(turn)
    scale = lm.marks.scale(view_angles(turn, states.translation[t])[0], observations.ears[t])
    modes = lm.head_modes @ axes * scale.reshape(-1, 2)
    missed = shape.head_missed @ axes * scale.reshape(-1, 2)
    residual = (seen.at + missed - observations.head[t] / seen.scale).ravel()
    by_actions = through_points(seen.by_point, lm.head_actions.transpose(1, 2, 0))
    by_gaze = np.zeros((len(points), 2, 4))
    jacobian = np.concatenate([seen.by_rotation, seen.by_camera, by_gaze, by_actions], 2)
    terms = HeadTerms(
        residual=residual,
        jacobian=jacobian.reshape(2 * len(points), -1),
        point_jacobian=seen.by_point,
        by_focal=seen.by_focal.ravel(),
        by_personal=modes.reshape(len(modes), -1).T,
        axes=axes,
        scale=scale,
        precision=lm.marks.even_precision(observations.repeats),
    )
    surprise = float(terms.gram(residual[:, None])[0, 0]) / len(residual)
    return replace(terms, precision=terms.precision.times(HEAD_TRUST / (1 + surprise / HEAD_OUTLIER**2)))
