"""What hair, skin, clothes and background look like in one clip: smoothed Lab histograms, looked up per pixel.

Counts of all sampled frames are pooled, so the models do not flicker; a histogram needs no random start, adapts to any
number of colours, and a frame costs one table look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter

from gswap.foundation.imaging import blur
from gswap.foundation.types import RgbImage

HAIR, SKIN, CLOTHES, BACKGROUND = range(4)
MATERIALS = 4

_LAB_BINS = (32, 64, 64)
_LAB_SHIFTS = (3, 2, 2)
_SPREAD = ((3.5, 1.2, 1.2), (1.5, 1.2, 1.2), (1.5, 1.2, 1.2), (1.5, 1.2, 1.2))
"""Sigma of the histograms' smoothing, in bins: 12 levels of L, 5 of a and b. Hair shines: its lightness varies more."""
_GAMUT = 20000.0
"""Bins that real colours can reach: an unknown colour has density 1/_GAMUT."""
_UNKNOWN = np.array([0.08, 0.02, 0.4, 0.08], np.float32)
"""Share of each material's pixels that may have any colour: clothes are the least predictable."""
_NOISE_SIGMA = 0.7
"""Pixels: removes sensor and compression noise before the look-up."""


def lab_bins(image: RgbImage) -> Int[np.ndarray, "h w"]:
    """Index of every pixel's Lab bin."""
    lab = cv2.cvtColor(blur(image, _NOISE_SIGMA), cv2.COLOR_RGB2LAB).astype(np.int32)
    index = lab[..., 0] >> _LAB_SHIFTS[0]
    for channel in (1, 2):
        index = index * _LAB_BINS[channel] + (lab[..., channel] >> _LAB_SHIFTS[channel])
    return index


@dataclass
class ColorCounts:
    """Pooled pixel counts per material and Lab bin."""

    counts: Float[np.ndarray, "4 bins"] = field(
        default_factory=lambda: np.zeros((MATERIALS, int(np.prod(_LAB_BINS))), np.float64)
    )

    def add(self, material: int, bins: Int[np.ndarray, "h w"], weight: np.ndarray, total: float = 1.0) -> None:
        """Add the pixels of one image, weighted per pixel and scaled so that they count ``total`` together."""
        sum_ = float(weight.sum())
        if sum_ > 0:
            chosen = weight > 0
            self.counts[material] += np.bincount(
                bins[chosen], weight[chosen].astype(np.float64) * (total / sum_), self.counts.shape[1]
            )

    def densities(self) -> Float[np.ndarray, "bins 4"]:
        """Density of every bin under each material, as a multiple of the density of an unknown colour."""
        table = np.empty((self.counts.shape[1], MATERIALS), np.float32)
        for k in range(MATERIALS):
            histogram = gaussian_filter(self.counts[k].reshape(_LAB_BINS), _SPREAD[k], mode="nearest").ravel()
            mass = histogram.sum()
            known = histogram / mass * _GAMUT if mass > 0 else np.ones_like(histogram)
            table[:, k] = _UNKNOWN[k] + (1 - _UNKNOWN[k]) * known
        return table
