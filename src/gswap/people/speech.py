"""A made-up utterance: syllables whose vowels and consonants move the lips (``motion``) and the voice (``sound``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from gswap.people.seeds import stream


class Articulation(NamedTuple):
    """Mouth and voice at some instants; arrays of equal length. All but ``formants`` are in [0, 1]."""

    jaw: np.ndarray
    rounded: np.ndarray
    spread: np.ndarray
    pressed: np.ndarray
    """Lips pressed together (m, b, p)."""
    voice: np.ndarray
    """Loudness of the voiced part."""
    hiss: np.ndarray
    """Loudness of the voiceless part (s, f)."""
    formants: Float[np.ndarray, "n 3"]
    """Resonances of the vocal tract, Hz."""


class _Sound(NamedTuple):
    jaw: float
    rounded: float
    spread: float
    pressed: float
    voice: float
    hiss: float
    formants: tuple[float, float, float]


NEUTRAL = (500.0, 1500.0, 2500.0)
REST = _Sound(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NEUTRAL)
# Average adult formants (Peterson and Barney 1952) with the mouth shapes that make them.
VOWELS = (
    _Sound(0.48, 0.00, 0.10, 0.0, 1.0, 0.0, (750, 1250, 2500)),  # as in "father"
    _Sound(0.26, 0.00, 0.50, 0.0, 0.9, 0.0, (530, 1850, 2500)),  # "bed"
    _Sound(0.12, 0.00, 0.80, 0.0, 0.8, 0.0, (300, 2250, 3000)),  # "see"
    _Sound(0.32, 0.70, 0.00, 0.0, 0.9, 0.0, (500, 900, 2400)),  # "law"
    _Sound(0.14, 1.00, 0.00, 0.0, 0.8, 0.0, (320, 800, 2300)),  # "blue"
    _Sound(0.20, 0.10, 0.10, 0.0, 0.7, 0.0, NEUTRAL),  # "about"
)
CONSONANTS = (
    _Sound(0.00, 0.10, 0.00, 1.0, 0.25, 0.0, (300, 1100, 2300)),  # m, b, p: lips closed
    _Sound(0.09, 0.00, 0.20, 0.0, 0.30, 0.0, (350, 1700, 2600)),  # t, d, n, l
    _Sound(0.05, 0.00, 0.35, 0.0, 0.00, 0.8, (350, 1800, 2700)),  # s, sh
    _Sound(0.16, 0.00, 0.10, 0.0, 0.20, 0.1, (400, 1500, 2400)),  # k, g, h
)


@dataclass(frozen=True)
class Speech:
    """An utterance as a curve through the articulations of its sounds."""

    seconds: float
    curve: PchipInterpolator

    def at(self, seconds: Float[np.ndarray, "n"]) -> Articulation:
        """Articulation at the given times (clamped to the utterance)."""
        values = self.curve(np.clip(seconds, 0, self.seconds))
        return Articulation(*np.clip(values[:, :6], 0, 1).T, formants=values[:, 6:])


def make_speech(seed: int, seconds: float, loudness: float = 1.0, rate: float = 4.2) -> Speech:
    """Phrases of 3 to 9 syllables with pauses between them.

    Args:
        seed: fixes what is said.
        seconds: length of the utterance.
        loudness: scales opening and voice; 0 is silence.
        rate: syllables per second.
    """
    rng = stream(seed, "speech")
    knots: list[tuple[float, _Sound]] = [(0.0, REST)]
    time = float(rng.uniform(0.1, 0.3))
    while time < seconds:
        knots.append((time, REST))
        for _ in range(rng.integers(3, 10)):
            length = rng.uniform(0.75, 1.35) / rate
            consonant, vowel = CONSONANTS[rng.integers(len(CONSONANTS))], VOWELS[rng.integers(len(VOWELS))]
            stress = rng.uniform(0.7, 1.1)
            opened = vowel._replace(jaw=vowel.jaw * stress, voice=vowel.voice * min(stress, 1.0))
            knots += [(time + f * length, s) for f, s in ((0.18, consonant), (0.3, consonant), (0.6, opened))]
            knots.append((time + 0.9 * length, opened._replace(jaw=0.75 * opened.jaw, voice=0.8 * opened.voice)))
            time += length
        knots.append((time + 0.12, REST))
        time += 0.12 + float(rng.uniform(0.15, 0.6))
    knots.append((max(seconds, time) + 0.01, REST))
    table = np.array([[*sound[:6], *sound.formants] for _, sound in knots])
    table[:, :6] *= loudness
    times = np.maximum.accumulate(np.array([t for t, _ in knots]) + 1e-4 * np.arange(len(knots)))
    return Speech(seconds, PchipInterpolator(times, table, axis=0))
