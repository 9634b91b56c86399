"""Inverse covariances of errors that are partly common to many measurements: a diagonal less a few outer products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Precision:
    """``diag(weight) - common @ common.T``; never formed."""

    weight: Float[np.ndarray, "r"]
    common: Float[np.ndarray, "r m"]

    @staticmethod
    def of(weight: Float[np.ndarray, "r"], modes: Float[np.ndarray, "r m"]) -> Precision:
        """Of independent errors plus common ones (Woodbury's identity).

        Args:
            weight: Inverse variance of the independent errors.
            modes: The common errors, one standard deviation long.
        """
        weighted = weight[:, None] * modes
        inner = np.linalg.inv(np.eye(modes.shape[1]) + modes.T @ weighted)
        return Precision(weight, weighted @ np.linalg.cholesky(inner))

    def times(self, factor: float) -> Precision:
        """All variances divided by ``factor``."""
        return Precision(factor * self.weight, np.sqrt(factor) * self.common)

    def gram(self, columns: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "k k"]:
        """``columns.T @ precision @ columns``."""
        own = np.sqrt(self.weight)[:, None] * columns
        shared = self.common.T @ columns
        return own.T @ own - shared.T @ shared
