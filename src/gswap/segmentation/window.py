"""The rectangle of the frame in which the head is edited: one size per clip, standing still where it can."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.errors import InputError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP, face_height
from gswap.foundation.types import BodyTrack, FaceTrack, Shot, Window
from gswap.segmentation.config import WindowConfig


@dataclass(frozen=True)
class _Axis:
    """The part of one image axis that each frame needs, and how long that axis is."""

    low: Float[np.ndarray, " t"]
    high: Float[np.ndarray, " t"]
    length: int


def choose_window(
    faces: FaceTrack, body: BodyTrack | None, size: tuple[int, int], cfg: WindowConfig | None = None
) -> Window:
    """Choose the clip's window.

    Every frame needs the rectangle around its face that ``cfg`` describes. A shot whose head travels little gets the
    union of these and stands still, so that its background stands still in the work images too; otherwise the window
    follows the head smoothly. Frames without a face take the place between their neighbours.

    Args:
        faces: Landmarks of the person, full-frame pixels.
        body: The fitted body; makes the size independent of nodding, and bridges frames without landmarks.
        size: Width and height of the frame.
        cfg: Margins and thresholds.

    Returns:
        A window that never leaves the frame, with even offsets and even sides.

    Raises:
        InputError: No frame shows the face.
    """
    cfg = cfg or WindowConfig()
    centre, height = _face_centres(faces, body)
    width_px, height_px = size
    axes = (
        _Axis(
            np.clip(centre[:, 0] - cfg.beside * height, 0, width_px),
            np.clip(centre[:, 0] + cfg.beside * height, 0, width_px),
            width_px,
        ),
        _Axis(
            np.clip(centre[:, 1] - cfg.above * height, 0, height_px),
            np.clip(centre[:, 1] + cfg.below * height, 0, height_px),
            height_px,
        ),
    )
    shots = faces.shots or (Shot(0, len(faces)),)
    still = [all(_stands_still(axis, shot, cfg) for axis in axes) for shot in shots]
    sides = [_side(axis, shots, still, cfg) for axis in axes]
    x, y = (_offsets(axis, side, shots, still, cfg) for axis, side in zip(axes, sides, strict=True))
    scale = min(1.0, cfg.max_side / max(sides))
    return Window(x, y, sides[0], sides[1], scale)


def _face_centres(faces: FaceTrack, body: BodyTrack | None) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, " t"]]:
    """Centre and height of the face in every frame, full-frame pixels; gaps are interpolated."""
    points = faces.landmarks
    seen = faces.valid & np.isfinite(points[:, CHIN, 0])
    if not seen.any():
        raise InputError("Expected a face in the clip, found none.", hint="Choose a clip that shows the person's face.")
    centre = (points[:, CHIN, :2] + points[:, FOREHEAD_TOP, :2]) / 2
    height = face_height(points)
    if body is not None and (seen & body.valid).any():
        centre, height = _from_body(centre, height, seen, body)
        seen = seen | body.valid
    frames = np.arange(len(faces))
    known = frames[seen]
    bridged = np.stack([np.interp(frames, known, centre[seen, k]) for k in range(2)], 1)
    return bridged, np.interp(frames, known, height[seen])


def _from_body(centre, height, seen, body: BodyTrack):
    """Face height from the distance (nodding does not change it), and centres of frames that only the body knows."""
    both = seen & body.valid
    rotation = rotvec_to_matrix(body.rotation)
    pixels_per_metre = body.focal / np.maximum(body.translation[:, 2], 1e-6)
    principal = body.sizes / 2
    metric_height = float(np.percentile((height / pixels_per_metre)[both], 95))
    depth = body.translation[both, 2:]
    on_ray = np.concatenate([(centre[both] - principal[both]) / body.focal[both, None] * depth, depth], 1)
    local = np.median(np.einsum("tji,tj->ti", rotation[both], on_ray - body.translation[both]), 0)
    camera = np.einsum("tij,j->ti", rotation, local) + body.translation
    projected = camera[:, :2] / np.maximum(camera[:, 2:], 1e-6) * body.focal[:, None] + principal
    return (
        np.where(seen[:, None], centre, projected),
        np.where(body.valid, metric_height * pixels_per_metre, height),
    )


def _span(axis: _Axis, shot: Shot) -> float:
    return float(axis.high[shot.start : shot.stop].max() - axis.low[shot.start : shot.stop].min())


def _largest(axis: _Axis, shot: Shot) -> float:
    return float((axis.high - axis.low)[shot.start : shot.stop].max())


def _stands_still(axis: _Axis, shot: Shot, cfg: WindowConfig) -> bool:
    return _span(axis, shot) <= cfg.static_growth * _largest(axis, shot)


def _side(axis: _Axis, shots: tuple[Shot, ...], still: list[bool], cfg: WindowConfig) -> int:
    """Even length of the window along this axis, at most the frame's."""
    need = max(_span(axis, s) if fixed else _largest(axis, s) for s, fixed in zip(shots, still, strict=True))
    whole = axis.length // 2 * 2
    # Two pixels more: both ends are rounded outwards to even numbers.
    return whole if need >= cfg.fill_frame * axis.length else min(2 * math.ceil(need / 2) + 2, whole)


def _offsets(
    axis: _Axis, side: int, shots: tuple[Shot, ...], still: list[bool], cfg: WindowConfig
) -> Int[np.ndarray, " t"]:
    """Even offset of the window along this axis in every frame."""
    start = np.zeros(len(axis.low))
    for shot, fixed in zip(shots, still, strict=True):
        part = slice(shot.start, shot.stop)
        low, high = axis.low[part], axis.high[part]
        if fixed:
            start[part] = (low.min() + high.max() - side) / 2
            continue
        middle = gaussian_filter1d((low + high) / 2, cfg.smoothing, mode="nearest")
        start[part] = np.minimum(np.maximum(middle - side / 2, high - side), low)
    even = 2 * np.floor(start / 2).astype(np.int64)
    return np.clip(even, 0, (axis.length - side) // 2 * 2)
