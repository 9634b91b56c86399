"""Unrest that motion does not explain, relative to the clip that the result follows."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.metrics.picture import Box

NOISE_LEVELS = 0.5
"""Added to both sides of the ratio (8-bit levels): two still clips give 1."""


def motion_residual(
    previous: UInt8[np.ndarray, "h w 3"], following: UInt8[np.ndarray, "h w 3"], box: Box | None = None
) -> float:
    """Mean absolute difference, in 8-bit levels, between a frame and the one before it moved along its own flow.

    Farnebäck's dense flow from ``following`` back to ``previous``; measured inside ``box``.
    """
    if box is not None:
        previous, following = (np.ascontiguousarray(image[box.slices]) for image in (previous, following))
    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (previous, following))
    start = np.zeros((*a.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(b, a, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
    moved = cv2.remap(previous, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(following.astype(np.float32) - moved.astype(np.float32)).mean())


def flicker_ratio(
    result: float | Float[np.ndarray, "t"], target: float | Float[np.ndarray, "t"]
) -> float | Float[np.ndarray, "t"]:
    """Flicker of a result by its residuals and the target's: 1 = as calm as the target."""
    return (result + NOISE_LEVELS) / (target + NOISE_LEVELS)
