"""Bring the head into the scene's light without losing the person's complexion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur_wide, fill_polygon
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, LIPS_OUTER
from gswap.swap.config import RelightConfig
from gswap.swap.embedded.regions import LOG_FLOOR, Points2, log_luminance, mean_log, skin_mask

STEP = 4
"""Shading is computed at this fraction of the resolution."""
FADE = 0.10
"""Gaussian that fades the shading out of the face, face widths."""
WHITE_PIXELS = 8
"""Fewest pixels of the eyes' white that are believed."""
LIT = 80
"""Percentile of the skin's brightness that stands for what a hard light falls on."""
SUPPORT = 0.03
"""Skin coverage below which shading falls to zero."""


@dataclass(frozen=True)
class Complexion:
    """What a face tells about its skin and its light."""

    skin: Float[np.ndarray, "3"]
    """Mean log colour of the skin."""
    white: Float[np.ndarray, "3"] | None
    """Log colour of the eyes' white, ``None`` where too little of it is seen."""
    lips: Float[np.ndarray, "3"]
    """Mean log colour of the lips."""

    @property
    def eye_white(self) -> float | None:
        """Log luminance of the eyes' white."""
        return None if self.white is None else log_luminance(self.white)


def measure_complexion(image: UInt8[np.ndarray, "h w 3"], points: Points2) -> Complexion:
    """Skin and eye whites of one picture."""
    h, w = image.shape[:2]
    white = np.zeros((h, w), bool)
    for contour, iris in ((EYE_RIGHT, IRIS_RIGHT), (EYE_LEFT, IRIS_LEFT)):
        opening = fill_polygon(points[list(contour)], h, w) > 0.9
        centre = points[iris[0]]
        radius = np.linalg.norm(points[list(iris[1:])] - centre, axis=1).mean()
        y, x = np.nonzero(opening)
        keep = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) > 1.15 * radius
        white[y[keep], x[keep]] = True
    seen = image[white].astype(np.float32)
    eye_white = np.log(np.percentile(seen, 70, axis=0) + LOG_FLOOR) if len(seen) >= WHITE_PIXELS else None
    lips = fill_polygon(points[list(LIPS_OUTER)], h, w) - fill_polygon(points[list(LIPS_INNER)], h, w)
    return Complexion(mean_log(image, skin_mask(points, h, w)), eye_white, mean_log(image, lips > 0.9))


def common_complexion(looks: Sequence[Complexion]) -> Complexion:
    """One face's from several pictures in one light (frames, or photos made equal in colour)."""
    whites = [look.white for look in looks if look.white is not None]
    return Complexion(
        np.mean([look.skin for look in looks], axis=0),
        np.median(whites, axis=0) if whites else None,
        np.mean([look.lips for look in looks], axis=0),
    )


def adopted_gain(target: Complexion, source: Complexion, cfg: RelightConfig) -> Float[np.ndarray, "3"]:
    """Log gain of the head: part of the exposure difference, and part of the tint difference.

    A difference in skin may be one of light or one of people. Light changes the whites of the eyes too: of brightness
    only what both agree on counts as light, and of tint what both agree on is adopted almost whole (a yellowed photo,
    a warm lamp), the rest in part.

    Args:
        target: The target's face.
        source: The photos' face.
        cfg: Shares.
    """
    difference = target.skin - source.skin
    exposure = float(difference.mean())
    tint, share = difference - exposure, cfg.tint
    if target.white is not None and source.white is not None:
        exposure = _common(exposure, log_luminance(target.white) - log_luminance(source.white))
        of_whites = target.white - source.white
        agreed = float(tint @ (of_whites - of_whites.mean()) / max(float(tint @ tint), 1e-9))
        share += (cfg.tint_of_light - cfg.tint) * float(np.clip(agreed, 0, 1))
    return cfg.exposure * exposure + share * tint


def _common(a: float, b: float) -> float:
    """The smaller of two numbers of one sign, 0 when the signs differ."""
    return 0.0 if a * b <= 0 else float(np.sign(a)) * min(abs(a), abs(b))


def light_hardness(images: Sequence[tuple[UInt8[np.ndarray, "h w 3"], Points2]], cfg: RelightConfig) -> float:
    """How hard the light on some pictures of a face is, 0 to 1: by how much its shading varies over the face."""
    spreads = []
    for image, points in images:
        skin = skin_mask(points, *image.shape[:2])
        if not skin.any():
            continue
        shades = shading(image.astype(np.float32), skin, float(np.ptp(points[:468, 0])), cfg)
        inside = cv2.resize(skin.astype(np.float32), shades.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
        spreads.append(float(shades[inside].std()) if inside.any() else 0.0)
    low, high = cfg.hard_light
    return float(np.clip((np.mean(spreads) - low) / (high - low), 0, 1)) if spreads else 0.0


def for_light(cfg: RelightConfig, hardness: float) -> RelightConfig:
    """The shares for a light of some hardness: a lamp at one side shapes a head more than its complexion does."""

    def between(soft: float, hard: float) -> float:
        return soft + hardness * (hard - soft)

    return replace(
        cfg,
        exposure=between(cfg.exposure, cfg.hard_exposure),
        shading=between(cfg.shading, cfg.hard_shading),
        shading_outside=between(cfg.shading_outside, cfg.hard_outside),
        shading_scale=between(cfg.shading_scale, cfg.hard_scale),
        lit=between(cfg.lit, 1.0),
    )


def shading(
    image: Float[np.ndarray, "h w 3"], skin: Bool[np.ndarray, "h w"], face_width: float, cfg: RelightConfig
) -> Float[np.ndarray, "h4 w4"]:
    """Low-frequency log luminance of the skin about its mean (or lit part), at a quarter of the size, fading beyond."""
    size = (image.shape[1] // STEP, image.shape[0] // STEP)
    weight = skin.astype(np.float32)
    small = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * weight
    light = cv2.resize(light, size, interpolation=cv2.INTER_AREA) / np.maximum(small, 1e-3)
    logs = np.log(light + LOG_FLOOR) * (small > 0.05)
    mean = float((logs * small).sum() / max(float(small.sum()), 1.0))
    if cfg.lit > 0 and (small > 0.5).any():  # a shadow darkens; it does not brighten the other side
        mean += cfg.lit * (float(np.percentile(logs[small > 0.5], LIT)) - mean)
    sigma = cfg.shading_scale * face_width / STEP
    support = SUPPORT * (1 - 0.9 * cfg.lit)  # a shadow goes on beyond the face
    return blur_wide((logs - mean) * small, sigma) / (blur_wide(small, sigma) + support)


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
    reach = blur_wide(
        cv2.resize(face, (difference.shape[1], difference.shape[0]), interpolation=cv2.INTER_AREA),
        FADE * face_width / STEP,
    )
    local = cfg.shading * difference * (cfg.shading_outside + (1 - cfg.shading_outside) * reach)
    factor = cv2.resize(np.exp(local).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    lit = colour + np.float32(LOG_FLOOR)
    lit *= cv2.merge([factor * share for share in np.exp(gain).astype(np.float32)])
    lit -= np.float32(LOG_FLOOR)
    return np.clip(lit, 0, 255, out=lit)
