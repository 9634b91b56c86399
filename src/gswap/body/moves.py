"""What shape and actions cannot say: how far each image's landmarks lie from where the track puts them.

The body's 52 actions are a stranger's: a smile of this person has lips a millimetre elsewhere. Kept as moves of the
skin landmarks and spread over the surface, they put lips, lids and jaw where the picture has them, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu

from gswap.body.landmark_model import LIDS, SKIN_COUNT
from gswap.body.offsets import DATA_WEIGHT, REACH, distance_to, mesh_laplacian
from gswap.body.smooth import smooth_rows
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, Shot

LARGEST = 0.01
"""Metres: longer moves are cut to this; the detector was astray."""


@dataclass(frozen=True)
class Spread:
    """Moves of the skin landmarks -> moves of a body's vertices: linear, and the same for everybody."""

    vertices: Int[np.ndarray, "n"]
    weights: Float[np.ndarray, "n 468"]
    eyes: tuple[Int[np.ndarray, "r"], Int[np.ndarray, "l"]]
    """Vertices of the right and of the left eyeball, which move as a whole with their lids."""

    def __call__(self, moves: Float[np.ndarray, "468 3"], count: int) -> Float[np.ndarray, "v 3"]:
        """Moves of all ``count`` vertices."""
        out = np.zeros((count, 3))
        out[self.vertices] = self.weights @ np.asarray(moves, np.float32)
        for eye, lids in zip(self.eyes, LIDS, strict=True):
            out[eye] = np.mean(moves[lids], axis=0)
        return out


@cache
def landmark_spread(model: BodyModel) -> Spread:
    """The smoothest moves along the skin that honour the landmarks' (:mod:`gswap.body.offsets`), for a mean person."""
    points = np.asarray(model.rest(model.neutral_shape()).vertices, np.float64)
    skin = np.flatnonzero((model.part == 0) & (model.head_weight > 0.3))
    local = np.full(len(points), -1)
    local[skin] = np.arange(len(skin))
    faces = local[model.faces]
    laplacian = mesh_laplacian(points[skin], faces[(faces >= 0).all(1)])
    corners = local[model.landmark_triangles[:SKIN_COUNT]]
    usable = np.flatnonzero((corners >= 0).all(1))
    share = model.landmark_barycentric[usable]
    rows = np.repeat(np.arange(len(usable)), 3)
    select = sparse.csr_array((share.ravel(), (rows, corners[usable].ravel())), shape=(len(usable), len(skin)))
    fade = np.clip(distance_to(points[skin], select @ points[skin]) / REACH, 0, None) ** 4
    system = laplacian.T @ laplacian + sparse.diags_array(fade + 1e-6) + DATA_WEIGHT * (select.T @ select)
    weights = np.zeros((len(skin), SKIN_COUNT), np.float32)
    weights[:, usable] = splu(sparse.csc_matrix(system)).solve(DATA_WEIGHT * select.T.toarray())
    return Spread(skin, weights, (np.flatnonzero(model.part == 3), np.flatnonzero(model.part == 2)))


def follow_landmarks(
    track: BodyTrack,
    landmarks: Float[np.ndarray, "t 478 2"],
    trusted: Bool[np.ndarray, "t"],
    model: BodyModel,
    *,
    duplicate: Bool[np.ndarray, "t"] | None = None,
    shots: Sequence[Shot] = (),
    sigma: float = 0.0,
) -> BodyTrack:
    """The track with the moves that bring its landmarks to the given ones in the image plane.

    What is the same in all images (the person's own shape, a detector's habit) is left out: it is no motion.

    Args:
        track: Has no moves yet.
        landmarks: Full-image pixels.
        trusted: Images whose landmarks are believed; the others take the moves of their neighbours.
        model: The body.
        duplicate: Images that repeat the one before them move as it does.
        shots: Nothing is smoothed across a cut; empty = one shot.
        sigma: Frames, of a Gaussian over time, against the detector's noise.

    Raises:
        UsageError: Not one set of landmarks per image.
    """
    if landmarks.shape[:2] != (len(track), len(model.landmark_triangles)):
        raise UsageError(f"Expected landmarks of {len(track)} images, found an array of shape {landmarks.shape}.")
    known = trusted & track.valid & np.isfinite(landmarks[..., :2]).all((1, 2))
    moves = np.zeros((len(track), SKIN_COUNT, 3))
    if not known.any():
        return replace(track, moves=moves.astype(np.float32))
    rest, turns = model.rest(track.shape), rotvec_to_matrix(track.rotation)
    for t in np.flatnonzero(known):
        corners = model.pose(track, rest, int(t)).vertices[model.landmark_triangles[:SKIN_COUNT]]
        points = (corners * model.landmark_barycentric[:SKIN_COUNT, :, None]).sum(1)
        depth = points[:, 2:] / track.focal[t]
        seen = points[:, :2] / depth + track.sizes[t] / 2
        moves[t] = ((landmarks[t, :SKIN_COUNT, :2] - seen) * depth) @ turns[t][:2]
    moves[known] -= np.median(moves[known], axis=0)
    moves *= np.minimum(1, LARGEST / np.maximum(np.linalg.norm(moves, axis=-1, keepdims=True), 1e-9))
    first = _first_of(np.zeros(len(track), bool) if duplicate is None else duplicate, shots)
    moves = moves[first]
    flat = _filled(moves.reshape(len(track), -1), known[first], sigma, shots)
    return replace(track, moves=flat.reshape(moves.shape)[first].astype(np.float32))


def _first_of(duplicate: Bool[np.ndarray, "t"], shots: Sequence[Shot]) -> Int[np.ndarray, "t"]:
    """For every image the one that it repeats."""
    starts = {shot.start for shot in shots} | {0}
    new = ~np.asarray(duplicate) | np.isin(np.arange(len(duplicate)), list(starts))
    return np.maximum.accumulate(np.where(new, np.arange(len(duplicate)), 0))


def _filled(
    rows: Float[np.ndarray, "t n"], known: Bool[np.ndarray, "t"], sigma: float, shots: Sequence[Shot]
) -> Float[np.ndarray, "t n"]:
    """Smoothed within shots; an unknown image takes the moves of the nearest known one of its shot."""
    smooth = smooth_rows(rows, known, sigma, shots or (Shot(0, len(rows)),)) if sigma > 0 else rows
    out = np.zeros_like(rows)
    for shot in shots or (Shot(0, len(rows)),):
        inside = np.flatnonzero(known[shot.start : shot.stop]) + shot.start
        if len(inside):
            every = np.arange(shot.start, shot.stop)
            middles = (inside[1:] + inside[:-1]) / 2
            out[every] = smooth[inside[np.searchsorted(middles, every)]]
    return out
