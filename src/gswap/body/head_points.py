"""Points of the head that no face landmark shows: ears, skull, and where jaw and face really are.

Perception finds them in the pixels (``perception.head_points``); here is where they lie on the body, how far off they
are usually found, and what they tell a fit. A found point is where the point is to be expected, given the picture, so
its error is that of an expectation: part of it is the same in all images of a person (somebody's ears under hair are
always missed by the same amount), part changes from image to image. Both are kept as modes one standard deviation long
and a variance of each point's own, in shares of the eye distance along axes that roll with the head; the coefficients
of the person's modes are unknowns of a fit.
``scripts/make_head_points.py`` studies them on people whose truth is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gswap.body.precision import Precision

NO_EAR, RIGHT_EAR, LEFT_EAR = 0, 1, 2
LARGEST_TURN = 0.7
"""Radians beyond which turning an ear away makes it no worse."""


@dataclass(frozen=True)
class HeadPoints:
    """Where ``p`` points lie on a body's rest mesh, and how they are missed."""

    triangles: Int[np.ndarray, "p 3"]
    barycentric: Float[np.ndarray, "p 3"]
    landmark: Int[np.ndarray, "p"]
    """The face landmark that a point is, -1: none; it moves with the landmark's free offset."""
    ear: Int[np.ndarray, "p"]
    """Which ear a point belongs to."""
    person: Float[np.ndarray, "k p 2"]
    """Modes of the error that all images of a person share; unknowns of a fit."""
    frame: Float[np.ndarray, "m p 2"]
    """Modes of the error that changes."""
    variance: Float[np.ndarray, "2 p"]
    """What is left of each, per coordinate."""
    hidden: float
    """How many times larger the standard deviation of an ear's error is when it cannot be seen."""
    turned: float
    """Growth of the logarithm of an ear's standard deviation per radian that the head turns it away."""

    def __len__(self) -> int:
        return len(self.ear)

    def covariance(self, yaw: float, seen: Float[np.ndarray, "2"], repeats: float) -> Float[np.ndarray, "2p 2p"]:
        """Covariance of one image's errors without the person's modes, when ``repeats`` such images are looked at.

        What is common and in no mode is counted once for all of them: it is as many times larger in each.

        Args:
            yaw: Of the head, radians.
            seen: How much of the right and the left ear can be seen, 0 to 1.
            repeats: Number of images of the person.
        """
        scale = self.scale(yaw, seen)
        return self._even_covariance(repeats) * scale[:, None] * scale

    def scale(self, yaw: float, seen: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2p"]:
        """How many times larger each coordinate's standard deviation is than that of an ear in plain view."""
        share = np.concatenate([[1.0], np.clip(seen, 0, 1)])[self.ear]
        away = np.clip(np.array([0.0, -yaw, yaw]), -LARGEST_TURN, LARGEST_TURN)[self.ear]
        return np.repeat((share + (1 - share) * self.hidden) * np.exp(self.turned * away), 2)

    def even_precision(self, repeats: float) -> Precision:
        """Inverse covariance with all scales 1; computed once."""
        if repeats not in self._precisions:
            self._precisions[repeats] = Precision.of(1 / self._own_variance(repeats), self._modes.T)
        return self._precisions[repeats]

    def _even_covariance(self, repeats: float) -> Float[np.ndarray, "2p 2p"]:
        return np.diag(self._own_variance(repeats)) + self._modes.T @ self._modes

    def _own_variance(self, repeats: float) -> Float[np.ndarray, "2p"]:
        return np.repeat(repeats * self.variance[0] + self.variance[1], 2)

    @property
    def _modes(self) -> Float[np.ndarray, "m 2p"]:
        return self.frame.reshape(-1, 2 * len(self))

    @cached_property
    def _precisions(self) -> dict[float, Precision]:
        return {}


def read_head_points(arrays: Mapping[str, np.ndarray]) -> HeadPoints:
    """The shipped arrays."""
    numbers = {name: arrays[name].astype(np.float64) for name in ("barycentric", "person", "frame", "variance")}
    hidden, turned = map(float, arrays["scales"])
    whole = {name: arrays[name].astype(np.int64) for name in ("triangles", "landmark", "ear")}
    return HeadPoints(**whole, **numbers, hidden=hidden, turned=turned)
