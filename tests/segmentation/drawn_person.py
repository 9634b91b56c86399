"""A drawn person with known masks before a textured wall, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from gswap.body.models import load_body
from gswap.foundation.imaging import fill_polygon
from gswap.foundation.landmarks import OVAL
from gswap.foundation.types import Masks

WIDTH, HEIGHT = 200, 240
FACE = 70.0


@cache
def face_template() -> np.ndarray:
    """The mean face's landmarks, frontal, ``FACE`` pixels high, around the origin."""
    model = load_body("anny")
    vertices = model.rest(model.neutral_shape()).vertices
    points = (vertices[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)
    points = points - points.mean(0)
    return points * (FACE / (points[152, 1] - points[10, 1]))


def landmarks_at(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    """A face with its middle at (x, y)."""
    return face_template() * scale + (x, y, 0)


def wall(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A coloured texture with structure at several scales, uint8."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 120.0, np.float32)
    for sigma, strength in ((2.0, 25), (5.0, 35), (14.0, 45)):
        noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)).astype(np.float32), (0, 0), sigma)
        image += noise / noise.std() * strength
    return image.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Drawn:
    """One frame with its truth."""

    rgb: np.ndarray
    clean: np.ndarray
    masks: Masks
    landmarks: np.ndarray


def draw_person(background: np.ndarray, x: float, y: float) -> Drawn:
    """Put a person with the face's middle at (x, y) before a background."""
    height, width = background.shape[:2]
    points = landmarks_at(x, y)
    oval = points[list(OVAL), :2]
    skull = (oval - (x, y)) * (1.12, 1.15) + (x, y - 0.06 * FACE)
    head = np.maximum(fill_polygon(skull, height, width), fill_polygon(oval, height, width))
    column = np.add([[-18, 20], [18, 20], [20, 62], [-20, 62]], (x, y))
    neck = np.minimum(fill_polygon(column, height, width), 1 - head)
    shirt = np.add([[-75, 90], [-24, 56], [24, 56], [75, 90], [80, 400], [-80, 400]], (x, y))
    torso = np.clip(fill_polygon(shirt, height, width) - head - neck, 0, 1)
    picture = background.astype(np.float32)
    for colour, mask in (((60, 70, 140), torso), ((196, 150, 126), neck), ((210, 160, 140), head)):
        picture = picture * (1 - mask[..., None]) + np.array(colour, np.float32) * mask[..., None]
    soft = [np.round(m * 255).astype(np.uint8) for m in (head, neck, np.clip(head + neck + torso, 0, 1))]
    return Drawn(np.round(picture).astype(np.uint8), background, Masks(*soft), points)
