"""T_uv of eq. 7: which point of which triangle every Gaussian is glued to.

One Gaussian per texel of the UV map, one at the centroid of every face that no texel hits, a fixed number at random
points of every eyeball face (the map gives the eyes too few texels) and one per face of the teeth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gswap.field.surface import EYE_LEFT, EYE_RIGHT, TEETH_UPPER, Surface, face_frames
from gswap.foundation.raster import rasterize

MIN_MISSED_FACE_AREA = 2e-7
"""Square metres; smaller faces that no texel hits stay without a Gaussian."""
SPACING_RANGE = (4e-4, 6e-3)
"""Metres between neighbouring Gaussians, clamped: a collapsed face must not make a splat of no size."""


@dataclass(frozen=True)
class Binding:
    """Gaussian ``i`` sits at ``bary[i]`` of the triangle ``face[i]`` of a :class:`~gswap.field.surface.Surface`."""

    face: Int[np.ndarray, "n"]
    bary: Float[np.ndarray, "n 3"]
    spacing: Float[np.ndarray, "n"]
    """Metres to the next Gaussian, estimated from the face's area and how many it holds."""

    def __len__(self) -> int:
        return len(self.face)


def bind(surface: Surface, texels: int, *, samples_per_eye_face: int = 6, seed: int = 0) -> Binding:
    """Rasterise the UV map of ``surface`` at ``texels`` x ``texels``.

    Args:
        surface: What to cover.
        texels: Side of the UV map.
        samples_per_eye_face: Gaussians on every triangle of an eyeball.
        seed: Of the random points on the eyeballs.
    """
    part = surface.face_part
    is_eye = (part == EYE_LEFT) | (part == EYE_RIGHT)
    mapped = np.flatnonzero((part < TEETH_UPPER) & ~is_eye)
    face, bary = _texel_faces(surface.face_uv[mapped], texels)
    face = mapped[face]

    _, area = face_frames(surface.vertices, surface.faces)
    missed = np.setdiff1d(mapped, face)
    missed = missed[area[missed] > MIN_MISSED_FACE_AREA]
    teeth = np.flatnonzero(part >= TEETH_UPPER)
    eyes = np.repeat(np.flatnonzero(is_eye), samples_per_eye_face)
    # Pulled a little towards the centroid, so that no point sits on an edge.
    on_eyes = np.random.default_rng(seed).dirichlet([1.0, 1.0, 1.0], len(eyes)) * 0.8 + 0.2 / 3

    face = np.concatenate([face, missed, eyes, teeth])
    centroid = np.full((len(missed) + len(teeth), 3), 1 / 3)
    bary = np.concatenate([bary, centroid[: len(missed)], on_eyes, centroid[len(missed) :]])
    count = np.bincount(face, minlength=len(part))
    spacing = np.clip(np.sqrt(area[face] / count[face]), *SPACING_RANGE)
    return Binding(face.astype(np.int64), bary.astype(np.float32), spacing.astype(np.float32))


def _texel_faces(
    face_uv: Float[np.ndarray, "f 3 2"], texels: int
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
    points = (np.stack([face_uv[..., 0], 1 - face_uv[..., 1]], -1) * texels).reshape(-1, 2)
    corners = np.arange(len(points)).reshape(-1, 3)
    fragments = rasterize(points, np.ones(len(points)), corners, texels, texels)
    hit = fragments.face >= 0
    bary = np.clip(fragments.bary[hit].astype(np.float64), 0, 1)
    return fragments.face[hit].astype(np.int64), bary / bary.sum(1, keepdims=True)
