"""What a fit looks at and solves for, and how points in head coordinates are seen.

The unknowns of a frame are stacked as ``[rotation 3 | translation 3 | gaze 4 | actions a]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from gswap.body.landmark_model import REFERENCE_EYE_DISTANCE
from gswap.foundation.geometry import rotvec_to_matrix

POSE = slice(0, 6)
GAZE = slice(6, 10)
ACTIONS = slice(10, None)


@dataclass(frozen=True)
class Observations:
    """Landmarks of ``t`` images with their cameras (principal point at ``centre``)."""

    landmarks: Float[np.ndarray, "t 478 2"]
    trust: Float[np.ndarray, "t"]
    """0 = not seen, 1 = seen."""
    focal: Float[np.ndarray, "t"]
    centre: Float[np.ndarray, "t 2"]
    head: Float[np.ndarray, "t p 2"] = field(default_factory=lambda: np.zeros((0, 0, 2)))
    """Points of ears, skull, jaw and face, pixels; NaN where they were not looked for; no rows: nowhere."""
    ears: Float[np.ndarray, "t 2"] = field(default_factory=lambda: np.zeros((0, 2)))
    """How much of the right and the left ear can be seen, 0 to 1."""
    repeats: float = 1.0
    """From how many images the person's shape is taken."""
    common: float = 1.0
    """Size of the errors that landmarks have in common, of that studied."""

    def __len__(self) -> int:
        return len(self.trust)

    def zoomed(self, factor: float) -> Observations:
        """The same pictures, taken with a longer lens."""
        return replace(self, focal=self.focal * factor)

    def select(self, index: np.ndarray) -> Observations:
        """Some of the images."""
        return replace(
            self,
            landmarks=self.landmarks[index],
            trust=self.trust[index],
            focal=self.focal[index],
            centre=self.centre[index],
            head=self.head[index] if len(self.head) else self.head,
            ears=self.ears[index] if len(self.head) else self.ears,
        )


@dataclass(frozen=True)
class States:
    """The unknowns of ``t`` images."""

    rotation: Float[np.ndarray, "t 3"]
    translation: Float[np.ndarray, "t 3"]
    gaze: Float[np.ndarray, "t 2 2"]
    actions: Float[np.ndarray, "t a"]

    def __len__(self) -> int:
        return len(self.rotation)

    def moved_away(self, factor: float) -> States:
        """All heads at another depth, as large in the picture through a lens longer by ``factor``."""
        return replace(self, translation=self.translation * (1, 1, factor))

    def select(self, index: np.ndarray | slice) -> States:
        """Some of the images."""
        return States(self.rotation[index], self.translation[index], self.gaze[index], self.actions[index])

    def stack(self) -> Float[np.ndarray, "t n"]:
        """All unknowns of an image in one row."""
        return np.concatenate([self.rotation, self.translation, self.gaze.reshape(-1, 4), self.actions], 1)

    @staticmethod
    def unstack(values: Float[np.ndarray, "t n"]) -> States:
        """Inverse of :meth:`stack`; actions are clamped to [0, 1]."""
        gaze = values[:, GAZE].reshape(-1, 2, 2)
        return States(values[:, :3], values[:, 3:6], gaze, np.clip(values[:, ACTIONS], 0, 1))


@dataclass(frozen=True)
class SeenPoints:
    """Projected points in units of the eye distance, and their derivatives."""

    at: Float[np.ndarray, "m 2"]
    scale: float
    """Pixels per unit."""
    by_camera: Float[np.ndarray, "m 2 3"]
    by_point: Float[np.ndarray, "m 2 3"]
    by_rotation: Float[np.ndarray, "m 2 3"]
    by_focal: Float[np.ndarray, "m 2"]


def see(observations: Observations, states: States, t: int, points: Float[np.ndarray, "m 3"]) -> SeenPoints:
    """Points in head coordinates through the camera of image ``t``."""
    focal, centre = observations.focal[t], observations.centre[t]
    place = states.translation[t]
    turn = rotvec_to_matrix(states.rotation[t])
    arms = points @ turn.T
    camera = arms + place
    scale = focal * REFERENCE_EYE_DISTANCE / max(place[2], 1e-3)
    depth = np.maximum(camera[:, 2], 1e-3)
    flat = camera[:, :2] / depth[:, None]
    by_camera = np.zeros((len(points), 2, 3))
    by_camera[:, 0, 0] = by_camera[:, 1, 1] = 1
    by_camera[:, :, 2] = -flat
    by_camera *= (focal / (scale * depth))[:, None, None]
    return SeenPoints(
        at=(focal * flat + centre) / scale,
        scale=scale,
        by_camera=by_camera,
        by_point=by_camera @ turn,
        by_rotation=np.cross(arms[:, None], by_camera) @ left_jacobian(states.rotation[t]),
        by_focal=focal * flat / scale + by_camera[:, :, 2] * place[2],
    )


def through_points(
    by_point: Float[np.ndarray, "m 2 3"], columns: Float[np.ndarray, "m 3 n"]
) -> Float[np.ndarray, "m 2 n"]:
    """Chain rule from point displacements to the unknowns that cause them (faster than a batch of tiny products)."""
    out = by_point[:, :, 0, None] * columns[:, None, 0]
    out += by_point[:, :, 1, None] * columns[:, None, 1]
    out += by_point[:, :, 2, None] * columns[:, None, 2]
    return out


def left_jacobian(rotvec: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Left Jacobian of SO(3): the turn caused by a small change of a rotation vector."""
    theta = float(np.linalg.norm(rotvec))
    x, y, z = rotvec
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if theta < 1e-5:
        return np.eye(3) + cross / 2
    return np.eye(3) + (1 - np.cos(theta)) / theta**2 * cross + (theta - np.sin(theta)) / theta**3 * (cross @ cross)
