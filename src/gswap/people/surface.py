"""What the skin is like at every vertex (occlusion, blush, stubble, scalp): the renderer's attribute table."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from jaxtyping import Float

from gswap.foundation.raster import FAR, rasterize
from gswap.people.anatomy import Figure
from gswap.people.hair import find_scalp
from gswap.people.traits import Hair


class Column(IntEnum):
    """Attributes that are interpolated over the triangles."""

    REST_X = 0
    REST_Y = 1
    REST_Z = 2
    OPEN = 3
    """Visible share of the sky above the vertex (ambient occlusion)."""
    LIPS = 4
    MOUTH = 5
    EARS = 6
    LIDS = 7
    SCALP = 8
    BLUSH = 9
    STUBBLE = 10
    TORSO_TONE = 11
    """Share of the torso's skin colour (a swapped head has its own)."""
    EYE_SHADE = 12
    HEAD_WEIGHT = 13
    TORSO_WEIGHT = 14
    EXTRA = 15
    """Cloth: metres below the neckline. Teeth: 1 in the gum."""


COLUMNS = len(Column)
OCCLUSION_DIRECTIONS, OCCLUSION_SIZE = 40, 320
OCCLUSION_SPAN = 0.56
"""Metres of the body seen by each depth map."""


def skin_attributes(figure: Figure, hair: Hair, torso_tone: Float[np.ndarray, "v"]) -> Float[np.ndarray, "v c"]:
    """Attribute table of the body's own vertices."""
    body, v, marks = figure.anatomy, figure.vertices, figure.landmarks
    out = np.zeros((len(v), COLUMNS), np.float32)

    def near(point: np.ndarray, radius: float) -> np.ndarray:
        return np.exp(-((v - point) ** 2).sum(1) / (2 * radius * radius))

    out[:, :3] = v
    out[:, Column.OPEN] = sky_visibility(v, figure.normals, body.faces, figure.head_centre)
    out[:, Column.HEAD_WEIGHT], out[:, Column.TORSO_WEIGHT] = body.head_weight, body.torso_weight
    out[:, Column.LIPS], out[:, Column.MOUTH] = body.lips, body.mouth
    out[:, Column.EARS], out[:, Column.LIDS] = body.ears, body.eyelids
    out[:, Column.SCALP] = _scalp_cover(figure, hair)
    blush = 0.6 * (near(marks[50], 0.017) + near(marks[280], 0.017)) + 0.7 * near(marks[4], 0.012)
    out[:, Column.BLUSH] = np.clip(blush + 0.3 * near(marks[152], 0.012), 0, 1)
    out[:, Column.STUBBLE] = _beard_area(figure, near)
    out[:, Column.TORSO_TONE] = torso_tone
    below = np.array([0, 0.004, 0])
    eyes = near(marks[230], 0.008) + near(marks[450], 0.008)
    eyes += 0.5 * (near(marks[145] + below, 0.009) + near(marks[374] + below, 0.009))
    out[:, Column.EYE_SHADE] = 0.9 * np.clip(eyes, 0, 1)
    return out


def _scalp_cover(figure: Figure, hair: Hair) -> np.ndarray:
    if hair.style == "bald":
        return np.zeros(len(figure.vertices))
    field = find_scalp(figure, hair.recede).field
    cover = np.clip(0.5 + 12 * field, 0, 1)
    return np.where(figure.anatomy.head_weight < 0.5, cover * np.clip(field + 1, 0, 1), cover)


def _beard_area(figure: Figure, near: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    v, marks = figure.vertices, figure.landmarks
    under_nose = np.clip((v[:, 1] - marks[2, 1] - 0.002) / 0.012, 0, 1)
    above_throat = np.clip((marks[152, 1] + 0.045 - v[:, 1]) / 0.03, 0, 1)
    front = np.clip((-0.03 - v[:, 2]) / 0.03, 0, 1)
    cheeks = near((marks[50] + marks[205]) / 2, 0.016) + near((marks[280] + marks[425]) / 2, 0.016)
    area = under_nose * above_throat * front * np.clip(1.15 - 2.2 * cheeks, 0, 1)
    return area * ((figure.anatomy.part == 0) & (figure.anatomy.torso_weight < 0.4))


def sky_visibility(
    vertices: Float[np.ndarray, "v 3"], normals: Float[np.ndarray, "v 3"], faces: np.ndarray, centre: np.ndarray
) -> Float[np.ndarray, "v"]:
    """Cosine-weighted share of directions that reach each vertex, from depth maps of the mesh."""
    directions = np.random.default_rng(0).normal(size=(OCCLUSION_DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    scale = OCCLUSION_SIZE / OCCLUSION_SPAN
    arm = vertices - centre - np.array([0, 0.03, 0.0])
    for to_sky in directions:
        side = np.cross(to_sky, [0, 1.0, 0])
        side /= max(np.linalg.norm(side), 1e-6)
        axes = np.stack([side, np.cross(to_sky, side)], 1)
        points, depth = arm @ axes * scale + OCCLUSION_SIZE / 2, 10 - arm @ to_sky
        nearest = rasterize(points, depth, faces, OCCLUSION_SIZE, OCCLUSION_SIZE).depth
        cell = np.floor(points).astype(int)
        inside = ((cell >= 0) & (cell < OCCLUSION_SIZE)).all(1)
        x, y = np.where(inside[:, None], cell, 0).T
        first = np.where(inside, nearest[y, x], FAR)
        cosine = np.clip(normals @ to_sky, 0, None)
        seen += cosine * (depth < first + 0.004)
        total += cosine
    return seen / np.maximum(total, 1e-6)
