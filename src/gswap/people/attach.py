"""How everything that is worn (hair, clothes, teeth, glasses) follows the body it was made for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from gswap.foundation.types import PosedMesh


class Binding(NamedTuple):
    """Each point hangs from ``k`` body vertices with weights that add up to 1."""

    vertex: Int[np.ndarray, "n k"]
    weight: Float[np.ndarray, "n k"]


def bind_nearest(
    points: Float[np.ndarray, "n 3"], vertices: Float[np.ndarray, "v 3"], candidates: Int[np.ndarray, "c"], k: int = 1
) -> Binding:
    """Bind to the ``k`` nearest of the ``candidates``, weighted by inverse distance."""
    distance, near = KDTree(vertices[candidates]).query(points, k=k)
    distance, near = distance.reshape(len(points), k), near.reshape(len(points), k)
    weight = 1 / (distance + 2e-4)
    return Binding(candidates[near].astype(np.int32), weight / weight.sum(1, keepdims=True))


def bind_between(count: int, first: int, second: int, share: Float[np.ndarray, "n"]) -> Binding:
    """Bind all points to the same two vertices; ``share`` is the weight of the second."""
    index = np.tile(np.array([first, second], np.int32), (count, 1))
    return Binding(index, np.stack([1 - share, share], 1))


def join(bindings: list[Binding]) -> Binding:
    """Stack bindings of different ``k`` by padding with zero weights."""
    k = max(b.vertex.shape[1] for b in bindings)
    pad = [(b, ((0, 0), (0, k - b.vertex.shape[1]))) for b in bindings]
    return Binding(
        np.concatenate([np.pad(b.vertex, p) for b, p in pad]), np.concatenate([np.pad(b.weight, p) for b, p in pad])
    )


def follow(
    points: Float[np.ndarray, "n 3"], binding: Binding, rest: Float[np.ndarray, "v 3"], posed: PosedMesh
) -> Float[np.ndarray, "n 3"]:
    """Rest points -> camera frame: ``sum_k w_k (v'_k + L_k (x - v_k))``, L = linear part of the vertex's skinning."""
    out = np.zeros_like(points)
    for k in range(binding.vertex.shape[1]):
        vertex, weight = binding.vertex[:, k], binding.weight[:, k]
        used = np.flatnonzero(weight)
        if not len(used):
            continue
        i = vertex[used]
        if (i == i[0]).all():  # hair: one rigid motion for all
            linear = posed.linear[i[0]]
            shift = (posed.vertices[i[0]] - linear @ rest[i[0]]).astype(points.dtype)
            moved = points[used] @ linear.T.astype(points.dtype) + shift
        else:
            moved = posed.vertices[i] + np.einsum("nij,nj->ni", posed.linear[i], points[used] - rest[i])
        out[used] += weight[used, None].astype(points.dtype) * moved.astype(points.dtype)
    return out
