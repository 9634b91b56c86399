"""The face drawings of the ControlNets: what each was trained to see, made from the same 478 landmarks.

Widths and radii are those of pictures of 512 pixels, whatever the picture's size, as in the makers' own code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    NOSE_TIP,
    OVAL,
)
from gswap.foundation.types import RgbImage

DrawHint = Callable[[Float[np.ndarray, "478 2"], int], RgbImage]
"""Landmarks in pixels of the picture, and its side -> the ControlNet's picture."""
Drawing = Literal["mediapipe-face", "openpose"]

LINE = 2
"""Width of a line, pixels."""
PUPIL = 2
"""Half the side of a pupil's square, pixels."""
_HALF_BROW = 5
_COLOURED_CHAINS: tuple[tuple[tuple[int, ...], bool, tuple[int, int, int]], ...] = (
    (OVAL, True, (10, 200, 10)),
    (EYE_LEFT, True, (10, 200, 180)),
    (BROW_LEFT[:_HALF_BROW], False, (10, 220, 180)),
    (BROW_LEFT[_HALF_BROW:], False, (10, 220, 180)),
    (EYE_RIGHT, True, (180, 200, 10)),
    (BROW_RIGHT[:_HALF_BROW], False, (180, 220, 10)),
    (BROW_RIGHT[_HALF_BROW:], False, (180, 220, 10)),
    (LIPS_OUTER, True, (10, 180, 10)),
    (LIPS_INNER, True, (10, 180, 10)),
)
"""Landmarks, whether the chain is closed, RGB; in drawing order."""
_PUPIL_COLOURS = {468: (250, 200, 10), 473: (10, 200, 250)}


def draw_mediapipe_face(landmarks: Float[np.ndarray, "478 2"], size: int) -> RgbImage:
    """Contours of the face mesh and pupils, each in its own colour: ``CrucibleAI/ControlNetMediaPipeFace``'s condition.

    Args:
        landmarks: In pixels of the picture; lines to points outside it are left out, as in the training data.
        size: Width and height.
    """
    image = np.zeros((size, size, 3), np.uint8)
    inside = ((landmarks >= 0) & (landmarks <= size)).all(1)
    pixels = np.minimum(np.floor(landmarks), size - 1).astype(int)
    for chain, closed, colour in _COLOURED_CHAINS:
        ends = zip(chain, (*chain[1:], chain[0]) if closed else chain[1:], strict=False)
        for a, b in ends:
            if inside[a] and inside[b]:
                cv2.line(image, tuple(pixels[a].tolist()), tuple(pixels[b].tolist()), colour, LINE)
    for index, colour in _PUPIL_COLOURS.items():
        if inside[index]:
            x, y = pixels[index]
            image[max(y - PUPIL, 0) : y + PUPIL, max(x - PUPIL, 0) : x + PUPIL] = colour
    return image


# ---------------------------------------------------------------- OpenPose
DOT, JOINT, STICK = 3, 4, 4
"""Radii of OpenPose's face points and joints, half the width of its limbs, pixels."""
LIMB_DIMMING = 0.6
"""Limbs are darker than joints."""
FACE_70 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
    *(IRIS_RIGHT[0], IRIS_LEFT[0]),
)
"""OpenPose's face: the 68 points of Multi-PIE (jaw, brows, nose, eyes, lips; right side first) and the pupils."""
_JOINTS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "nose": (NOSE_TIP, (255, 0, 0)),
    "right eye": (IRIS_RIGHT[0], (170, 0, 255)),
    "left eye": (IRIS_LEFT[0], (255, 0, 255)),
    "right ear": (234, (255, 0, 170)),
    "left ear": (454, (255, 0, 85)),
}
"""The head's joints among COCO's eighteen: landmark and RGB."""
_LIMBS: tuple[tuple[str, str, tuple[int, int, int]], ...] = (
    ("nose", "right eye", (85, 0, 255)),
    ("right eye", "right ear", (170, 0, 255)),
    ("nose", "left eye", (255, 0, 255)),
    ("left eye", "left ear", (255, 0, 170)),
)


def draw_openpose(landmarks: Float[np.ndarray, "478 2"], size: int) -> RgbImage:
    """The head of OpenPose's skeleton and its 70 face points, as ``lllyasviel/control_v11p_sd15_openpose`` knows them.

    An ear that the turned head hides is left out. Neck and shoulders are not drawn: the clip's own are in the picture.

    Args:
        landmarks: In pixels of the picture; points outside it are left out.
        size: Width and height.
    """
    image = np.zeros((size, size, 3), np.uint8)
    pixels = landmarks.astype(int)
    seen = {name: _seen(landmarks, name, size) for name in _JOINTS}
    for first, second, colour in _LIMBS:
        if seen[first] and seen[second]:
            _limb(image, landmarks[_JOINTS[first][0]], landmarks[_JOINTS[second][0]], colour)
    image = (image * LIMB_DIMMING).astype(np.uint8)
    for name, (index, colour) in _JOINTS.items():
        if seen[name]:
            cv2.circle(image, pixels[index].tolist(), JOINT, colour, cv2.FILLED)
    for index in FACE_70:
        if _inside(landmarks[index], size):
            cv2.circle(image, pixels[index].tolist(), DOT, (255, 255, 255), cv2.FILLED)
    return image


def _limb(image: RgbImage, a: np.ndarray, b: np.ndarray, colour: tuple[int, int, int]) -> None:
    """A filled ellipse from joint to joint."""
    across, down = a - b
    middle = ((a + b) / 2).astype(int).tolist()
    axes = (int(np.hypot(across, down) / 2), STICK)
    angle = int(np.degrees(np.arctan2(down, across)))
    outline = np.array(cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1))
    cv2.fillConvexPoly(image, outline, colour)


def _seen(landmarks: Float[np.ndarray, "478 2"], name: str, size: int) -> bool:
    """Whether a joint is in the picture; ears only where they lie beyond their eye, seen from the nose."""
    point = landmarks[_JOINTS[name][0]]
    if not _inside(point, size):
        return False
    side, _, part = name.partition(" ")
    if part != "ear":
        return True
    right, left = landmarks[IRIS_RIGHT[0]], landmarks[IRIS_LEFT[0]]
    own, outwards = (right, right - left) if side == "right" else (left, left - right)
    return bool((point - own) @ outwards > 0)


def _inside(point: Float[np.ndarray, "2"], size: int) -> bool:
    return bool(((point >= 0) & (point < size)).all())


DRAWINGS: dict[Drawing, DrawHint] = {"mediapipe-face": draw_mediapipe_face, "openpose": draw_openpose}
"""By the name of the ControlNet."""
