"""Spread the landmarks' free offsets over the skin: the smoothest field along the surface that honours them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import splu

from gswap.body.landmark_model import SKIN_COUNT, FaceShape
from gswap.foundation.protocols import BodyModel

DATA_WEIGHT = 2.0
"""Pull of a landmark against the field's bending; small enough that neighbouring landmarks are averaged a little."""
REACH = 0.04
"""Metres beyond the landmarks over which the field fades out."""


def spread_offsets(model: BodyModel, vertices: Float[np.ndarray, "v 3"], face: FaceShape) -> Float[np.ndarray, "v 3"]:
    """Offsets of all vertices from those of the landmarks.

    Solves ``min |L x|^2 + fade |x|^2 + weight |B x - d|^2`` with ``L`` the mesh Laplacian (inverse edge lengths) of the
    skin and ``B`` the landmarks' barycentric coordinates. Neighbourhood is along the surface, so that what moves the
    upper lip does not leak into the lower one. Eyeballs move as a whole with their lids; the tongue stays.
    """
    skin = np.flatnonzero((model.part == 0) & (model.head_weight > 0.3))
    local = np.full(len(vertices), -1)
    local[skin] = np.arange(len(skin))
    faces = local[model.faces]
    faces = faces[(faces >= 0).all(1)]
    points = vertices[skin]
    laplacian = mesh_laplacian(points, faces)

    triangles = local[model.landmark_triangles[:SKIN_COUNT]]
    usable = (triangles >= 0).all(1)
    rows = np.repeat(np.arange(usable.sum()), 3)
    weights = model.landmark_barycentric[:SKIN_COUNT][usable]
    select = sparse.csr_array(
        (weights.ravel(), (rows, triangles[usable].ravel())), shape=(int(usable.sum()), len(skin))
    )
    anchors = (points[triangles[usable]] * weights[..., None]).sum(1)
    away = distance_to(points, anchors)
    fade = np.square(np.clip(away / REACH, 0, None)) ** 2
    system = laplacian.T @ laplacian + sparse.diags_array(fade + 1e-6) + DATA_WEIGHT * (select.T @ select)
    field = splu(sparse.csc_matrix(system)).solve(DATA_WEIGHT * (select.T @ face.offsets[usable]))
    out = np.zeros_like(vertices)
    out[skin] = field
    for eye, part in enumerate((3, 2)):
        out[model.part == part] = face.eye_offsets[eye]
    return out


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
