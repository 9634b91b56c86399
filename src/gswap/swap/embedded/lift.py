"""Detected landmarks at fitted depth: what the picture shows, placed in the frame of the head bone.

The fit gives pose and depth only; the detail in the image plane is the detector's. Lips and lids are therefore exact
however coarse the body model is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.geometry import project, rotvec_to_matrix, unproject
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, Camera, FaceTrack, Shot, Window

Points = Float[np.ndarray, "t 478 3"]


@dataclass(frozen=True)
class Lifted:
    """One person's face over ``t`` images, in the images and in the head frame."""

    image: Float[np.ndarray, "t 478 2"]
    """Landmarks in pixels of the images that ``cameras`` describe; NaN where invalid."""
    local: Points
    """Landmarks relative to the head joint, head frame, metres; NaN where invalid."""
    expression: Points
    """What the fitted facial actions move the landmarks by, head frame, metres."""
    strength: Float[np.ndarray, "t"]
    """Sum of the facial actions."""
    rotation: Float[np.ndarray, "t 3 3"]
    translation: Float[np.ndarray, "t 3"]
    cameras: tuple[Camera, ...]
    valid: Bool[np.ndarray, "t"]


def window_cameras(body: BodyTrack, window: Window) -> tuple[Camera, ...]:
    """Cameras of a clip's work images."""
    return tuple(window.camera(t, float(body.focal[t]), *map(int, body.sizes[t])) for t in range(len(body)))


def photo_cameras(body: BodyTrack) -> tuple[Camera, ...]:
    """Cameras of whole photos."""
    sizes = [(int(w), int(h)) for w, h in body.sizes]
    return tuple(Camera(float(f), w / 2, h / 2, w, h) for f, (w, h) in zip(body.focal, sizes, strict=True))


def lift(faces: FaceTrack, body: BodyTrack, model: BodyModel, window: Window | None = None) -> Lifted:
    """Unproject every detected landmark at the depth of the fitted mesh, and express it in the head frame.

    Args:
        faces: Landmarks in full-image pixels.
        body: The fit of the same images.
        model: The body model of the fit.
        window: The clip's work window; ``None`` for photos.

    Returns:
        Landmarks, poses and cameras of the work images (of the whole photos without a window).
    """
    cameras = photo_cameras(body) if window is None else window_cameras(body, window)
    count = len(body)
    valid = np.asarray(body.valid) & np.isfinite(faces.landmarks).all((1, 2))
    image = np.full((count, 478, 2), np.nan)
    local = np.full((count, 478, 3), np.nan)
    expression = np.zeros((count, 478, 3))
    rotation = rotvec_to_matrix(body.rotation)
    translation = np.asarray(body.translation, np.float64)
    rest = model.rest(body.shape)
    relaxed = replace(body, actions=np.zeros_like(body.actions))
    first = leaders(np.asarray(faces.duplicate), valid_runs(valid, faces.shots))
    for t in np.flatnonzero(valid):
        points = faces.landmarks[t] if window is None else window.to_work(int(t), faces.landmarks[first[t]])
        image[t] = points[:, :2]
        fitted = landmark_points(model, model.pose(body, rest, int(t)).vertices)
        local[t] = (unproject(image[t], fitted[:, 2], cameras[t]) - translation[t]) @ rotation[t]
        if window is None:  # only photos may be too few to find a neutral face among them
            calm = landmark_points(model, model.pose(relaxed, rest, int(t)).vertices)
            expression[t] = (fitted - calm) @ rotation[t]
    return Lifted(image, local, expression, body.actions.sum(1), rotation, translation, cameras, valid)


def landmark_points(model: BodyModel, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "478 3"]:
    """The model's points that correspond to the landmarks."""
    corners = vertices[model.landmark_triangles]
    return (corners * model.landmark_barycentric[..., None]).sum(1)


def smooth_in_shots(
    values: np.ndarray, valid: Bool[np.ndarray, "t"], shots: tuple[Shot, ...], sigma: float
) -> np.ndarray:
    """Gaussian over time that never crosses a cut nor a frame without the face; invalid frames stay as they are.

    Args:
        values: ``(t, ...)``.
        valid: Which frames take part.
        shots: The clip's shots; empty = one shot.
        sigma: Frames; 0 = unchanged.
    """
    out = np.array(values, np.float64, copy=True)
    if sigma <= 0:
        return out
    for start, stop in valid_runs(valid, shots):
        out[start:stop] = gaussian_filter1d(out[start:stop], sigma, axis=0, mode="nearest")
    return out


def valid_runs(valid: Bool[np.ndarray, "t"], shots: tuple[Shot, ...]) -> list[tuple[int, int]]:
    """Longest runs ``[start, stop)`` of valid frames within one shot."""
    runs: list[tuple[int, int]] = []
    for shot in shots or (Shot(0, len(valid)),):
        inside = np.flatnonzero(valid[shot.start : shot.stop]) + shot.start
        for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            if len(run):
                runs.append((int(run[0]), int(run[-1]) + 1))
    return runs


def leaders(duplicate: Bool[np.ndarray, "t"], runs: list[tuple[int, int]]) -> Int[np.ndarray, "t"]:
    """For every frame the frame that it repeats (itself where it is new); repeats stay within a run."""
    out = np.arange(len(duplicate))
    for start, stop in runs:
        for t in range(start + 1, stop):
            if duplicate[t]:
                out[t] = out[t - 1]
    return out


def to_image(
    points: Float[np.ndarray, "n 3"],
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
    camera: Camera,
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"]]:
    """Head-frame points -> pixels and depths."""
    placed = points @ rotation.T + translation
    return project(placed, camera), placed[..., 2]
