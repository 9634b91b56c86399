"""How the landmark detector errs, learnt from synthetic people whose truth is known (never those of the benchmark).

What it reports for a landmark differs from where the landmark is by

* a shift that depends on the view (a turned head's outline slides over the skin), and on gaze and actions, because it
  understates both;
* a personal part: the same points of the same person are missed by the same amount, in head coordinates;
* a part that changes from image to image, in which landmarks err together.

The last two are kept as modes with standard deviation 1, so that a fit can weigh landmarks as the best linear unbiased
estimate does (Gauss-Markov): what many landmarks err in together is no evidence. In image terms everything is in
shares of the eye distance, along axes that roll with the head. ``scripts/make_landmark_errors.py`` makes the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT

COUNT = 478
KNOTS = np.radians(np.arange(-60.0, 61.0, 12.0))
"""Yaw angles between which the shift is interpolated smoothly: a detector understates small turns, for one."""
BELL_WIDTH = np.radians(10.0)
STUDIED_YAW = 1.1
"""Radians: turned further, a head shifts its landmarks as at this yaw."""
VIEW_FEATURES = len(KNOTS) + 3
EYES = ((*EYE_RIGHT, *IRIS_RIGHT), (*EYE_LEFT, *IRIS_LEFT))
"""Landmarks that the right and the left eye's gaze may shift."""
PLAIN_NOISE = 0.045
"""Share of the eye distance: error of a landmark of weight 1 when nothing is known about how landmarks err together."""


@dataclass(frozen=True)
class LandmarkErrors:
    """The detector's errors. Shares of the eye distance, axes of the head in the image, unless said otherwise."""

    view: Float[np.ndarray, "f 478 2"]
    """Shift by :func:`view_features`."""
    gaze: Float[np.ndarray, "4 478 2"]
    """Shift per radian of gaze: right eye up, left; left eye up, left."""
    actions: Float[np.ndarray, "a 478 2"]
    """Shift per action, ordered as the model's free actions."""
    person: Float[np.ndarray, "k 478 3"]
    """Modes of the personal part, metres in head coordinates."""
    frame: Float[np.ndarray, "m 478 2"]
    """Modes of the changing part."""
    variance: Float[np.ndarray, "3 478"]
    """Of what is left, per coordinate: seen from the front, and its growth by the squared yaw to the person's left
    and right."""

    def precision(self, yaw: float) -> Float[np.ndarray, "478"]:
        """Inverse variance of every landmark's own error at a yaw (radians)."""
        return 1 / (np.array([1.0, max(yaw, 0.0) ** 2, max(-yaw, 0.0) ** 2]) @ self.variance)

    def shift(
        self, view: Float[np.ndarray, "f"], gaze: Float[np.ndarray, "2 2"], actions: Float[np.ndarray, "a"]
    ) -> Float[np.ndarray, "478 2"]:
        """The part that does not depend on the person."""
        out = np.tensordot(view, self.view, 1) + np.tensordot(gaze.ravel(), self.gaze, 1)
        return out + np.tensordot(actions, self.actions, 1)


def view_angles(turn: Float[np.ndarray, "3 3"], place: Float[np.ndarray, "3"]) -> tuple[float, float]:
    """Yaw (to the person's left) and pitch (down) at which the camera sees the head, radians."""
    ahead = -turn[:, 2]
    sight = place / max(float(np.linalg.norm(place)), 1e-9)
    yaw = np.arctan2(ahead[0], -ahead[2]) - np.arctan2(-sight[0], sight[2])
    pitch = np.arcsin(np.clip(ahead[1], -1, 1)) + np.arcsin(np.clip(sight[1], -1, 1))
    return float(yaw), float(pitch)


def view_features(yaw: float, pitch: float) -> Float[np.ndarray, "f"]:
    """What the shift depends on: bells over the yaw that add up to 1, and low powers of the pitch."""
    yaw = float(np.clip(yaw, -STUDIED_YAW, STUDIED_YAW))
    bells = np.exp(-0.5 * np.square((yaw - KNOTS) / BELL_WIDTH))
    return np.concatenate([bells / bells.sum(), [pitch, yaw * pitch, pitch * pitch]])


def head_axes(turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "2 2"]:
    """Image directions of the head's sideways axis and of the axis across it, as rows."""
    x, y = turn[:2, 0] / max(float(np.linalg.norm(turn[:2, 0])), 1e-9)
    return np.array([[x, y], [-y, x]])


def plain_errors(weights: Float[np.ndarray, "478"], action_count: int) -> LandmarkErrors:
    """Independent errors, smaller where ``weights`` are larger: for bodies whose landmarks have not been studied."""
    nothing = np.zeros((0, COUNT, 2))
    return LandmarkErrors(
        view=np.zeros((VIEW_FEATURES, COUNT, 2)),
        gaze=np.zeros((4, COUNT, 2)),
        actions=np.zeros((action_count, COUNT, 2)),
        person=np.zeros((0, COUNT, 3)),
        frame=nothing,
        variance=np.outer([1.0, 0.0, 0.0], PLAIN_NOISE**2 / np.maximum(weights, 1e-6)),
    )


def read_errors(arrays: Mapping[str, np.ndarray], free_actions: Sequence[str]) -> LandmarkErrors:
    """The shipped arrays, with the actions in the order of ``free_actions`` (those not studied: no shift)."""
    known = list(map(str, arrays["action_names"]))
    table = np.zeros((len(free_actions), COUNT, 2))
    for row, name in enumerate(free_actions):
        if name in known:
            table[row] = arrays["actions"][known.index(name)]
    gaze = np.zeros((4, COUNT, 2))
    for eye, marks in enumerate(EYES):
        gaze[2 * eye : 2 * eye + 2, list(marks)] = arrays["gaze"][:, list(marks)]
    rest = {name: arrays[name].astype(np.float64) for name in ("view", "person", "frame", "variance")}
    return LandmarkErrors(gaze=gaze, actions=table, **rest)
