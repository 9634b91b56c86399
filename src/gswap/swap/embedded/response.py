"""How a reading's error depends on what is shown: regression over a few frames, asked for all of them.

An additive Gaussian process (Rasmussen & Williams 2006, ch. 2): the error is a constant, plus a smooth curve over every
driver (the signal itself, the mouth's gap, the head's turn), plus an offset per photo, plus what changes slowly with
time. With few or noisy readings it falls back to no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

CURVE, OFFSET, DRIFT, CONSTANT = 1.0, 0.5, 0.5, 1.0
"""Variances of the parts, relative to that of the errors."""
BEND = 0.7
"""Length over which a curve bends, in standard deviations of its driver."""
DRIFT_FRAMES = 6.0
"""Length over which errors drift, frames."""


@dataclass(frozen=True)
class Drivers:
    """What an error may depend on, for every frame."""

    curves: Float[np.ndarray, "t k"]
    """Signals; the error is a smooth function of each."""
    shares: Float[np.ndarray, "t p"]
    """Weights of the photos that show the part."""
    clock: Float[np.ndarray, "t"]
    """Time, frames; far apart across a cut."""

    @classmethod
    def of(
        cls,
        curves: Sequence[Float[np.ndarray, "t"]],
        shares: Float[np.ndarray, "t p"],
        clock: Float[np.ndarray, "t"],
    ) -> Drivers:
        """From single signals; NaN counts as the middle."""
        table = np.stack(curves, 1)
        middle, spread = np.nanmedian(table, 0), np.nanstd(table, 0)
        return cls(np.nan_to_num((table - middle) / np.maximum(spread, 1e-6)), np.nan_to_num(shares), clock)

    def kernel(self, a: Int[np.ndarray, "n"], b: Int[np.ndarray, "m"]) -> Float[np.ndarray, "n m"]:
        """Covariance of the errors of two lists of frames, relative to their variance."""
        away = self.curves[a][:, None] - self.curves[b][None]
        curves = np.exp(-0.5 * (away / BEND) ** 2).mean(-1)
        lines = (self.curves[a] @ self.curves[b].T) / (2 * self.curves.shape[1])
        photos = self.shares[a] @ self.shares[b].T
        time = np.exp(-0.5 * ((self.clock[a][:, None] - self.clock[b][None]) / DRIFT_FRAMES) ** 2)
        return CONSTANT + CURVE * (curves + lines) + OFFSET * photos + DRIFT * time


def expected_error(
    drivers: Drivers, seen: Int[np.ndarray, "n"], errors: Float[np.ndarray, "n"], noise: float
) -> Float[np.ndarray, "t"]:
    """The error of every frame.

    Args:
        drivers: Of all frames.
        seen: Frames that were read.
        errors: Their errors.
        noise: Standard deviation of a reading.
    """
    everywhere = np.arange(len(drivers.curves))
    power = max(float(np.mean(errors**2)) - noise**2, 0.0)
    if power <= 0:
        return np.zeros(len(everywhere))
    covariance = drivers.kernel(seen, seen) + (noise**2 / power) * np.eye(len(seen))
    return drivers.kernel(everywhere, seen) @ np.linalg.solve(covariance, errors)
