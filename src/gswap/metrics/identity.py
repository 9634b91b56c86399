"""Whose face it is, by distances between embeddings (dlib's ResNet: same person < 0.6, the same photo 0)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


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


def calibrated_similarity(
    distances: Float[np.ndarray, "t"], people: Float[np.ndarray, "k"], photos: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "t"]:
    """1 = as near to the photos as they are to each other, 0 = as far as the target person is.

    (d_diff - d) / (d_diff - d_same) with d_same the photos' own median distance and d_diff the mean of ``people``; NaN
    for a single photo, whose spread is unknown.

    Args:
        distances: Of the result's frames to the nearest photo.
        people: Of the target's frames to the nearest photo; NaN where no face was found.
        photos: Embeddings of the source photos.
    """
    known = people[np.isfinite(people)]
    different = float(known.mean()) if len(known) else float("nan")
    span = different - typical_distance(photos)
    return (different - distances) / span if span > 0 else np.full(len(distances), np.nan)
