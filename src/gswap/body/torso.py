"""The torso below a tracked head: one neck rotation per image, from the shoulders and from how people sit.

The head's pose is kept exactly. A person sits roughly upright and looks roughly straight ahead; a face tracker's pitch
has a constant offset against that, so most of a clip's mean pitch is given to the torso.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded

from gswap.body.gauss_newton import Observations, States, eye_distance_pixels
from gswap.body.posing import HeadPose, HeadRig, torso_to_camera
from gswap.foundation.geometry import matrix_to_rotvec

SHOULDER_NOISE = 0.12
"""Share of the eye distance: shoulder landmarks are coarse."""
NECK_SIGMA = 0.3
"""Radians: typical rotation between torso and head."""
UPRIGHT_SIGMA = (0.15, 0.2, 0.12)
"""Radians: typical rotation of the torso about the three axes of the camera."""
NECK_ACCELERATION = 0.02
TORSO_CHANGE = 0.02
"""Radians per frame."""
PITCH_SHARE, PITCH_LIMIT = 0.7, 0.45
"""How much of the clip's mean head pitch is taken for the torso's (or the tracker's), and radians at most."""
VISIBLE = 0.5
_ITERATIONS = 6
_STEP = 1e-4


def solve_neck(
    states: States,
    observations: Observations,
    shoulders: Float[np.ndarray, "t 2 3"],
    joints: Float[np.ndarray, "j 3"],
    rig: HeadRig,
    consecutive: Bool[np.ndarray, "t-1"],
) -> Float[np.ndarray, "t 3"]:
    """Rotation torso -> head of every image (Gauss-Newton; banded over time).

    Args:
        states: Head poses.
        observations: Cameras.
        shoulders: Right and left shoulder: x, y (pixels), visibility.
        joints: Rest joints.
        rig: Which joints carry the head.
        consecutive: Whether each image follows directly on the one before it.
    """
    count = len(states)
    pitch = np.clip(PITCH_SHARE * np.median(states.rotation[:, 0]), -PITCH_LIMIT, PITCH_LIMIT)
    upright = np.array([pitch, 0.0, 0.0])
    visibility = np.where(np.isfinite(shoulders[..., :2]).all(-1), np.nan_to_num(shoulders[..., 2]), 0.0)
    trust = np.clip((visibility - VISIBLE) / (1 - VISIBLE), 0, 1)
    target = np.nan_to_num(shoulders[..., :2])
    scale = SHOULDER_NOISE * eye_distance_pixels(observations, states)

    def residuals(neck: np.ndarray) -> np.ndarray:
        torso, _ = torso_to_camera(joints, rig, HeadPose(states.rotation, states.translation, neck, np.zeros((2, 3))))
        points = np.einsum("tij,sj->tsi", torso[..., :3], joints[list(rig.shoulders)]) + torso[:, None, :, 3]
        depth = np.maximum(points[..., 2:], 1e-3)
        pixels = observations.focal[:, None, None] * points[..., :2] / depth + observations.centre[:, None]
        error = (pixels - target) / scale[:, None, None]
        error *= np.sqrt(trust / (1 + (error**2).sum(-1)))[..., None]
        lean = (matrix_to_rotvec(torso[..., :3]) - upright) / UPRIGHT_SIGMA
        return np.concatenate([error.reshape(count, -1), lean, neck / NECK_SIGMA], 1)

    neck = 0.5 * (states.rotation - upright)
    smooth = consecutive.astype(float)
    for _ in range(_ITERATIONS):
        value = residuals(neck)
        slopes = np.stack(
            [(residuals(neck + _STEP * axis) - residuals(neck - _STEP * axis)) / (2 * _STEP) for axis in np.eye(3)], -1
        )
        hessian = np.einsum("tri,trj->tij", slopes, slopes)
        gradient = np.einsum("tri,tr->ti", slopes, value)
        neck = neck + _smooth_step(hessian, gradient, neck, states.rotation, smooth)
    return neck


def _smooth_step(hessian, gradient, neck, rotation, smooth) -> Float[np.ndarray, "t 3"]:
    """Banded solve with the torso's first difference (head minus neck) and the neck's second difference penalised."""
    count = len(neck)
    k = smooth[:, None] / TORSO_CHANGE**2
    lag = np.diff(neck, axis=0) - np.diff(rotation, axis=0)
    diagonal = np.zeros((count, 3))
    near, far = np.zeros((max(count - 1, 0), 3)), np.zeros((max(count - 2, 0), 3))
    gradient = gradient.copy()
    if count > 1:
        diagonal[:-1] += k
        diagonal[1:] += k
        near -= k
        gradient[:-1] -= k * lag
        gradient[1:] += k * lag
    if count > 2:
        both = smooth[1:, None] * smooth[:-1, None] / NECK_ACCELERATION**2
        bend = neck[2:] - 2 * neck[1:-1] + neck[:-2]
        diagonal[:-2] += both
        diagonal[1:-1] += 4 * both
        diagonal[2:] += both
        near[:-1] -= 2 * both
        near[1:] -= 2 * both
        far += both
        gradient[:-2] += both * bend
        gradient[1:-1] -= 2 * both * bend
        gradient[2:] += both * bend
    band = np.zeros((7, count * 3))
    for i in range(3):
        band[: 3 - i, i::3] = hessian[:, i:, i].T
    band[0] += diagonal.ravel() + 1e-9
    if count > 1:
        band[3, : 3 * (count - 1)] = near.ravel()
    if count > 2:
        band[6, : 3 * (count - 2)] = far.ravel()
    return -solveh_banded(band, gradient.ravel(), lower=True).reshape(count, 3)
