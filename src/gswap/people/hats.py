"""Hats: a dome over the scalp with a knitted band or a peak, and hair that lies flat beneath. Rest frame, metres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from gswap.people.anatomy import Figure
from gswap.people.hair import Strands
from gswap.people.traits import HatKind

EDGE_AZIMUTH = (0, 40, 70, 90, 110, 140, 180)
EDGE_HEIGHT: dict[HatKind, tuple[float, ...]] = {
    "none": (2.0,) * 7,
    "beanie": (0.74, 0.72, 0.66, 0.62, 0.56, 0.48, 0.44),
    "cap": (0.78, 0.76, 0.70, 0.66, 0.62, 0.56, 0.54),
}
"""Where the hat ends: height above the chin (fraction of the head) over the angle from straight ahead (degrees)."""
LIFT: dict[HatKind, float] = {"none": 0.0, "beanie": 0.010, "cap": 0.012}
"""Metres between scalp and cloth; hair beneath has less."""
EAR_CLEARANCE = 0.015
"""The edge passes this far above the ears, in head heights."""
COLUMNS, ROWS = 72, 16
BAND_ROWS, BAND_LIFT = 4, 0.0035
"""The folded edge of a beanie: rows of the dome, and metres that it stands off."""
PEAK_HALF_ANGLE, PEAK_LENGTH, PEAK_DROP = 58.0, 0.068, 0.020
"""The peak of a cap: degrees to either side, metres forwards and down."""
PEAK_COLUMNS, PEAK_ROWS = 25, 6
FLATTENED = 0.005
"""Metres above the scalp to which a hat presses hair."""
RELEASE = 0.14
"""Head heights below the edge over which pressed hair regains its volume."""


class HatMesh(NamedTuple):
    """Cloth that moves with the skull; no triangles where no hat is worn."""

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "f 3"]
    above_edge: Float[np.ndarray, "n"]
    """Metres from the edge along the cloth, roughly; the peak has 0."""


def edge_height(figure: Figure, kind: HatKind, azimuth: np.ndarray) -> np.ndarray:
    """Height of the hat's edge above the chin, in head heights, over the angle from straight ahead (degrees)."""
    line = np.interp(np.abs(azimuth), EDGE_AZIMUTH, EDGE_HEIGHT[kind])
    ear = figure.vertices[(figure.anatomy.ears > 0.4) & (figure.anatomy.part == 0)]
    over = (figure.chin - ear[:, 1].min()) / figure.head_height + EAR_CLEARANCE
    beside = np.clip(1 - np.abs(np.abs(azimuth) - 95) / 40, 0, 1)
    return np.maximum(line, over * beside + line * (1 - beside)) if kind != "none" else line


def make_hat(figure: Figure, kind: HatKind) -> HatMesh:
    """Sew a hat that fits."""
    if kind == "none":
        return HatMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros(0))
    vertices, faces, above = _dome(figure, kind)
    if kind == "beanie":
        return HatMesh(vertices, faces, above)
    peak, peak_faces = _peak(vertices[:COLUMNS])
    return HatMesh(
        np.concatenate([vertices, peak]),
        np.concatenate([faces, peak_faces + len(vertices)]),
        np.concatenate([above, np.zeros(len(peak))]),
    )


def press_hair(figure: Figure, kind: HatKind, strands: Strands) -> Strands:
    """Lay the hair under a hat flat: what is above the edge stays within :data:`FLATTENED` of the scalp."""
    if kind == "none" or not len(strands.points):
        return strands
    points = strands.points.reshape(-1, 3)
    body = figure.anatomy
    solid = (body.part == 0) & (body.ears < 0.3)
    distance, near = KDTree(figure.vertices[solid]).query(points)
    base, normal = figure.vertices[solid][near], figure.normals[solid][near]
    height = ((points - base) * normal).sum(1)
    above = (figure.chin - points[:, 1]) / figure.head_height - edge_height(figure, kind, figure.azimuth(points))
    # Pressed at the edge already, and free some way below it.
    share = np.clip(1 + above / RELEASE, 0, 1)
    pressed = points - normal * (share * np.clip(height - FLATTENED, 0, None))[:, None]
    far = (above > 0) & (np.asarray(distance) > 0.03)
    pressed[far] = base[far] + normal[far] * FLATTENED
    return strands._replace(points=pressed.reshape(strands.points.shape))


def _dome(figure: Figure, kind: HatKind) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of vertices from the edge to the crown, each a closed ring."""
    centre = figure.head_centre + np.array([0, -0.12 * figure.head_height, 0])
    angle = np.linspace(-180, 180, COLUMNS, endpoint=False)
    radius = _radius(figure, centre)
    edge_y = figure.chin - edge_height(figure, kind, angle) * figure.head_height
    around = np.radians(angle)
    flat = np.stack([np.sin(around), np.zeros_like(around), -np.cos(around)], 1)
    # The direction in which the edge lies: where the head, seen from the centre, has that height.
    way = flat
    for _ in range(8):
        reach = radius(way)
        rise = np.clip((edge_y - centre[1]) / reach, -0.95, 0.95)
        way = flat * np.sqrt(1 - rise**2)[:, None] + np.array([0, 1.0, 0]) * rise[:, None]
    to_crown = np.arccos(np.clip(-way[:, 1], -1, 1))
    rows, above = [], []
    for row in range(ROWS + 1):
        t = row / ROWS
        turn = to_crown * (1 - t)
        direction = flat * np.sin(turn)[:, None] - np.array([0, 1.0, 0]) * np.cos(turn)[:, None]
        lift = np.full(COLUMNS, LIFT[kind])
        if kind == "beanie" and row <= BAND_ROWS:
            lift += BAND_LIFT
        elif kind == "beanie":
            lift += 0.010 * np.sin(np.pi * t) ** 2  # knitted cloth stands off at the back of the crown
        rows.append(centre + direction * (radius(direction) + lift)[:, None])
        above.append(radius(direction) * to_crown * t)
    vertices = np.concatenate(rows)
    faces = []
    for row in range(ROWS):
        for k in range(COLUMNS):
            a, b = row * COLUMNS + k, row * COLUMNS + (k + 1) % COLUMNS
            faces += [(a, a + COLUMNS, b), (b, a + COLUMNS, b + COLUMNS)]
    return vertices, np.array(faces, np.int32), np.concatenate(above)


def _radius(figure: Figure, centre: np.ndarray):
    """Distance from ``centre`` to the bare head, ears left out, over directions: smooth."""
    body = figure.anatomy
    head = (body.part == 0) & (body.head_weight > 0.5) & (body.ears < 0.2) & (body.mouth < 0.3)
    arm = figure.vertices[head] - centre
    length = np.linalg.norm(arm, axis=1)
    tree = KDTree(arm / length[:, None])

    def radius(direction: np.ndarray) -> np.ndarray:
        distance, near = tree.query(direction, k=40)
        weight = np.exp(-((np.asarray(distance) / 0.12) ** 2)) + 1e-9
        return (length[near] * weight).sum(1) / weight.sum(1)

    return radius


def _peak(edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curved sheet that begins at the front of the edge."""
    angle = np.linspace(-PEAK_HALF_ANGLE, PEAK_HALF_ANGLE, PEAK_COLUMNS)
    grid = np.linspace(-180, 180, COLUMNS, endpoint=False)
    base = np.stack([np.interp(angle, grid, edge[:, k]) for k in range(3)], 1)
    front = np.cos(np.radians(angle) / np.radians(PEAK_HALF_ANGLE) * np.pi / 2) ** 0.6
    rows = []
    for t in np.linspace(0, 1, PEAK_ROWS):
        out = base + np.array([0, 0, -PEAK_LENGTH * t])[None] * front[:, None]
        side = base[:, 0] - base[:, 0].mean()
        curve = 0.012 * (np.abs(side) / np.abs(side).max()) ** 2  # the sides hang lower
        out[:, 1] += t * (PEAK_DROP * front + curve) - 0.002
        rows.append(out)
    faces = []
    for row in range(PEAK_ROWS - 1):
        for k in range(PEAK_COLUMNS - 1):
            a = row * PEAK_COLUMNS + k
            faces += [(a, a + 1, a + PEAK_COLUMNS), (a + 1, a + PEAK_COLUMNS + 1, a + PEAK_COLUMNS)]
    return np.concatenate(rows), np.array(faces, np.int32)
