"""Linear shape spaces in compact form: how blendshapes are quantised, stored and combined.

A *local* blendshape moves few vertices and is kept as a sparse column; a *global* one moves nearly all and is kept
dense. Both are stored as 16-bit integers with one step per blendshape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse

STEP = 4e-6
"""Metres: quantisation step wherever 16 bits reach far enough."""
NEGLIGIBLE = 5e-6
"""Metres: smaller displacements of a local blendshape are dropped."""
_INT16_MAX = 32767


@dataclass(frozen=True)
class SparseShapes:
    """``k`` local blendshapes over ``v`` vertices."""

    matrix: sparse.csc_array
    """(3 v, k): one column per blendshape, metres at coefficient 1."""

    def __len__(self) -> int:
        return len(self.matrix.indptr) - 1

    def combine(self, coefficients: Float[np.ndarray, "k"]) -> Float[np.ndarray, "v 3"]:
        """Sum of the blendshapes weighted by ``coefficients``."""
        return (self.matrix @ np.asarray(coefficients, np.float64)).reshape(-1, 3)

    def dense(self) -> Float[np.ndarray, "k v 3"]:
        """The blendshapes as a full array."""
        return np.ascontiguousarray(self.matrix.toarray().T).reshape(len(self), -1, 3)


def pack_sparse(shapes: Float[np.ndarray, "k v 3"]) -> dict[str, np.ndarray]:
    """Encode local blendshapes for :func:`unpack_sparse`."""
    counts, vertices, deltas, steps = [], [], [], []
    for shape in shapes:
        moved = np.flatnonzero(np.linalg.norm(shape, axis=1) > NEGLIGIBLE)
        step = max(STEP, float(np.abs(shape).max(initial=0.0)) / _INT16_MAX)
        counts.append(len(moved))
        vertices.append(moved)
        deltas.append(np.round(shape[moved] / step))
        steps.append(step)
    return {
        "counts": np.array(counts, np.int32),
        "vertices": np.concatenate(vertices).astype(np.uint16),
        "deltas": np.concatenate(deltas).astype(np.int16),
        "steps": np.array(steps, np.float32),
    }


def unpack_sparse(arrays: Mapping[str, np.ndarray], vertex_count: int) -> SparseShapes:
    """Decode what :func:`pack_sparse` made."""
    counts = arrays["counts"]
    values = arrays["deltas"] * np.repeat(arrays["steps"], counts)[:, None].astype(np.float64)
    rows = (3 * arrays["vertices"].astype(np.int64)[:, None] + np.arange(3)).ravel()
    starts = 3 * np.concatenate([[0], np.cumsum(counts)])
    return SparseShapes(sparse.csc_array((values.ravel(), rows, starts), shape=(3 * vertex_count, len(counts))))


def pack_dense(shapes: Float[np.ndarray, "k n"]) -> dict[str, np.ndarray]:
    """Encode global blendshapes for :func:`unpack_dense`."""
    steps = np.maximum(STEP, np.abs(shapes).max(axis=1) / _INT16_MAX)
    return {"deltas": np.round(shapes / steps[:, None]).astype(np.int16), "steps": steps.astype(np.float32)}


def unpack_dense(arrays: Mapping[str, np.ndarray]) -> Float[np.ndarray, "k n"]:
    """Decode what :func:`pack_dense` made."""
    return arrays["deltas"] * arrays["steps"][:, None].astype(np.float32)
