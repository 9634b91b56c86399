"""A garment: the torso's skin, smoothed, moved outwards and cut along a neckline; with a rib or a shirt collar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gswap.people.anatomy import Figure
from gswap.people.attach import Binding, bind_nearest
from gswap.people.traits import Neckline

NECKLINE_RISE: dict[Neckline, float] = {"crew": 0.016, "vee": 0.014, "high": 0.042, "shirt": 0.022}
"""Metres above a point 22 mm below the lowest neck joint."""
SLOPE = 0.62
"""The neckline rises towards the back."""
VEE_DEPTH, VEE_HALF_WIDTH = 0.085, 0.055
SMOOTHING_STEPS = 25
RIB_RADIUS = 0.0042


@dataclass(frozen=True)
class Garment:
    """Cloth over a figure, in its rest frame."""

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "f 3"]
    binding: Binding
    below: Float[np.ndarray, "n"]
    """Distance below the neckline, metres."""
    rib: Float[np.ndarray, "r 3"]
    """The neckline as a closed polyline."""
    rib_drawn: bool
    """Crew and high necks end in a ribbed tube."""
    collar_vertices: Float[np.ndarray, "c 3"]
    collar_faces: Int[np.ndarray, "g 3"]


def neckline_field(figure: Figure, neck_joint: int, neckline: Neckline) -> Float[np.ndarray, "v"]:
    """Signed height above the neckline at the body's vertices, metres: cloth is where it is negative."""
    v, joint = figure.vertices, figure.joints[neck_joint]
    edge = -joint[1] - 0.022 + NECKLINE_RISE[neckline] + SLOPE * (v[:, 2] - joint[2] + 0.012)
    field = -v[:, 1] - edge
    if neckline == "vee":
        field = field + np.clip(1 - np.abs(v[:, 0]) / VEE_HALF_WIDTH, 0, 1) * VEE_DEPTH * (v[:, 2] < joint[2] - 0.02)
    return np.where((figure.anatomy.head_weight > 0.3) | (figure.anatomy.part != 0), 1.0, field)


def make_garment(figure: Figure, neck_joint: int, neckline: Neckline) -> Garment:
    """Dress a figure."""
    field = neckline_field(figure, neck_joint, neckline)
    faces = figure.anatomy.faces
    faces = faces[(field[faces].min(1) < 0) & (figure.anatomy.part[faces[:, 0]] == 0) & (field[faces].max(1) < 0.9)]
    used = np.unique(faces)
    local = np.full(len(field), -1)
    local[used] = np.arange(len(used))
    faces = local[faces]
    shell = _puff(figure.vertices[used], figure.normals[used], faces, field[used])
    vertices, cut_faces, pair, share = _cut_above(shell, faces, field[used])
    below = -(field[used][pair[:, 0]] * (1 - share) + field[used][pair[:, 1]] * share)
    binding = Binding(used[pair].astype(np.int32), np.stack([1 - share, share], 1))
    rib = _neckline_curve(figure.joints[neck_joint], vertices[share > 0])
    collar = _shirt_collar(rib) if neckline == "shirt" else (np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    return Garment(vertices, cut_faces, binding, below, rib, neckline in ("crew", "high"), *collar)


def bind_to_garment(points: Float[np.ndarray, "n 3"], figure: Figure, garment: Garment) -> Binding:
    """Hang collar points from the skin under the garment."""
    return bind_nearest(points, figure.vertices, np.unique(garment.binding.vertex))


def _puff(v: np.ndarray, normals: np.ndarray, faces: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Smooth the skin away from the neckline and lift it off the body."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(edges[:, 0], minlength=len(v))[:, None]
    loose = np.clip((-field - 0.02) / 0.05, 0, 1)[:, None]
    out = v.copy()
    for _ in range(SMOOTHING_STEPS):
        mean = np.stack([np.bincount(edges[:, 0], out[edges[:, 1], k], minlength=len(v)) for k in range(3)], 1) / degree
        out = out + loose * 0.5 * (mean - out)
    lift = np.clip(((out - v) * normals).sum(1), 0, 0.03) + 0.005 + 0.003 * np.clip(-field / 0.1, 0, 1)
    return v + normals * lift[:, None]


def _cut_above(
    v: np.ndarray, faces: np.ndarray, field: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clip a mesh at field = 0, keeping the negative side.

    Returns vertices, faces, and for each vertex the two old vertices it lies between with the share of the second.
    """
    keep = field < 0
    pairs: list[tuple[int, int]] = [(int(i), int(i)) for i in np.flatnonzero(keep)]
    index = {pair: k for k, pair in enumerate(pairs)}

    def corner(i: int, j: int) -> int:
        pair = (int(min(i, j)), int(max(i, j)))
        if pair not in index:
            index[pair] = len(pairs)
            pairs.append(pair)
        return index[pair]

    out = []
    for face in faces:
        inside = keep[face]
        if inside.all():
            out.append([corner(i, i) for i in face])
            continue
        ring = []
        for k in range(3):
            i, j = face[k], face[(k + 1) % 3]
            if keep[i]:
                ring.append(corner(i, i))
            if keep[i] != keep[j]:
                ring.append(corner(i, j))
        out += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
    pair = np.array(pairs)
    a, b = field[pair[:, 0]], field[pair[:, 1]]
    share = np.where(pair[:, 0] == pair[:, 1], 0.0, a / np.where(a == b, 1.0, a - b))
    vertices = v[pair[:, 0]] * (1 - share[:, None]) + v[pair[:, 1]] * share[:, None]
    return vertices, np.array(out, np.int32), pair, share


def _neckline_curve(joint: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Cut points, sorted around the neck and smoothed: a closed polyline of 73 points."""
    angle = np.arctan2(cut[:, 0], (joint[2] - 0.01) - cut[:, 2])
    order = np.argsort(angle, kind="stable")
    grid = np.linspace(-np.pi, np.pi, 73)
    curve = np.stack([np.interp(grid, angle[order], cut[order, k], period=2 * np.pi) for k in range(3)], 1)[:-1]
    padded = np.concatenate([curve[-3:], curve, curve[:3]])
    smooth = np.stack([np.convolve(padded[:, k], np.ones(7) / 7, "valid") for k in range(3)], 1)
    return np.concatenate([smooth, smooth[:1]])


def _shirt_collar(rib: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A folded collar: up along the neck, over, and down outside, open in front."""
    grid = np.linspace(-np.pi, np.pi, len(rib))
    gap = 0.16  # radians left open on each side of the front
    angle = np.linspace(gap, 2 * np.pi - gap, 61)
    wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
    base = np.stack([np.interp(wrapped, grid, rib[:, k]) for k in range(3)], 1)
    radial = np.stack([np.sin(wrapped), 0 * wrapped, -np.cos(wrapped)], 1)
    front = np.abs(angle / np.pi - 1)  # 1 at the open ends, 0 at the nape
    up = np.array([0, -1.0, 0])
    top = base + up * (0.024 - 0.012 * front**4)[:, None] + radial * 0.001
    outer = base - up * (0.016 + 0.012 * front**3)[:, None] + radial * (0.020 + 0.006 * front)[:, None]
    fold = (top + outer) / 2 + radial * 0.006 + up * 0.007
    n = len(angle)
    faces = []
    for row in range(3):
        for i in range(n - 1):
            a = row * n + i
            faces += [(a, a + 1, a + n), (a + 1, a + n + 1, a + n)]
    return np.concatenate([base, top, fold, outer]), np.array(faces, np.int32)
