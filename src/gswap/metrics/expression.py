"""Expression, gaze and head pose read off the landmarks, so that a result can be held against the clip it follows.

Medians over the clip are removed before signals are compared: proportions of a face (brow height, chin) are identity,
not expression.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import EYE_CORNERS_OUTER, Landmarks, eye_distance

SIGNAL_POINTS = (
    ("mouth gap", 13, 14),
    ("mouth width", 61, 291),
    ("right lids", 159, 145),
    ("left lids", 386, 374),
    ("right brow", 105, 159),
    ("left brow", 334, 386),
    ("lip height", 0, 17),
)
"""Every signal is the distance between two landmarks."""


def expression_signals(landmarks: Landmarks) -> Float[np.ndarray, "... 7"]:
    """The signals in units of the outer-eye-corner distance of the same image, in the order of SIGNAL_POINTS."""
    xy = landmarks[..., :2]
    distances = [np.linalg.norm(xy[..., a, :] - xy[..., b, :], axis=-1) for _, a, b in SIGNAL_POINTS]
    return np.stack(distances, -1) / eye_distance(landmarks)[..., None]


GAZE_EYES = ((33, 133, 468), (362, 263, 473))
"""Corners at the image's left and right side, and iris centre, of the right and the left eye."""
CHECKED_LANDMARKS = tuple(range(0, 468, 8))
"""Every eighth landmark: as good as all of them for a mean, at an eighth of the memory."""


def gaze_signals(landmarks: Landmarks) -> Float[np.ndarray, "... 4"]:
    """Where the irises are: along and across the line between the corners, in eye widths; right eye, then left."""
    out = []
    for start, end, iris in GAZE_EYES:
        origin = landmarks[..., start, :2]
        along = landmarks[..., end, :2] - origin
        width = np.linalg.norm(along, axis=-1, keepdims=True)
        along = along / width
        across = np.stack([-along[..., 1], along[..., 0]], -1)
        away = (landmarks[..., iris, :2] - origin) / width
        out += [(away * along).sum(-1), (away * across).sum(-1)]
    return np.stack(out, -1)


def placed_landmarks(landmarks: Landmarks, reference: Landmarks) -> Float[np.ndarray, "... k 2"]:
    """The checked landmarks relative to the reference's face: origin between its outer eye corners, eye distance 1."""
    right, left = (reference[..., i, :2] for i in EYE_CORNERS_OUTER)
    centre, unit = (right + left) / 2, np.linalg.norm(left - right, axis=-1)
    return (landmarks[..., CHECKED_LANDMARKS, :2] - centre[..., None, :]) / unit[..., None, None]


def landmark_distance(
    result: Float[np.ndarray, "t k 2"], reference: Float[np.ndarray, "t k 2"]
) -> Float[np.ndarray, "t"]:
    """Mean distance of placed landmarks per frame, in eye distances, every landmark's median offset removed."""
    away = result - reference
    return np.linalg.norm(away - np.median(away, 0), axis=-1).mean(-1)


def difference(result: Float[np.ndarray, "t k"], reference: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t"]:
    """Mean absolute difference of signals per frame, each signal's median over the clip removed."""
    return np.abs((result - np.median(result, 0)) - (reference - np.median(reference, 0))).mean(-1)
