"""Z-buffered triangles: the native kernel, and a numpy loop of the same result where it is not built."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.geometry import project
from gswap.foundation.types import Camera

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # no compiler at install time: slower, same result
    _native = None

FAR = np.float32(1e30)


class Fragments(NamedTuple):
    """What each pixel sees."""

    face: Int[np.ndarray, "h w"]
    """Index of the nearest face, -1 where there is none."""
    bary: Float[np.ndarray, "h w 3"]
    """Barycentric coordinates in that face (affine in the image)."""
    depth: Float[np.ndarray, "h w"]
    """Depth in metres, ``FAR`` where there is no face."""


def rasterize(
    points: Float[np.ndarray, "v 2"],
    depths: Float[np.ndarray, "v"],
    faces: Int[np.ndarray, "f 3"],
    height: int,
    width: int,
) -> Fragments:
    """Rasterise triangles given in pixels (pixel centres at +0.5) with positive depths.

    Triangles with a vertex behind the camera, degenerate ones and indices out of range are skipped.
    """
    points = np.ascontiguousarray(points, np.float32)
    depths = np.ascontiguousarray(depths, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    face = np.full((height, width), -1, np.int32)
    bary = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), FAR, np.float32)
    if _native is not None:
        _native.rasterize_triangles(points, depths, faces, face, bary, depth)
    else:
        _rasterize_numpy(points, depths, faces, face, bary, depth)
    return Fragments(face, bary, depth)


def rasterize_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], camera: Camera) -> Fragments:
    """Rasterise a camera-frame mesh."""
    safe = np.maximum(vertices[:, 2], 1e-6)
    points = project(np.column_stack([vertices[:, :2], safe]), camera)
    return rasterize(points, vertices[:, 2], faces, camera.height, camera.width)


def interpolate(fragments: Fragments, faces: Int[np.ndarray, "f 3"], values: np.ndarray) -> np.ndarray:
    """Per-vertex ``values`` (v, ...) -> per-pixel values of the covered pixels, in row-major order."""
    seen = fragments.face >= 0
    corners = values[faces[fragments.face[seen]]]
    weights = fragments.bary[seen].reshape(-1, 3, *([1] * (values.ndim - 1)))
    return (corners * weights).sum(1)


def _rasterize_numpy(points, depths, faces, face, bary, depth) -> None:
    height, width = face.shape
    for k, (a, b, c) in enumerate(faces):
        if min(a, b, c) < 0 or max(a, b, c) >= len(points) or not min(depths[a], depths[b], depths[c]) > 0:
            continue
        (x0, y0), (x1, y1), (x2, y2) = points[[a, b, c]].astype(np.float64)
        det = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not abs(det) > 1e-9:
            continue
        xmin = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0)
        xmax = min(int(np.floor(max(x0, x1, x2) - 0.5)), width - 1)
        ymin = max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0)
        ymax = min(int(np.floor(max(y0, y1, y2) - 0.5)), height - 1)
        if xmin > xmax or ymin > ymax:
            continue
        px = np.arange(xmin, xmax + 1) + 0.5 - x0
        py = (np.arange(ymin, ymax + 1) + 0.5 - y0)[:, None]
        w1 = (px * (y2 - y0) - (x2 - x0) * py) / det
        w2 = ((x1 - x0) * py - px * (y1 - y0)) / det
        w0 = 1 - w1 - w2
        z = (w0 * depths[a] + w1 * depths[b] + w2 * depths[c]).astype(np.float32)
        box = np.s_[ymin : ymax + 1, xmin : xmax + 1]
        hit = (w0 >= -1e-6) & (w1 >= -1e-6) & (w2 >= -1e-6) & (z < depth[box])
        depth[box][hit] = z[hit]
        face[box][hit] = k
        bary[box][hit] = np.stack([w0[hit], w1[hit], w2[hit]], -1)
