"""Where the head's mesh begins: lifted from the bald skull of the body to the outline of the hair in the mattes.

The body has no hair. Without a start near its surface every Gaussian of the hair would have to leave the skull on its
own, and from the side the hair would be a curtain of strands with holes between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from gswap.field.geometry import extend_mesh
from gswap.field.surface import Surface, face_frames
from gswap.foundation.geometry import project
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, Camera, SoftMask

BINS = 72
"""Directions in the image in which mesh and matte are compared."""
LARGEST = 1.6
"""Most that a vertex is lifted, as a factor of its distance from the head's centre."""
RIM = 0.25
"""How far inside the mesh's outline a vertex still learns from it, as a share of the outline's radius."""
ONSET = (0.04, 0.22)
"""Distances from the face between which the hair lifts off the skull, in face widths."""
ABOVE_CHIN = 0.35
"""Height over the chin from which vertices are lifted fully, in face heights."""
ROUNDS = 30
"""Rounds of averaging with the neighbours, which leave a smooth shell."""
ON_HEAD = 0.5
"""Vertices with more head weight than this draw the mesh's outline."""


class HeadPicture(NamedTuple):
    """One frame's evidence."""

    t: int
    head: SoftMask
    """Matte of the new head (hair, face, ears), without its neck."""
    camera: Camera
    """Of the matte."""


def outline_offsets(
    surface: Surface, model: BodyModel, drive: BodyTrack, pictures: Iterable[HeadPicture]
) -> Float[np.ndarray, "v 3"]:
    """Offsets of the surface's vertices, rest frame, metres, that bring the skull's outline to the mattes'.

    In every picture the two outlines are compared direction by direction around the head's centre. A vertex takes the
    ratios of the pictures in which it lies near the mesh's outline; the face stays where it is.
    """
    rest = model.rest(drive.shape)
    on_head = (surface.head_weight > ON_HEAD) & (np.arange(len(surface.vertices)) < surface.teeth_start)
    centre = surface.vertices[on_head].mean(0)
    total, lifted = np.full(len(surface.vertices), 0.05), np.full(len(surface.vertices), 0.05)
    for picture in pictures:
        posed, _ = extend_mesh(surface, model.pose(drive, rest, picture.t))
        middle = project(posed[on_head].mean(0)[None], picture.camera)[0]
        from_middle = project(posed, picture.camera) - middle
        reach, index = np.hypot(*from_middle.T), _bins(from_middle)
        mesh_reach = np.zeros(BINS)
        np.maximum.at(mesh_reach, index[on_head], reach[on_head])
        ratio = np.clip(_outline(picture.head, middle) / np.maximum(mesh_reach, 1), 1, LARGEST)
        near_rim = np.exp(-(((1 - reach / np.maximum(mesh_reach[index], 1)) / RIM) ** 2))
        total += near_rim
        lifted += near_rim * ratio[index]
    factor = 1 + (lifted / total - 1) * hair_zone(surface, model, drive) * on_head
    factor = _smooth(surface, factor, on_head)
    return (surface.vertices - centre) * (factor - 1)[:, None]


def stretch(surface: Surface, offsets: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "f"]:
    """By how much the offsets lengthen the sides of every face."""
    _, before = face_frames(surface.vertices, surface.faces)
    _, after = face_frames(surface.vertices + offsets, surface.faces)
    return np.sqrt(after / np.maximum(before, 1e-14)).clip(0.5, 2.0)


def _bins(vectors: Float[np.ndarray, "n 2"]) -> np.ndarray:
    return np.floor((np.arctan2(vectors[:, 1], vectors[:, 0]) / (2 * np.pi) % 1) * BINS).astype(int) % BINS


def _outline(head: SoftMask, middle: Float[np.ndarray, "2"]) -> Float[np.ndarray, "k"]:
    """Distance from ``middle`` to the last solid pixel, per direction, smoothed over directions."""
    ys, xs = np.nonzero(head > 127)
    vectors = np.stack([xs + 0.5 - middle[0], ys + 0.5 - middle[1]], 1)
    reach = np.zeros(BINS)
    np.maximum.at(reach, _bins(vectors), np.hypot(*vectors.T))
    return np.convolve(np.pad(reach, 2, mode="wrap"), np.array([1, 4, 6, 4, 1]) / 16, mode="valid")


def hair_zone(surface: Surface, model: BodyModel, drive: BodyTrack) -> Float[np.ndarray, "v"]:
    """1 where hair may grow, 0 on the face and below the jaw, per vertex of the surface."""
    corners = np.asarray(model.rest(drive.shape).vertices, np.float64)[model.landmark_triangles]
    face = (corners * np.asarray(model.landmark_barycentric)[..., None]).sum(1)
    distance = KDTree(face).query(surface.vertices)[0] / np.ptp(face[:, 0])
    height = (face[CHIN, 1] - surface.vertices[:, 1]) / (face[CHIN, 1] - face[FOREHEAD_TOP, 1])
    low, high = ONSET
    return np.clip((distance - low) / (high - low), 0, 1) * np.clip(height / ABOVE_CHIN, 0, 1)


def _smooth(surface: Surface, factor: Float[np.ndarray, "v"], on_head: np.ndarray) -> Float[np.ndarray, "v"]:
    edges = surface.edges
    degree = np.maximum(np.bincount(edges.ravel(), minlength=len(factor)), 1)
    for _ in range(ROUNDS):
        total = np.bincount(edges[:, 0], factor[edges[:, 1]], len(factor))
        total += np.bincount(edges[:, 1], factor[edges[:, 0]], len(factor))
        factor = np.where(on_head, (factor + total / degree) / 2, factor)
    return factor
