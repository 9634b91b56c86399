"""Bring the head into the scene's light without losing the person's complexion."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.imaging import blur
from gswap.swap.config import RelightConfig
from gswap.swap.embedded.regions import LOG_FLOOR, luminance

STEP = 4
"""Shading is computed at this fraction of the resolution."""
FADE = 0.10
"""Gaussian that fades the shading out of the face, face widths."""
SUPPORT = 0.03
"""Skin coverage below which shading falls to zero."""


def adopted_gain(
    target: Float[np.ndarray, "3"], source: Float[np.ndarray, "3"], cfg: RelightConfig
) -> Float[np.ndarray, "3"]:
    """Log gain of the head: part of the exposure difference, and part of the tint difference.

    Args:
        target: Mean log skin colour of the target.
        source: Mean log skin colour of the photos.
        cfg: Shares.
    """
    difference = target - source
    exposure = difference.mean()
    return cfg.exposure * exposure + cfg.tint * (difference - exposure)


def shading(
    image: Float[np.ndarray, "h w 3"], skin: Bool[np.ndarray, "h w"], face_width: float, cfg: RelightConfig
) -> Float[np.ndarray, "h4 w4"]:
    """Low-frequency log luminance of the skin about its mean, at a quarter of the resolution, fading out beyond it."""
    size = (image.shape[1] // STEP, image.shape[0] // STEP)
    weight = skin.astype(np.float32)
    small = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    light = cv2.resize(luminance(image) * weight, size, interpolation=cv2.INTER_AREA) / np.maximum(small, 1e-3)
    logs = np.log(light + LOG_FLOOR) * (small > 0.05)
    mean = float((logs * small).sum() / max(float(small.sum()), 1.0))
    sigma = cfg.shading_scale * face_width / STEP
    return blur((logs - mean) * small, sigma) / (blur(small, sigma) + SUPPORT)


def relight(
    colour: Float[np.ndarray, "h w 3"],
    gain: Float[np.ndarray, "3"],
    difference: Float[np.ndarray, "h4 w4"],
    face: Float[np.ndarray, "h w"],
    face_width: float,
    cfg: RelightConfig,
) -> Float[np.ndarray, "h w 3"]:
    """Apply the gain everywhere and the shading difference mostly on the face (in log RGB).

    Args:
        colour: Head, float levels.
        gain: Log gain per channel.
        difference: Target's shading minus the head's.
        face: Face area, 1 inside.
        face_width: Pixels.
        cfg: Shares.
    """
    h, w = colour.shape[:2]
    reach = blur(
        cv2.resize(face, (difference.shape[1], difference.shape[0]), interpolation=cv2.INTER_AREA),
        FADE * face_width / STEP,
    )
    local = cfg.shading * difference * (cfg.shading_outside + (1 - cfg.shading_outside) * reach)
    factor = cv2.resize(np.exp(local).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    lit = (colour + np.float32(LOG_FLOOR)) * (factor[..., None] * np.exp(gain).astype(np.float32)) - np.float32(
        LOG_FLOOR
    )
    return np.clip(lit, 0, 255)
