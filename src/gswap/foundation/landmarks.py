"""The 478 face landmarks of MediaPipe's refined face mesh: named index lists and the measures taken on them.

"Right" and "left" are the person's. Upper and lower lip chains run from the right mouth corner to the left one; eye
contours start at one corner, run along the lower lid to the other corner (index 8) and back along the upper lid.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Landmarks = Float[np.ndarray, "... 478 3"]

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_INNER = (*LIPS_INNER_UPPER, *LIPS_INNER_LOWER[-2:0:-1])
LIP_RINGS_UPPER = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    LIPS_INNER_UPPER,
)
"""Four chains of the upper lip, from the outer contour to the inner one."""
LIP_RINGS_LOWER = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    LIPS_INNER_LOWER,
)
LIPS = tuple(sorted({i for ring in (*LIP_RINGS_UPPER, *LIP_RINGS_LOWER) for i in ring}))
EYE_RIGHT = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_LEFT = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
BROW_RIGHT = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_LEFT = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
IRIS_RIGHT = (468, 469, 470, 471, 472)
"""Centre first, then four points of the limbus."""
IRIS_LEFT = (473, 474, 475, 476, 477)
EYE_CORNERS_OUTER = (33, 263)
RIGID = (1, 4, 5, 6, 168, 195, 197, 33, 133, 263, 362, 10, 151, 9, 8)
"""Points that expressions hardly move: nose ridge, eye corners, forehead."""
CHIN, FOREHEAD_TOP, NOSE_TIP = 152, 10, 1
FIVE_POINTS = (468, 473, NOSE_TIP, 61, 291)
"""Pupils, nose tip, mouth corners, right before left: what face alignment goes by."""


@cache
def face_triangles() -> Int[np.ndarray, "f 3"]:
    """The face mesh as 852 triangles over landmarks 0..467; mouth and eyes are holes. Orientation is arbitrary."""
    data = resources.files("gswap.foundation").joinpath("data/face_triangles.npy")
    with data.open("rb") as handle:
        triangles = np.load(handle, allow_pickle=False).astype(np.int32)
    triangles.setflags(write=False)
    return triangles


def _distance(landmarks: Landmarks, a: int, b: int) -> Float[np.ndarray, ...]:
    xy = landmarks[..., :2]
    return np.linalg.norm(xy[..., a, :] - xy[..., b, :], axis=-1)


def eye_distance(landmarks: Landmarks) -> Float[np.ndarray, ...]:
    """Distance between the outer eye corners in the image plane."""
    return _distance(landmarks, *EYE_CORNERS_OUTER)


def mouth_gap(landmarks: Landmarks) -> Float[np.ndarray, ...]:
    """Inner-lip gap in units of the outer-eye-corner distance (x, y only: z of the inner lips is unreliable)."""
    return _distance(landmarks, 13, 14) / eye_distance(landmarks)


def lid_opening(landmarks: Landmarks, side: Literal["right", "left"]) -> Float[np.ndarray, ...]:
    """Gap between the lids in units of the eye's width."""
    upper, lower, outer, inner = (159, 145, 33, 133) if side == "right" else (386, 374, 263, 362)
    return _distance(landmarks, upper, lower) / _distance(landmarks, outer, inner)


def face_width(landmarks: Landmarks) -> Float[np.ndarray, ...]:
    """Horizontal extent of the face mesh, in the landmarks' unit."""
    return np.ptp(landmarks[..., :468, 0], axis=-1)


def face_height(landmarks: Landmarks) -> Float[np.ndarray, ...]:
    """Distance from the chin to the top of the forehead, in the landmarks' unit."""
    return _distance(landmarks, FOREHEAD_TOP, CHIN)


def head_angles(landmarks: Landmarks) -> Float[np.ndarray, "... 3"]:
    """Yaw, pitch and roll in degrees of the frame built from the outer eye corners and forehead-chin.

    Rough (5 degrees): it stands on the landmarks' own depth. Meant for checks and for differences over a clip.

    Yaw is positive when the face looks towards the image's right side, pitch when it looks down.
    """
    right, left = (landmarks[..., i, :] for i in EYE_CORNERS_OUTER)
    x = left - right
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    y = landmarks[..., 152, :] - landmarks[..., 10, :]
    y = y - (y * x).sum(-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    z = np.cross(x, y)
    yaw = np.degrees(np.arctan2(-z[..., 0], z[..., 2]))
    pitch = np.degrees(np.arcsin(np.clip(-z[..., 1], -1, 1)))
    roll = np.degrees(np.arctan2(x[..., 1], x[..., 0]))
    return np.stack([yaw, pitch, roll], -1)
