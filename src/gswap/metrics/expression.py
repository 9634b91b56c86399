"""Expression and head pose read off the landmarks, so that a result can be held against the clip it follows.

Medians over the clip are removed before signals are compared: proportions of a face (brow height, chin) are identity,
not expression.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.landmarks import Landmarks, eye_distance, head_angles

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
EXPRESSION_SIGNALS = tuple(name for name, _, _ in SIGNAL_POINTS)


def expression_signals(landmarks: Landmarks) -> Float[np.ndarray, "... 7"]:
    """The signals in units of the outer-eye-corner distance of the same image, in the order of EXPRESSION_SIGNALS."""
    xy = landmarks[..., :2]
    distances = [np.linalg.norm(xy[..., a, :] - xy[..., b, :], axis=-1) for _, a, b in SIGNAL_POINTS]
    return np.stack(distances, -1) / eye_distance(landmarks)[..., None]


def difference(result: Float[np.ndarray, "t k"], reference: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t"]:
    """Mean absolute difference of signals per frame, each signal's median over the clip removed."""
    return np.abs((result - np.median(result, 0)) - (reference - np.median(reference, 0))).mean(-1)


def expression_error(result: Float[np.ndarray, "t 478 d"], reference: Float[np.ndarray, "t 478 d"]) -> float:
    """Mean difference of the expression signals over a clip, in eye distances; frames with NaN are left out."""
    known = _known(result, reference)
    if not known.any():
        return float("nan")
    return float(difference(expression_signals(result[known]), expression_signals(reference[known])).mean())


def pose_error(result: Float[np.ndarray, "t 478 3"], reference: Float[np.ndarray, "t 478 3"]) -> float:
    """Mean difference of yaw, pitch and roll over a clip, in degrees; frames with NaN are left out."""
    known = _known(result, reference)
    if not known.any():
        return float("nan")
    angles = (np.degrees(np.unwrap(np.radians(head_angles(points[known])), axis=0)) for points in (result, reference))
    return float(difference(*angles).mean())


def _known(a: Float[np.ndarray, "t 478 d"], b: Float[np.ndarray, "t 478 d"]) -> Bool[np.ndarray, "t"]:
    return np.isfinite(a).all((1, 2)) & np.isfinite(b).all((1, 2))
