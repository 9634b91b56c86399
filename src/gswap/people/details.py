"""Small parts that landmarks place on the face: brows, lashes, teeth, spectacles. Rest frame, metres."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gswap.people.anatomy import Figure

Points = Float[np.ndarray, "n 3"]
BROWS = (
    ((107, 66, 105, 63, 70), (55, 65, 52, 53, 46)),
    ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)),
)
"""Upper and lower edge of the right and left brow, from the nose outwards."""
UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
"""Lash lines of the right and left upper lid, from the outer corner inwards."""
LASHES_PER_EYE = 54
TEETH_COLUMNS, TEETH_ROWS = 25, 4


def resample(polyline: Points, count: int) -> Points:
    """``count`` points at equal steps of the polyline's parameter."""
    at, grid = np.linspace(0, 1, len(polyline)), np.linspace(0, 1, count)
    return np.stack([np.interp(grid, at, polyline[:, k]) for k in range(3)], 1)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def grow_brows(
    rng: np.random.Generator, figure: Figure, density: float, normal_at: Callable[[Points], Points]
) -> Float[np.ndarray, "n 3 3"]:
    """Brow hairs: upright near the nose, lying outwards towards the temple. ``density`` in [0, 1]."""
    marks, out = figure.landmarks, []
    count = round(170 + 260 * density)
    thickness = 0.5 + 0.5 * density
    for upper, lower in BROWS:
        x = rng.random(count)
        top, bottom = resample(marks[list(upper)], 50), resample(marks[list(lower)], 50)
        i = (x * 49).astype(int)
        taper = np.interp(x, [0, 0.15, 0.6, 1], [0.6, 1, 0.8, 0.25])
        y = 0.5 + (rng.random(count) - 0.5) * thickness * taper
        root = bottom[i] * (1 - y[:, None]) + top[i] * y[:, None]
        normal, along = normal_at(root), _unit(np.gradient(top, axis=0))[i]
        lean = np.interp(x, [0, 0.3, 1], [0.35, 0.9, 1])[:, None]
        rise = np.interp(x, [0, 0.3, 0.7, 1], [0.9, 0.5, -0.1, -0.35])[:, None]
        way = _unit(along * lean - np.array([0, 1.0, 0]) * rise + normal * 0.22)
        length = (0.0042 + 0.0035 * rng.random(count))[:, None]
        base = root + normal * 3e-4
        out.append(np.stack([base, root + normal * 9e-4 + way * length / 2, root + normal * 7e-4 + way * length], 1))
    return np.concatenate(out)


def grow_lashes(rng: np.random.Generator, figure: Figure, length: float) -> Float[np.ndarray, "n 3 3"]:
    """Upper lashes, bent outwards and up."""
    out = []
    for lid, side in zip(UPPER_LIDS, (-1.0, 1.0), strict=True):
        root = resample(figure.landmarks[list(lid)], LASHES_PER_EYE)
        fan = np.linspace(1, -0.6, LASHES_PER_EYE)
        way = _unit(np.stack([side * fan * 0.6, np.full_like(fan, -0.1), np.full_like(fan, -1.0)], 1))
        reach = (length * (0.7 + 0.3 * rng.random(LASHES_PER_EYE)))[:, None]
        tip = root + way * reach - np.array([0, 0.45, 0]) * reach
        out.append(np.stack([root + way * 4e-4, root + way * reach * 0.6, tip], 1))
    return np.concatenate(out)


def spectacles(figure: Figure) -> list[Points]:
    """Two rims, two temples that reach the ears, one bridge, as polylines."""
    marks, v, ears = figure.landmarks, figure.vertices, figure.anatomy.ears
    half_width, half_height = 0.0265, 0.0205
    rims, temples = [], []
    for inner, outer, side in ((133, 33, -1.0), (362, 263, 1.0)):
        centre = (marks[inner] + marks[outer]) / 2 + np.array([side * 0.001, 0.003, 0])
        centre[2] = min(marks[168, 2], marks[107, 2]) - 0.004
        angle = np.linspace(0, 2 * np.pi, 41)
        x, y = (
            np.sign(f) * np.abs(f) ** 0.75 * r for f, r in ((np.cos(angle), half_width), (np.sin(angle), half_height))
        )
        wrap = 0.006 * (np.clip(x * side, 0, None) / half_width) ** 2  # the outer edge follows the face
        rims.append(centre + np.stack([x, y, wrap], 1))
        hinge = centre + np.array([side * half_width, -0.006, 0.006])
        ear = v[(ears > 0.5) & (v[:, 0] * side > 0)]
        rest = np.array([side * (np.abs(ear[:, 0]).mean() + 0.004), ear[:, 1].min() + 0.004, ear[:, 2].mean()])
        temples.append(np.linspace(hinge, rest, 12))
    left, right = rims[0][rims[0][:, 0].argmax()], rims[1][rims[1][:, 0].argmin()]
    bridge = np.linspace(left, right, 7)
    bridge[:, 1] -= 0.004 * (1 - np.linspace(-1, 1, 7) ** 2) + 0.004
    return [*rims, *temples, bridge]


class Teeth(NamedTuple):
    """Two curved strips behind the lips; the lower one starts at ``lower``."""

    vertices: Points
    faces: Int[np.ndarray, "f 3"]
    gum: Float[np.ndarray, "n"]
    """0 at the biting edge, 1 in the gum."""
    lower: int


def make_teeth(figure: Figure) -> Teeth:
    """Upper and lower dental arches placed by the lip landmarks."""
    marks = figure.landmarks
    lips = (marks[13] + marks[14]) / 2
    half = max((marks[291, 0] - marks[61, 0]) / 2, 0.022)
    x = np.linspace(-0.8, 0.8, TEETH_COLUMNS) * half
    behind, curvature = 0.0072, 20.0  # metres behind the lips; 1/m of the parabola
    edges = ((0.0022, -0.010), (0.0030, 0.011))  # biting edge and gum, metres below the lips
    vertices, faces, gum = [], [], []
    for jaw, (edge, root) in enumerate(edges):
        base = len(vertices)
        for row, y in enumerate(np.linspace(edge, root, TEETH_ROWS)):
            z = lips[2] + behind + curvature * x * x + 0.0015 * jaw + 0.0015 * (row == TEETH_ROWS - 1)
            vertices += list(np.stack([lips[0] + x, np.full_like(x, lips[1] + y), z], 1))
            gum += [row / (TEETH_ROWS - 1)] * TEETH_COLUMNS
        for row in range(TEETH_ROWS - 1):
            for column in range(TEETH_COLUMNS - 1):
                a = base + row * TEETH_COLUMNS + column
                quad = [(a, a + TEETH_COLUMNS, a + 1), (a + 1, a + TEETH_COLUMNS, a + TEETH_COLUMNS + 1)]
                faces += quad if not jaw else [t[::-1] for t in quad]
    return Teeth(np.array(vertices), np.array(faces, np.int32), np.array(gum), TEETH_ROWS * TEETH_COLUMNS)
