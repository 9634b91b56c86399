"""How far each pixel of I_gen can be trusted by the fit that learns from it."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import blur

GUESS = 0.3
"""Confidence of pixels that no photo shows: borrowed mouths and lids, filled neck."""
ANGLE_SCALE = 40.0
"""Degrees between photo and frame at which a pixel seen at a grazing angle keeps exp(-1) of its confidence."""
STRETCH_ONSET, STRETCH_END = 0.6, 0.2
"""Photo pixels per output pixel (along the worse axis) from which, and down to which, confidence falls to the guess."""


def sampling_density(mapping: Float[np.ndarray, "h2 w2 2"]) -> Float[np.ndarray, "h2 w2"]:
    """Smallest singular value of a half-resolution map's Jacobian: photo pixels per output pixel, smoothed."""
    x, y = cv2.split(np.ascontiguousarray(mapping))
    (xx, xy), (yx, yy) = ((_slope(c, 1), _slope(c, 0)) for c in (x, y))
    trace = xx**2 + xy**2 + yx**2 + yy**2
    det = xx * yy - yx * xy
    low = (trace - np.sqrt(np.maximum(trace**2 - 4 * det**2, 0))) / 2
    return blur(np.sqrt(np.maximum(low, 0)).astype(np.float32), 1.5)


def _slope(values: Float[np.ndarray, "h2 w2"], axis: int) -> Float[np.ndarray, "h2 w2"]:
    """Change along an axis from one pixel to the next, per full-resolution pixel."""
    return np.diff(values, axis=axis, append=values.take([-1], axis)) / 2


def confidence(
    alpha: Float[np.ndarray, "h w"],
    density: Float[np.ndarray, "h2 w2"],
    cosine: Float[np.ndarray, "h2 w2"],
    angle: float,
    guessed: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"]:
    """Confidence in [0, 1].

    Args:
        alpha: Head matte; outside it the plate is as true as it gets, 1.
        density: Photo pixels per output pixel, relative to the photo's scale.
        cosine: How squarely the surface faces the camera.
        angle: Degrees between the head's photo and the frame.
        guessed: Where the colour comes from no photo, 0 to 1.
    """
    stretch = np.clip((density - STRETCH_END) / (STRETCH_ONSET - STRETCH_END), 0, 1)
    grazing = np.clip(1.2 - cosine, 0, 1)
    trust = (GUESS + (1 - GUESS) * stretch) * np.exp(-((angle / ANGLE_SCALE) ** 2) * grazing)
    full = cv2.resize(trust.astype(np.float32), (alpha.shape[1], alpha.shape[0]), interpolation=cv2.INTER_LINEAR)
    shown = 1 - alpha * (1 - full)
    return np.minimum(shown, 1 - (1 - GUESS) * guessed)
