"""Independent random streams: one per attribute, so that a new attribute changes nobody's old ones."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, attribute: str) -> np.random.Generator:
    """Generator for one named attribute of the person, scene or motion numbered ``seed``."""
    return np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(attribute.encode())])


def wander(seed: int, attribute: str, seconds: np.ndarray, frequency: float, amplitude: float) -> np.ndarray:
    """Smooth wandering around 0: four sines near ``frequency`` (Hz), of about ``amplitude`` at times ``seconds``."""
    rng = stream(seed, attribute)
    out = np.zeros(len(seconds))
    for ratio in (0.35, 0.7, 1.0, 1.6):
        phase, detune = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2)
        out += np.sin(2 * np.pi * frequency * ratio * detune * seconds + phase) / (1 + ratio)
    return out / 2 * amplitude
