"""A voice for an utterance: glottal pulses through three moving resonances, so that lips and sound agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.signal import butter, lfilter, sosfilt

from gswap.people.seeds import stream, wander
from gswap.people.speech import Speech
from gswap.people.traits import Sex

SAMPLE_RATE = 48000
"""Hz."""
PITCH = {"female": 205.0, "male": 115.0}
"""Mean fundamental frequency, Hz."""
TRACT = {"female": 1.15, "male": 1.0}
"""Formants of a shorter vocal tract lie higher."""
BANDWIDTHS = (80.0, 110.0, 160.0)
"""Hz, of the three formants."""
PEAK = 0.5
"""Largest sample."""
BLOCK = 240
"""Samples over which the resonances stand still: 5 ms."""


def synthesize(speech: Speech, sex: Sex, seed: int = 0, sample_rate: int = SAMPLE_RATE) -> Float[np.ndarray, "n"]:
    """Mono samples in [-1, 1] of the whole utterance."""
    count = round(speech.seconds * sample_rate)
    seconds = np.arange(count) / sample_rate
    mouth = speech.at(seconds)
    pitch = PITCH[sex] * (1 + wander(seed, "pitch", seconds, 0.9, 0.12))
    phase = np.cumsum(pitch / sample_rate) % 1.0
    # Rosenberg's glottal pulse: the flow rises over 40 % of the period, falls over 16 %, then the folds are closed.
    rise, fall = 0.4, 0.16
    flow = np.where(phase < rise, 0.5 - 0.5 * np.cos(np.pi * phase / rise), 0.0)
    falling = (phase >= rise) & (phase < rise + fall)
    flow = np.where(falling, np.cos(0.5 * np.pi * (phase - rise) / fall), flow)
    noise = stream(seed, "breath").standard_normal(count)
    source = np.diff(flow, prepend=0.0) * 8 * mouth.voice + 0.004 * noise * mouth.voice
    voiced = _resonate(source, mouth.formants * TRACT[sex], sample_rate)
    high_pass = butter(2, 3500, "highpass", fs=sample_rate, output="sos")
    out = voiced + 0.02 * np.abs(voiced).max(initial=1e-9) * sosfilt(high_pass, noise) * mouth.hiss * 4
    return out * (PEAK / max(np.abs(out).max(initial=0.0), 1e-9)) if mouth.voice.any() else np.zeros(count)


def _resonate(source: np.ndarray, formants: np.ndarray, sample_rate: int) -> np.ndarray:
    """Cascade of two-pole resonators with unit gain at 0 Hz, updated every block."""
    out = source.copy()
    for k, bandwidth in enumerate(BANDWIDTHS):
        radius = np.exp(-np.pi * bandwidth / sample_rate)
        state = np.zeros(2)
        for start in range(0, len(out), BLOCK):
            block = slice(start, start + BLOCK)
            angle = 2 * np.pi * float(formants[start, k]) / sample_rate
            poles = np.array([1.0, -2 * radius * np.cos(angle), radius * radius])
            out[block], state = lfilter([poles.sum()], poles, out[block], zi=state)
    return out
