"""Scalp hair as strands: roots above a hairline, combed by style, pushed out of the body. Rest frame, metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from gswap.people.anatomy import Figure
from gswap.people.traits import Hair, HairStyle

LINE_AZIMUTH = (0, 35, 55, 68, 80, 88, 105, 120, 140, 180)
LINE_HEIGHT = (0.765, 0.768, 0.70, 0.575, 0.45, 0.535, 0.565, 0.40, 0.27, 0.17)
"""The hairline: height above the chin (fraction of the head) over the angle from straight ahead (degrees)."""
STRANDS: dict[HairStyle, int] = {
    "bald": 0, "buzz": 16000, "short": 10000, "back": 8000, "bob": 8000, "long": 8000, "curly": 9000,
}  # fmt: skip
STEPS: dict[HairStyle, int] = {"buzz": 3, "short": 12, "back": 12, "bob": 16, "long": 18, "curly": 20, "bald": 0}
RADIUS: dict[HairStyle, float] = {
    "bald": 0.0, "buzz": 3.0e-4, "short": 3.8e-4, "back": 3.8e-4, "bob": 4.2e-4, "long": 4.4e-4, "curly": 3.6e-4,
}  # fmt: skip
"""Metres. Each drawn strand stands for a few real hairs."""
DRAPED: tuple[HairStyle, ...] = ("bob", "long")
CLOTH_THICKNESS = 0.016
"""Hair on the torso lies this far above the skin, metres."""
CURLS, CURL_RADIUS = 3.0, 0.0055
"""Turns of a curly strand, and their radius in metres."""
NECK_SIDE = 0.062
"""Metres from the middle at which long hair falls past the neck."""
FLYAWAY = 0.035
"""Share of the strands that leave the layer of hair."""


class Strands(NamedTuple):
    """Polylines of equal length."""

    points: Float[np.ndarray, "n k 3"]
    layer: Float[np.ndarray, "n"]
    """0 innermost, 1 outermost."""
    radius: Float[np.ndarray, "n"]


class Scalp(NamedTuple):
    """Per body vertex."""

    field: np.ndarray
    """> 0 on the hairy part, in head heights from the hairline."""
    height: np.ndarray
    """Above the chin, in head heights."""
    azimuth: np.ndarray
    """Degrees from straight ahead."""


def find_scalp(figure: Figure, recede: float) -> Scalp:
    """Where hair grows; ``recede`` moves the hairline up at the temples."""
    body, v = figure.anatomy, figure.vertices
    height = (figure.chin - v[:, 1]) / figure.head_height
    azimuth = np.abs(figure.azimuth(v))
    line = np.interp(azimuth, LINE_AZIMUTH, LINE_HEIGHT) + recede * np.interp(
        azimuth, [0, 25, 50, 75], [0.6, 1, 0.9, 0]
    )
    field = height - line
    bare = (body.head_weight < 0.5) & (azimuth < 120)
    bare |= (body.ears > 0.4) | (body.part != 0) | (body.mouth > 0.3) | (body.lips > 0.3)
    field[bare] = -1
    return Scalp(field, height, azimuth)


@dataclass(frozen=True)
class _Roots:
    points: np.ndarray
    normals: np.ndarray
    height: np.ndarray
    azimuth: np.ndarray
    layer: np.ndarray
    side: np.ndarray
    """-1 or 1: the side of the parting."""
    lock: np.ndarray
    """(n, 3) noise shared by the strands of a lock."""
    top: np.ndarray
    """1 on the crown, 0 below the temples."""
    fringe: np.ndarray


def grow_hair(rng: np.random.Generator, figure: Figure, hair: Hair) -> Strands:
    """Grow and comb the strands of ``hair``; bald people get none."""
    if hair.style == "bald":
        return Strands(np.zeros((0, 2, 3)), np.zeros(0), np.zeros(0))
    roots = _plant(rng, figure, hair)
    steps, length = STEPS[hair.style], _lengths(rng, figure, hair, roots)
    push = _Pusher(rng, figure, hair, roots)
    place, direction = roots.points.copy(), roots.normals.copy()
    drawn = [place.copy()]
    turn = 0.5 if hair.style in DRAPED else 0.4
    for k in range(steps):
        target, gravity = _comb(figure, hair, roots, place, k / steps)
        target = target + np.array([0, 1.0, 0]) * gravity + roots.lock * (0.07 * k / steps)
        direction = _unit(direction * (1 - turn) + _unit(target) * turn)
        if hair.style == "curly":
            direction = _unit(direction + rng.normal(0, 0.25, direction.shape))
        place = push(place + direction * (length / steps)[:, None], k)
        drawn.append(_waved(figure, hair, roots, place, k / steps))
    points = np.stack(drawn, 1)
    if steps > 8 and hair.style != "curly":
        for _ in range(2):
            points[:, 2:-1] = (points[:, 1:-2] + 2 * points[:, 2:-1] + points[:, 3:]) / 4
    order = np.argsort(-roots.layer, kind="stable")  # outer strands first: the depth test rejects the hidden ones
    radius = RADIUS[hair.style] * (0.75 + 0.5 * rng.random(len(points)))
    return Strands(points[order], roots.layer[order], radius)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _plant(rng: np.random.Generator, figure: Figure, hair: Hair) -> _Roots:
    scalp, faces, v = find_scalp(figure, hair.recede), figure.anatomy.faces, figure.vertices
    field = scalp.field[faces]
    hairy = faces[(field.mean(1) > -0.01) & (field.max(1) > 0) & (figure.anatomy.head_weight[faces].min(1) > 0.3)]
    a, b, c = (v[hairy[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    count = STRANDS[hair.style]
    tri = hairy[rng.choice(len(hairy), count, p=area / area.sum())]
    uv = rng.random((count, 2))
    uv = np.where(uv.sum(1, keepdims=True) > 1, 1 - uv, uv)
    weight = np.column_stack([1 - uv.sum(1), uv])
    inside = (scalp.field[tri] * weight).sum(1) + rng.normal(0, 0.012, count) > 0
    tri, weight = tri[inside], weight[inside]
    points = (v[tri] * weight[..., None]).sum(1)
    height, azimuth = (scalp.height[tri] * weight).sum(1), (scalp.azimuth[tri] * weight).sum(1)
    seeds = points[rng.choice(len(points), min(400, len(points)), replace=False)]
    lock = rng.normal(size=(len(seeds), 3))[np.asarray(KDTree(seeds).query(points)[1])]
    return _Roots(
        points=points,
        normals=_unit((figure.normals[tri] * weight[..., None]).sum(1)),
        height=height,
        azimuth=azimuth,
        layer=rng.random(len(points)) ** 0.7,
        side=np.where(points[:, 0] - hair.part + rng.normal(0, 0.004, len(points)) > 0, 1.0, -1.0),
        lock=lock,
        top=np.clip((height - 0.6) / 0.3, 0, 1),
        fringe=(azimuth < 42) & (height < 0.95) & (points[:, 2] < figure.head_centre[2] - 0.03) & hair.fringe,
    )


def _lengths(rng: np.random.Generator, figure: Figure, hair: Hair, roots: _Roots) -> np.ndarray:
    jitter = rng.random(len(roots.points))
    if hair.style == "buzz":
        return hair.length * (0.6 + 0.8 * jitter)
    if hair.style == "short":
        return hair.length * (0.35 + 0.65 * roots.top) * (0.75 + 0.35 * jitter) * (1 + 0.1 * roots.lock[:, 0])
    if hair.style not in DRAPED:
        return hair.length * (0.8 + 0.3 * jitter)
    ends = figure.chin - hair.drop
    reach = (ends + rng.normal(0, 0.012, len(jitter)) + 0.012 * roots.lock[:, 1] - roots.points[:, 1]) * 1.15 + 0.035
    brow = figure.landmarks[105, 1] - 0.008
    short = np.clip((brow - roots.points[:, 1]) * 1.15 + rng.normal(0, 0.004, len(jitter)), 0.01, 0.12)
    return np.where(roots.fringe, short, np.maximum(reach, 0.03))


def _comb(figure: Figure, hair: Hair, roots: _Roots, place: np.ndarray, f: float) -> tuple[np.ndarray, np.ndarray]:
    """Direction in which the strands want to grow at fraction ``f`` of their length, and the pull of gravity."""
    n, normal = len(place), roots.normals
    level = np.full((n, 1), 0.0)
    if hair.style == "buzz":
        return normal * 0.8 + np.array([0, -0.2, 0.3]), level
    if hair.style == "short":
        crown = np.array([hair.sweep, -0.1, 0.55])
        sides = np.array([0.0, 0.8, 0.35])
        upper = np.clip((roots.top[:, None] - 0.05) / 0.35, 0, 1)
        target = crown * upper + sides * (1 - upper)
        target = np.where(roots.fringe[:, None], np.array([0.15, 0.5, -0.8]), target)
        return target + normal * (0.55 * (1 - f)), level + 0.25
    if hair.style == "back":
        return np.array([0, 0.15, 0.9]) + normal * (0.3 * (1 - f)), level + 0.1 + 0.5 * f
    if hair.style == "curly":
        return normal * 0.9 + roots.lock * 0.35, level + 0.12
    # Draped: sideways off the crown, then down.
    above = (figure.chin - 0.55 * figure.head_height - place[:, 1]) / (0.35 * figure.head_height)
    on_top = np.clip(above, 0, 1)[:, None]
    sideways = np.column_stack([0.65 * roots.side, np.full(n, 0.1), np.full(n, 0.28)])
    target = sideways * on_top + normal * (0.15 if f < 0.12 else 0.0)
    below_chin = np.clip((place[:, 1] - figure.chin) / 0.03, 0, 1)
    outside = np.clip((np.abs(place[:, 0]) - NECK_SIDE) / 0.03, 0, 1.5)
    # Past the neck, hair slides off the shoulders: inwards, and to the chest or to the back.
    target[:, 0] -= 0.6 * below_chin * outside * np.sign(place[:, 0])
    target[:, 2] += below_chin * np.where(roots.azimuth < 95, -0.45, 0.9)
    forward = np.column_stack([roots.points[:, 0] * 3, np.full(n, 0.8), np.full(n, -0.35)]) + 0.1 * normal
    return np.where(roots.fringe[:, None], forward, target), 0.35 + 1.2 * (1 - on_top)


def _waved(figure: Figure, hair: Hair, roots: _Roots, place: np.ndarray, f: float) -> np.ndarray:
    """The drawn point of a strand whose unwaved one is ``place``."""
    if hair.style == "curly":  # corkscrews around the strand, in step within a lock
        angle = 2 * np.pi * CURLS * f + 2.0 * roots.lock[:, 0] + 9.0 * roots.layer
        side = _unit(np.cross(roots.normals, roots.lock))
        other = np.cross(roots.normals, side)
        radius = CURL_RADIUS * min(1.0, 3 * f)
        return place + radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other)
    if not hair.wave:
        return place.copy()
    turns_per_metre = 85.0
    angle = (place[:, 1] - figure.crown) * turns_per_metre + 0.9 * roots.lock[:, 0] + 0.7 * np.sign(place[:, 0])
    circle = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    return place + circle * (hair.wave * min(1.0, 2.5 * f))


class _Pusher:
    """Keeps strands outside the body (clothes included), over the ears and out of the face."""

    def __init__(self, rng: np.random.Generator, figure: Figure, hair: Hair, roots: _Roots) -> None:
        body = figure.anatomy
        draped = hair.style in DRAPED
        solid = (body.part == 0) & ~((body.ears > 0.3) & draped)
        cloth = CLOTH_THICKNESS * np.clip((body.torso_weight - 0.4) * 3, 0, 1)[:, None]
        self._skin = (figure.vertices + figure.normals * cloth)[solid]
        self._normals = figure.normals[solid]
        self._tree = KDTree(self._skin)
        self._figure, self._roots, self._draped, self._style = figure, roots, draped, hair.style
        # Volume differs from lock to lock, and a few hairs stand off: an even layer looks like a helmet.
        even = 0.25 + 0.75 * roots.layer
        fly = rng.random(len(even)) < FLYAWAY
        self._margin = hair.volume * even * np.clip(1 + 0.35 * roots.lock[:, 2], 0.4, 1.8)
        self._margin += np.where(fly, rng.uniform(0.002, 0.007, len(even)), 0)
        if hair.style == "buzz":
            self._margin *= 0.1
        ear = figure.vertices[(body.ears > 0.3) & (body.part == 0)]
        self._ear_tree, self._ear_reach = KDTree(ear[:, 1:]), np.abs(ear[:, 0])
        self._face_half_width = 0.97 * abs(figure.landmarks[454, 0] - figure.landmarks[234, 0]) / 2

    def __call__(self, place: np.ndarray, step: int) -> np.ndarray:
        margin = 0.0015 + self._margin * min(1.0, (step + 1) / 3)
        place = self._out_of_body(place, margin, hold=self._style in ("bob", "long", "back", "short"))
        place = self._out_of_body(place, margin, hold=False)
        if self._draped:
            place = self._out_of_face(self._over_ears(place, margin))
        return place

    def _out_of_body(self, place: np.ndarray, margin: np.ndarray, hold: bool) -> np.ndarray:
        distance, near = self._tree.query(place, k=3)
        weight = 1 / (distance + 1e-4)
        weight /= weight.sum(1, keepdims=True)
        base = (self._skin[near] * weight[..., None]).sum(1)
        normal = _unit((self._normals[near] * weight[..., None]).sum(1))
        height = ((place - base) * normal).sum(1)
        move = np.clip(margin - height, 0, 0.03)
        if hold:  # lie on the layer instead of floating above it
            grip = np.where(place[:, 1] < self._figure.chin + 0.01, 0.6, 0.3)
            move = move - np.clip(height - margin - 0.004, 0, 0.02) * grip
        return place + normal * move[:, None]

    def _over_ears(self, place: np.ndarray, margin: np.ndarray) -> np.ndarray:
        distance, near = map(np.asarray, self._ear_tree.query(place[:, 1:]))
        reach = (self._ear_reach[near] + 0.5 * margin + 0.001) * np.clip((0.02 - distance) / 0.012, 0, 1)
        side = np.sign(place[:, 0])
        ring = ~self._roots.fringe & (np.abs(place[:, 0]) > 0.03)
        out = place.copy()
        out[:, 0] += np.where(ring, side * np.clip(reach - np.abs(place[:, 0]), 0, 0.03) * 0.7, 0)
        return out

    def _out_of_face(self, place: np.ndarray) -> np.ndarray:
        marks, side = self._figure.landmarks, self._roots.side
        in_face: Bool[np.ndarray, "n"] = (place[:, 1] > marks[10, 1] + 0.012) & (place[:, 1] < self._figure.chin + 0.02)
        in_face = in_face & (place[:, 2] < marks[234, 2] - 0.012) & ~self._roots.fringe
        out = place.copy()
        aside = np.clip(self._face_half_width - side * place[:, 0], 0, 0.05) * 0.8
        out[:, 0] += np.where(in_face, side * aside, 0)
        out[:, 2] += np.where(in_face & (np.abs(out[:, 0]) < 1.1 * self._face_half_width), 0.012, 0)
        return out


def torso_share(figure: Figure, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """How much hair points follow the torso: 0 above the chin, 1 on the chest."""
    shoulder = figure.vertices[figure.anatomy.torso_weight > 0.999, 1].min()
    low = max(float(shoulder), figure.chin + 0.04)
    t = np.clip((points[:, 1] - figure.chin - 0.005) / (low - figure.chin), 0, 1)
    return t * t * (3 - 2 * t)
