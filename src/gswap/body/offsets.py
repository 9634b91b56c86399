"""Spread offsets of landmarks and of the head's points over the skin: the smoothest fields along the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu

from gswap.body.landmark_model import SKIN_COUNT, FaceModel, FaceShape
from gswap.foundation.landmarks import OVAL
from gswap.foundation.protocols import BodyModel

DATA_WEIGHT = 2.0
"""Pull of a point against the field's bending; small enough that neighbouring points are averaged a little."""
REACH = 0.04
"""Metres beyond the points over which the field fades out."""


def spread_offsets(
    model: FaceModel,
    vertices: Float[np.ndarray, "v 3"],
    face: FaceShape,
    head: Float[np.ndarray, "p 3"] | None = None,
) -> Float[np.ndarray, "v 3"]:
    """Offsets of all vertices from those of the landmarks and, on top of them, of ears, skull and jaw.

    Solves ``min |L x|^2 + fade |x|^2 + weight |B x - d|^2`` with ``L`` the mesh Laplacian (inverse edge lengths) of the
    skin and ``B`` the points' barycentric coordinates. Neighbourhood is along the surface, so that what moves the
    upper lip does not leak into the lower one. Eyeballs move as a whole with their lids; the tongue stays.

    Args:
        model: The body.
        vertices: Of the person at rest, without offsets.
        face: The landmarks' offsets.
        head: Offsets of the points of ``model.head_points``. Those of the face are left to the landmarks: what moves
            ears, skull and jaw leaves eyes, nose and lips where they are.
    """
    skin = np.flatnonzero((model.part == 0) & (model.head_weight > 0.3))
    surface = _Surface.of(model, vertices, skin)
    out = np.zeros_like(vertices)
    marks = slice(0, SKIN_COUNT)
    out[skin] = surface.field(model.landmark_triangles[marks], model.landmark_barycentric[marks], face.offsets)
    if head is not None and model.head_points is not None and head.any():
        points = model.head_points
        outer = np.flatnonzero((points.landmark < 0) | np.isin(points.landmark, OVAL))
        inner = np.setdiff1d(np.arange(SKIN_COUNT), OVAL)
        out[skin] += surface.field(
            np.concatenate([points.triangles[outer], model.landmark_triangles[inner]]),
            np.concatenate([points.barycentric[outer], model.landmark_barycentric[inner]]),
            np.concatenate([head[outer], np.zeros((len(inner), 3))]),
        )
    for eye, part in enumerate((3, 2)):
        out[model.part == part] = face.eye_offsets[eye]
    return out


@dataclass(frozen=True)
class _Surface:
    """The skin of a head at rest."""

    points: Float[np.ndarray, "n 3"]
    local: Int[np.ndarray, "v"]
    """Vertex of the body -> of the skin, -1: not skin."""
    bending: sparse.csr_array

    @staticmethod
    def of(model: BodyModel, vertices: Float[np.ndarray, "v 3"], skin: Int[np.ndarray, "n"]) -> _Surface:
        local = np.full(len(vertices), -1)
        local[skin] = np.arange(len(skin))
        faces = local[model.faces]
        laplacian = mesh_laplacian(vertices[skin], faces[(faces >= 0).all(1)])
        return _Surface(vertices[skin], local, laplacian.T @ laplacian)

    def field(
        self,
        triangles: Int[np.ndarray, "k 3"],
        barycentric: Float[np.ndarray, "k 3"],
        offsets: Float[np.ndarray, "k 3"],
    ) -> Float[np.ndarray, "n 3"]:
        """The smoothest offsets of the skin that are about ``offsets`` at points on it."""
        corners = self.local[triangles]
        usable = (corners >= 0).all(1)
        corners, weights = corners[usable], barycentric[usable]
        rows = np.repeat(np.arange(len(corners)), 3)
        select = sparse.csr_array((weights.ravel(), (rows, corners.ravel())), shape=(len(corners), len(self.points)))
        away = distance_to(self.points, (self.points[corners] * weights[..., None]).sum(1))
        fade = np.square(np.clip(away / REACH, 0, None)) ** 2
        system = self.bending + sparse.diags_array(fade + 1e-6) + DATA_WEIGHT * (select.T @ select)
        return splu(sparse.csc_matrix(system)).solve(DATA_WEIGHT * (select.T @ offsets[usable]))


def mesh_laplacian(points: Float[np.ndarray, "n 3"], faces: np.ndarray) -> sparse.csr_array:
    """Row-normalised graph Laplacian with inverse edge lengths as weights."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    weight = 1 / (np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) + 1e-6)
    n = len(points)
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = sparse.csr_array((np.tile(weight, 2), (both[:, 0], both[:, 1])), shape=(n, n))
    degree = np.maximum(adjacency.sum(1), 1e-12)
    return sparse.csr_array(sparse.eye_array(n) - sparse.diags_array(1 / degree) @ adjacency)


def distance_to(points: Float[np.ndarray, "n 3"], anchors: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "n"]:
    """Distance of each point to the nearest anchor."""
    from scipy.spatial import KDTree

    return KDTree(anchors).query(points)[0]
