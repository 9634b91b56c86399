"""Identity of a face: dlib's ResNet on a crop aligned by the landmarks (128 numbers, Euclidean distance).

Distances of one person across poses are about 0.2-0.4, of different people 0.5-0.9; the value that separates them
depends on the people, so distances are reported together with those of the inputs themselves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import ConfigError
from gswap.foundation.geometry import similarity
from gswap.foundation.landmarks import Landmarks
from gswap.foundation.types import RgbImage

DLIB_NUMBERS = 128
"""Length of dlib's embedding."""
CHIP = 150
"""Side of the face chip that the network expects, in pixels."""
ALIGN = (263, 362, 33, 133, 2)
"""Landmarks in the order of dlib's five points: eye corners of both eyes, base of the nose."""
_CHIP_POINTS = np.array(
    [[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677], [0.1205750620789, 0.2137274526848],
     [0.3340850613712, 0.2290642403242], [0.4901123135679, 0.6277975316475]]
)  # fmt: skip
"""Where dlib puts those points in a chip without padding, as fractions of its side."""
_PADDING = 0.25


@cache
def _network() -> Any:
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "Expected the package face_recognition_models, found none.", hint="Run: pip install face_recognition_models"
        )
    model = Path(spec.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    return dlib.face_recognition_model_v1(str(model))  # type: ignore[attr-defined]


def face_chip(image: RgbImage, landmarks: Landmarks) -> RgbImage:
    """The aligned 150x150 chip that the network sees."""
    target = (_PADDING + _CHIP_POINTS) / (2 * _PADDING + 1) * CHIP
    scale, rotation, shift = similarity(landmarks[list(ALIGN), :2], target)
    matrix = np.column_stack([scale * rotation, shift + 0.5 * (scale * rotation).sum(1) - 0.5])
    if scale < 0.5:  # avoid aliasing: shrink by whole octaves first
        octaves = int(np.floor(np.log2(1 / scale)))
        factor = 0.5**octaves
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        scaled = scale / factor
        matrix = np.column_stack([scaled * rotation, shift + 0.5 * (scaled * rotation).sum(1) - 0.5])
    return cv2.warpAffine(image, matrix, (CHIP, CHIP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def identity_table(found: Mapping[int, Float[np.ndarray, "d"]], count: int) -> Float[np.ndarray, "t d"]:
    """Embeddings of some of ``count`` images as rows, NaN for the others; as many columns as the embedder gives."""
    width = next((len(vector) for vector in found.values()), DLIB_NUMBERS)
    table = np.full((count, width), np.nan, np.float32)
    for t, vector in found.items():
        table[t] = vector
    return table


def embed(image: RgbImage, landmarks: Landmarks) -> Float[np.ndarray, "128"]:
    """Identity of the face with these landmarks (an :class:`~gswap.foundation.protocols.Embedder`)."""
    chip = np.ascontiguousarray(face_chip(image, landmarks))
    return np.asarray(_network().compute_face_descriptor(chip), np.float64)
