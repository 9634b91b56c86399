"""The measures of Table II (arXiv 2603.23168, Sec. IV-B), on what networks or trackers read off the pictures.

The functions do not know who made the embeddings and parameters. Numbers from different readers are different measures:
whoever shows them must name the reader.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

LEAST_NORM = 1e-12


def cosine_similarity(a: Float[np.ndarray, "... d"], b: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "..."]:
    """Cosine of the angle between vectors, in [-1, 1]; NaN where one of them is zero or NaN."""
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(length > LEAST_NORM, (a * b).sum(-1) / length, np.nan)


def csim(result: Float[np.ndarray, "t d"], photos: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "t"]:
    """CSIM per frame: mean cosine similarity with the source photos.

    The paper compares "two images"; with several photos every one of them counts, so that nothing is selected.
    """
    return cosine_similarity(result[:, None], photos[None]).mean(1)


def parameter_distance(result: Float[np.ndarray, "t k"], driving: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t"]:
    """Mean L1 distance of parameters per frame: AED for expression (with eyelids and jaw), APD for pose."""
    return np.abs(result - driving).mean(-1)


def consistency(previous: Float[np.ndarray, "t d"], following: Float[np.ndarray, "t d"]) -> Float[np.ndarray, "t"]:
    """Frame consistency: cosine similarity of the embeddings of frames that follow each other."""
    return cosine_similarity(previous, following)
