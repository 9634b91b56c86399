"""Whose face it is, by distances between embeddings (dlib's ResNet: same person < 0.6, the same photo 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class IdentityScore:
    """Mean distances over a clip. NaN where there was nothing to measure."""

    source: float
    """To the nearest photo of the source person; low = like the source."""
    target: float
    """To the target person in the same frame; high = unlike the target."""
    calibrated: float
    """1 = as near to the photos as they are to each other, 0 = as far as the target person is."""


def identity_distance(
    embedding: Float[np.ndarray, "... d"], photos: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "..."]:
    """Distance of an embedding to the nearest of ``n`` photos' embeddings."""
    return np.linalg.norm(embedding[..., None, :] - photos, axis=-1).min(-1)


def typical_distance(embeddings: Float[np.ndarray, "n d"]) -> float:
    """Median distance between different embeddings of one person; NaN for fewer than two."""
    first, second = np.triu_indices(len(embeddings), 1)
    if not len(first):
        return float("nan")
    return float(np.median(np.linalg.norm(embeddings[first] - embeddings[second], axis=1)))


def identity_score(
    result: Float[np.ndarray, "t d"], target: Float[np.ndarray, "t d"], photos: Float[np.ndarray, "n d"]
) -> IdentityScore:
    """Judge a swap by the embeddings of result and target frames and of the source photos.

    Rows with NaN (no face found) are left out. ``calibrated`` is (d_diff - d) / (d_diff - d_same) with d_same the
    photos' own median distance and d_diff the mean distance of the target's frames to the nearest photo; it is NaN
    for a single photo.
    """
    known = np.isfinite(result).all(1) & np.isfinite(target).all(1)
    if not known.any():
        return IdentityScore(float("nan"), float("nan"), float("nan"))
    source = float(identity_distance(result[known], photos).mean())
    other = float(np.linalg.norm(result[known] - target[known], axis=1).mean())
    different = float(identity_distance(target[known], photos).mean())
    same = typical_distance(photos)
    span = different - same
    return IdentityScore(source, other, (different - source) / span if span > 0 else float("nan"))
