"""Temporal smoothing: Gaussian, within shots, lost images left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.types import Shot


def smooth_rows(
    values: Float[np.ndarray, "t n"], valid: Bool[np.ndarray, "t"], sigma: float, shots: Sequence[Shot]
) -> Float[np.ndarray, "t n"]:
    """Normalised convolution of each column within each shot; rows without valid neighbours are unchanged."""
    out = np.array(values, np.float64)
    for shot in shots:
        part = slice(shot.start, shot.stop)
        weight = valid[part].astype(np.float64)
        if not weight.any():
            continue
        total = gaussian_filter1d(weight, sigma, mode="constant")
        mean = gaussian_filter1d(values[part] * weight[:, None], sigma, axis=0, mode="constant")
        known = total > 1e-6
        rows = np.flatnonzero(known) + shot.start
        out[rows] = mean[known] / total[known, None]
    return out
