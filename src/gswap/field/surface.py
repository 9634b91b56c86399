"""The surface that carries the Gaussians: head and neck of the body, and two sheets of teeth that the body lacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.foundation.geometry import matrix_to_quaternion
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyShape

SKIN, TONGUE, EYE_LEFT, EYE_RIGHT, TEETH_UPPER, TEETH_LOWER = range(6)
"""What a face belongs to. The first four are the body model's own parts."""

MIN_HEAD_AND_NECK_WEIGHT = 0.15
"""Faces with a smaller mean skinning weight of head and neck belong to the torso, which the plate shows."""

UPPER_BODY = (1.1, 1.1)
"""How far the upper body reaches below the chin and to either side, in heights of the head."""

MOUTH_CORNER_RIGHT, MOUTH_CORNER_LEFT, LIP_INNER_UPPER, LIP_INNER_LOWER = 61, 291, 13, 14

# The teeth sheets, in units of the mouth's width: a parabola behind the lips, the upper row hanging over the lower one.
TEETH_HALF_WIDTH = 0.42
TEETH_DEPTH = 0.20
TEETH_CURVATURE = 0.32
TEETH_UPPER_SPAN = (-0.20, 0.02)
TEETH_LOWER_SPAN = (0.01, 0.18)
TEETH_GRID = (24, 8)
JAW_ANCHORS = 60


@dataclass(frozen=True)
class Surface:
    """Head, neck and teeth at rest (metres, rest frame). Vertices: the body's, then upper, then lower teeth."""

    body_vertices: Int[np.ndarray, "b"]
    """Which vertices of the body model are here, in order."""
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    face_uv: Float[np.ndarray, "f 3 2"]
    """Texture coordinates, v up; -1 for teeth, which have none."""
    face_part: Int[np.ndarray, "f"]
    head_weight: Float[np.ndarray, "v"]
    """How far a vertex follows the head: 1 on the skull and the teeth, 0 at the base of the neck."""
    upper_anchors: Int[np.ndarray, "i"]
    lower_anchors: Int[np.ndarray, "j"]
    """Vertices (of the body part) whose rigid motion the upper and the lower teeth follow."""
    teeth_start: int
    lower_teeth_start: int

    @cached_property
    def face_area(self) -> Float[np.ndarray, "f"]:
        """Areas of the faces at rest, square metres."""
        return face_frames(self.vertices, self.faces)[1]

    @property
    def edges(self) -> Int[np.ndarray, "e 2"]:
        """Undirected edges, each once."""
        pairs = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        return np.unique(np.sort(pairs, axis=1), axis=0)


def head_surface(model: BodyModel, shape: BodyShape, *, upper_body: bool = False) -> Surface:
    """Cut head and neck (or everything down to the chest) out of a body and give it teeth."""
    rest = np.asarray(model.rest(shape).vertices, np.float64)
    weight = (np.asarray(model.head_weight) + np.asarray(model.neck_weight))[model.faces].mean(1)
    kept = weight > MIN_HEAD_AND_NECK_WEIGHT
    if upper_body:
        kept |= _near_shoulders(rest[np.asarray(model.faces)].mean(1), rest, model)
    body_vertices, flat = np.unique(np.asarray(model.faces)[kept], return_inverse=True)
    faces = flat.reshape(-1, 3)
    vertices, part = rest[body_vertices], np.asarray(model.part)[body_vertices]
    head_weight = np.asarray(model.head_weight, np.float64)[body_vertices]

    corners = rest[model.landmark_triangles]
    landmarks = (corners * np.asarray(model.landmark_barycentric)[..., None]).sum(1)
    upper, lower = _teeth_sheet(landmarks, TEETH_UPPER_SPAN), _teeth_sheet(landmarks, TEETH_LOWER_SPAN)
    sheet = _grid_faces(*TEETH_GRID)
    start, lower_start = len(vertices), len(vertices) + len(upper)

    height = (landmarks[CHIN, 1] - vertices[:, 1]) / (landmarks[CHIN, 1] - landmarks[FOREHEAD_TOP, 1])
    skull = np.flatnonzero((head_weight > 0.9) & (part == SKIN) & (height > 0.6) & (height < 1.1))
    to_chin = np.linalg.norm(vertices - landmarks[CHIN], axis=1) + np.where(part == SKIN, 0.0, 1e3)
    return Surface(
        body_vertices=body_vertices,
        vertices=np.concatenate([vertices, upper, lower]),
        faces=np.concatenate([faces, sheet + start, sheet + lower_start]).astype(np.int64),
        face_uv=np.concatenate([np.asarray(model.face_uv)[kept], np.full((2 * len(sheet), 3, 2), -1.0)]),
        face_part=np.concatenate(
            [part[faces].max(1), np.full(len(sheet), TEETH_UPPER), np.full(len(sheet), TEETH_LOWER)]
        ).astype(np.int64),
        head_weight=np.concatenate([head_weight, np.ones(len(upper) + len(lower))]),
        upper_anchors=skull,
        lower_anchors=np.argsort(to_chin, kind="stable")[:JAW_ANCHORS],
        teeth_start=start,
        lower_teeth_start=lower_start,
    )


def _near_shoulders(
    centres: Float[np.ndarray, "f 3"], rest: Float[np.ndarray, "v 3"], model: BodyModel
) -> Bool[np.ndarray, "f"]:
    """Faces of chest and shoulders: within :data:`UPPER_BODY` of the head's own extent below and beside the head."""
    head = rest[np.asarray(model.head_weight) > 0.9]
    low, high = head.min(0), head.max(0)
    height, middle = high[1] - low[1], (low[0] + high[0]) / 2
    below, beside = UPPER_BODY
    return (centres[:, 1] < high[1] + below * height) & (np.abs(centres[:, 0] - middle) < beside * height)


def face_frames(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "f 3 3"], Float[np.ndarray, "f"]]:
    """Orthonormal frames of triangles (columns: first edge, outward normal, their cross product) and areas (m²).

    A degenerate triangle gets the identity and area 0.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    edge, normal = b - a, np.cross(b - a, c - a)
    length, twice_area = np.linalg.norm(edge, axis=1), np.linalg.norm(normal, axis=1)
    degenerate = (length < 1e-9) | (twice_area < 1e-14)
    edge = edge / np.where(degenerate, 1.0, length)[:, None]
    normal = normal / np.where(degenerate, 1.0, twice_area)[:, None]
    frames = np.stack([edge, normal, np.cross(edge, normal)], -1)
    frames[degenerate] = np.eye(3)
    return frames, twice_area / 2


def face_quaternions(frames: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 4"]:
    """Quaternions ``wxyz`` of :func:`face_frames`."""
    return matrix_to_quaternion(frames)


def _teeth_sheet(landmarks: Float[np.ndarray, "478 3"], span: tuple[float, float]) -> Float[np.ndarray, "n 3"]:
    width = np.linalg.norm(landmarks[MOUTH_CORNER_LEFT] - landmarks[MOUTH_CORNER_RIGHT])
    centre = (landmarks[LIP_INNER_UPPER] + landmarks[LIP_INNER_LOWER]) / 2
    columns, rows = TEETH_GRID
    u, v = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(*span, rows))
    offset = np.stack([u * TEETH_HALF_WIDTH, v, TEETH_DEPTH + TEETH_CURVATURE * u**2], -1).reshape(-1, 3)
    return centre + offset * width


def _grid_faces(columns: int, rows: int) -> Int[np.ndarray, "f 3"]:
    index = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
