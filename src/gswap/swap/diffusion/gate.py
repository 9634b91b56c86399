"""Which generated frames are good enough to learn from: frames are left out rather than spoiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import eye_distance
from gswap.swap.diffusion.config import GateConfig


@dataclass(frozen=True)
class Measure:
    """What one painted frame is worth."""

    identity: float | None
    """Cosine to the photos, or ``None`` where no face was found."""
    landmarks: float | None
    """Mean distance of the landmarks to the wanted ones, in outer-eye-corner distances."""


def landmark_error(found: Float[np.ndarray, "478 d"], wanted: Float[np.ndarray, "478 2"]) -> float:
    """Mean distance between two faces in the image, in the wanted face's outer-eye-corner distance."""
    distance = np.linalg.norm(found[:468, :2] - wanted[:468], axis=1)
    return float(distance.mean() / eye_distance(wanted))


def cosine(a: Float[np.ndarray, "d"], b: Float[np.ndarray, "d"]) -> float:
    """Cosine of the angle between two identity vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def least_identity(first: Mapping[int, Measure], cfg: GateConfig) -> float:
    """The identity that a frame must reach: a share of the median over the first attempts."""
    known = [m.identity for m in first.values() if m.identity is not None]
    return cfg.identity * float(np.median(known)) if known else np.inf


def passes(measure: Measure, least: float, cfg: GateConfig) -> bool:
    """Whether a frame may be learnt from."""
    if measure.identity is None or measure.landmarks is None:
        return False
    return measure.identity >= least and measure.landmarks <= cfg.landmarks


def best_attempt(measures: list[Measure], least: float, cfg: GateConfig) -> tuple[int, bool]:
    """Which attempt to keep, and whether it is good enough.

    The first that passes; without one, the one nearest to its landmarks (for the frame's masks only).
    """
    for number, measure in enumerate(measures):
        if passes(measure, least, cfg):
            return number, True
    errors = [np.inf if m.landmarks is None else m.landmarks for m in measures]
    return int(np.argmin(errors)), False
