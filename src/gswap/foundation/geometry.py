"""Rotations, rigid motions and the pinhole camera, in numpy and batched. Conventions: ``foundation.types``."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gswap.foundation.types import Camera


def rotvec_to_matrix(rotvec: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3 3"]:
    """Rotation vectors (radians) -> rotation matrices (Rodrigues)."""
    r = np.asarray(rotvec, np.float64)
    theta2 = (r * r).sum(-1)
    theta = np.sqrt(theta2)
    small = theta < 1e-4
    safe = np.where(small, 1.0, theta)
    a = np.where(small, 1 - theta2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - theta2 / 24, (1 - np.cos(safe)) / safe**2)
    k = np.zeros((*r.shape[:-1], 3, 3))
    k[..., 0, 1], k[..., 0, 2], k[..., 1, 2] = -r[..., 2], r[..., 1], -r[..., 0]
    k[..., 1, 0], k[..., 2, 0], k[..., 2, 1] = r[..., 2], -r[..., 1], r[..., 0]
    return np.eye(3) + a[..., None, None] * k + b[..., None, None] * (k @ k)


def matrix_to_rotvec(matrix: Float[np.ndarray, "... 3 3"]) -> Float[np.ndarray, "... 3"]:
    """Rotation matrices -> rotation vectors in [0, pi]."""
    q = matrix_to_quaternion(matrix)
    q = np.where(q[..., :1] < 0, -q, q)
    s = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(s, q[..., :1])
    return np.where(s > 1e-9, angle / np.maximum(s, 1e-12), 2.0) * q[..., 1:]


def matrix_to_quaternion(matrix: Float[np.ndarray, "... 3 3"]) -> Float[np.ndarray, "... 4"]:
    """Rotation matrices -> unit quaternions ``wxyz`` (sign is arbitrary)."""
    m = np.asarray(matrix, np.float64)
    t = np.stack(
        [
            1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2],
            1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2],
        ],
        -1,
    )
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = np.stack(
        [
            np.stack([t[..., 0], a, b, c], -1),
            np.stack([a, t[..., 1], d, e], -1),
            np.stack([b, d, t[..., 2], f], -1),
            np.stack([c, e, f, t[..., 3]], -1),
        ],
        -2,
    )
    best = t.argmax(-1)[..., None, None]
    q = np.take_along_axis(candidates, np.broadcast_to(best, (*best.shape[:-1], 4)), -2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def quaternion_to_matrix(quaternion: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "... 3 3"]:
    """Quaternions ``wxyz`` (any norm) -> rotation matrices."""
    q = np.asarray(quaternion, np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def project(points: Float[np.ndarray, "... 3"], camera: Camera) -> Float[np.ndarray, "... 2"]:
    """Camera-frame points (metres) -> image points (pixels)."""
    z = points[..., 2]
    return np.stack([camera.focal * points[..., 0] / z + camera.cx, camera.focal * points[..., 1] / z + camera.cy], -1)


def unproject(
    pixels: Float[np.ndarray, "... 2"], depth: Float[np.ndarray, ...], camera: Camera
) -> Float[np.ndarray, "... 3"]:
    """Image points (pixels) at ``depth`` (metres along z) -> camera-frame points."""
    x = (pixels[..., 0] - camera.cx) / camera.focal * depth
    y = (pixels[..., 1] - camera.cy) / camera.focal * depth
    return np.stack([x, y, depth], -1)


def similarity(
    source: Float[np.ndarray, "n d"], target: Float[np.ndarray, "n d"], weights: Float[np.ndarray, "n"] | None = None
) -> tuple[float, Float[np.ndarray, "d d"], Float[np.ndarray, "d"]]:
    """Least-squares scale, rotation and translation with ``target ~ s * source @ r.T + t`` (Umeyama, 1991)."""
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    mean_source, mean_target = w @ source, w @ target
    a, b = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd((a * w[:, None]).T @ b)
    sign = np.ones(source.shape[1])
    sign[-1] = np.sign(np.linalg.det(u @ vt))
    r = (u @ np.diag(sign) @ vt).T
    s = float((singular * sign).sum() / (w @ (a * a).sum(1)))
    return s, r, mean_target - s * r @ mean_source
