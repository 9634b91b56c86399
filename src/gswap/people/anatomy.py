"""A body of known shape standing at rest with lowered arms: what hair, clothes and skin are made on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation import landmarks as lm
from gswap.foundation.types import BodyShape

HEAD_AXIS_AHEAD = 0.005
"""Metres from the middle of the head forwards to the upright axis that angles around it are measured about."""


@dataclass(frozen=True)
class Anatomy:
    """What is the same for all bodies of one model. Regions are per-vertex weights in [0, 1]."""

    faces: Int[np.ndarray, "f 3"]
    part: Int[np.ndarray, "v"]
    """0 skin (with mouth cavity), 1 tongue, 2 left eyeball, 3 right eyeball."""
    head_weight: Float[np.ndarray, "v"]
    neck_weight: Float[np.ndarray, "v"]
    torso_weight: Float[np.ndarray, "v"]
    lips: Float[np.ndarray, "v"]
    mouth: Float[np.ndarray, "v"]
    ears: Float[np.ndarray, "v"]
    eyelids: Float[np.ndarray, "v"]
    landmark_triangles: Int[np.ndarray, "478 3"]
    landmark_barycentric: Float[np.ndarray, "478 3"]

    def landmarks(self, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "478 3"]:
        """The 478 face landmarks on posed or rest vertices."""
        return (vertices[self.landmark_triangles] * self.landmark_barycentric[..., None]).sum(1)

    @cached_property
    def skull_vertex(self) -> int:
        """A vertex on the crown that moves with the head alone."""
        return int(np.flatnonzero((self.head_weight > 0.999) & (self.part == 0))[0])

    @cached_property
    def chest_vertex(self) -> int:
        """A vertex that moves with the torso alone."""
        return int(np.flatnonzero((self.torso_weight > 0.999) & (self.part == 0))[0])


@dataclass(frozen=True)
class Figure:
    """A shaped body in its rest pose (rest frame: x to its left, y down, -z where it looks; metres)."""

    anatomy: Anatomy
    shape: BodyShape
    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]

    @cached_property
    def normals(self) -> Float[np.ndarray, "v 3"]:
        """Outward unit normals."""
        return vertex_normals(self.vertices, self.anatomy.faces)

    @cached_property
    def landmarks(self) -> Float[np.ndarray, "478 3"]:
        """The 478 face landmarks at rest."""
        return self.anatomy.landmarks(self.vertices)

    @cached_property
    def chin(self) -> float:
        """Height (y) of the chin."""
        return float(self.landmarks[lm.CHIN, 1])

    @cached_property
    def crown(self) -> float:
        """Height (y) of the top of the head."""
        return float(self.vertices[self.anatomy.head_weight > 0.5, 1].min())

    @property
    def head_height(self) -> float:
        """Chin to crown, metres."""
        return self.chin - self.crown

    def azimuth(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
        """Degrees from straight ahead about the head's upright axis, positive towards its left."""
        axis = self.head_centre[2] - HEAD_AXIS_AHEAD
        return np.degrees(np.arctan2(points[:, 0], axis - points[:, 2]))

    @cached_property
    def head_centre(self) -> Float[np.ndarray, 3]:
        """Middle of the head: what the camera is aimed at."""
        head = self.vertices[self.anatomy.head_weight > 0.5]
        depth = (head[:, 2].min() + head[:, 2].max()) / 2
        return np.array([0.0, (self.chin + self.crown) / 2, depth])


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Area-weighted unit normals: along ``(b - a) x (c - a)``, outwards for the body's faces."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    out = np.stack([np.bincount(faces.ravel(), np.repeat(face[:, k], 3), minlength=len(vertices)) for k in range(3)], 1)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
