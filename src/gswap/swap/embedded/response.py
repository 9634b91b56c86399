"""How a reading's error depends on what is shown: regression over a few frames, asked for all of them.

An additive Gaussian process (Rasmussen & Williams 2006, ch. 2): the error is a constant, plus a smooth curve over every
driver (the signal itself, the mouth's gap, the head's turn), plus an offset per photo, plus what changes slowly with
time. How much of it is mere scatter is what makes the errors likeliest (ibid., ch. 5); with few or noisy readings the
expected error is none.
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
SCATTER = (0.03, 0.1, 0.3)
"""Variances of what no driver explains that are tried, relative to the parts'."""
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
    power = float(np.mean(errors**2))
    if power <= noise**2:
        return np.zeros(len(everywhere))
    explained = drivers.kernel(seen, seen)
    least = noise**2 / (power - noise**2)
    scatter = max((_evidence(explained, errors, s), s) for s in (*(s for s in SCATTER if s > least), least))[1]
    return drivers.kernel(everywhere, seen) @ np.linalg.solve(explained + scatter * np.eye(len(seen)), errors)


def _evidence(explained: Float[np.ndarray, "n n"], errors: Float[np.ndarray, "n"], scatter: float) -> float:
    """Log marginal likelihood (eq. 5.8 there, the overall variance at its best), up to a constant."""
    covariance = explained + scatter * np.eye(len(errors))
    variance = float(errors @ np.linalg.solve(covariance, errors)) / len(errors)
    return -0.5 * (len(errors) * np.log(variance) + np.linalg.slogdet(covariance)[1])
