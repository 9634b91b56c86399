"""Finding the temporal watermark in any clip: streaming, and over crop, scale, shift and phase.

Frames are averaged in bins of a quarter of a half-period. For each of the four possible phases, the middle one of
three neighbouring half-periods minus the mean of the other two cancels the picture and its drift and keeps the mark;
these differences are whitened and summed. One correlation with the pilot over shifts, per scale and phase, finds where
the tile lies; the code says what it says. Memory does not grow with the clip.

**Chance.** The thresholds are not tuned on pictures but follow from :data:`FALSE_ID` and :data:`FALSE_MARK` by a bound
that holds for any content that does not depend on the key: see :func:`~gswap.output.watermark.decode_tile`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float

from gswap.output.watermark import (
    CELL,
    GRID,
    HALF_PERIOD,
    decode_tile,
    pilot_pattern,
    pilot_score,
    pilot_threshold,
    score_threshold,
)

BINS = 4
"""Bins per half-period = phases searched (the other four are their negatives)."""
LEAST_SECONDS = 3 * HALF_PERIOD
"""In less than three half-periods nothing can be found."""
WORK_SIDE = 256
"""Short side at which frames are compared, pixels."""
SCALES = np.exp(np.arange(np.log(0.55), np.log(1.1), 0.005))
"""Cell size relative to an uncropped picture's, inverted: a crop to 80 % has 0.8. Half a cell off at a tile's edge."""
FALSE_ID = 1e-6
"""Largest probability that an id is read in an unmarked clip."""
FALSE_MARK = 1e-6
"""Largest probability that an unmarked clip counts as marked with an unreadable id."""
_CANDIDATES = 160
"""Places of the search that are decoded, best pilot first."""
_CLIP = 3.0
_NOISE_FLOOR = 0.3
"""Levels; keeps flat, noiseless areas from being amplified without bound."""
_FINE = 2
"""Grid points per cell in the correlation."""


@dataclass(frozen=True)
class WatermarkResult:
    """What was found."""

    found: bool
    identifier: int | None
    """The 24-bit id; ``None`` with ``found`` means: marked, id unreadable."""
    pilot: float
    """The pilot's score where the tile was found, or best seemed to lie; chance makes about 5 of the best place."""
    score: float
    """The code's score of the likeliest id (see :func:`~gswap.output.watermark.decode_tile`)."""
    scale: float
    """0.8 = the short side was cropped to 80 %."""
    seconds: float
    """Length of what was examined."""


@dataclass(frozen=True)
class _Place:
    """A place where the tile may lie: its pilot score, its scale, and the values of its cells."""

    pilot: float
    scale: float
    tile: Float[np.ndarray, "64 64"]


def detect(frames: Iterable[tuple[float, np.ndarray]], *, max_seconds: float | None = None) -> WatermarkResult:
    """Look for the mark.

    Args:
        frames: Presentation time in seconds and luma plane ``(h, w)`` of every frame, in order; any bit depth.
        max_seconds: Stop reading after this much of the clip.
    """
    accumulators, seconds = _accumulate(frames, max_seconds)
    if accumulators is None:
        return WatermarkResult(False, None, 0.0, 0.0, 1.0, seconds)
    # Half of the probability for the few places of an uncropped clip, which need not stand out among thousands.
    for find, count in ((_home, BINS), (_search, _CANDIDATES)):
        places = find(accumulators)
        identifier, score, place = max(((*decode_tile(p.tile), p) for p in places), key=lambda read: read[1])
        if score >= score_threshold(count, FALSE_ID / 2):
            return WatermarkResult(True, identifier, place.pilot, score, place.scale, seconds)
    best = max(places, key=lambda p: p.pilot)
    found = best.pilot >= pilot_threshold(BINS * len(SCALES) * (GRID * _FINE) ** 2, FALSE_MARK)
    return WatermarkResult(found, None, best.pilot, score, best.scale, seconds)


# ---------------------------------------------------------------- time
def _accumulate(
    frames: Iterable[tuple[float, np.ndarray]], max_seconds: float | None
) -> tuple[Float[np.ndarray, "p h w"] | None, float]:
    """The whitened differences summed per phase, and the seconds read. ``None`` when the clip is too short."""
    window: deque[tuple[np.ndarray, int]] = deque(maxlen=3 * BINS)
    sums: np.ndarray | None = None
    seconds = 0.0
    for number, (total, count, end) in enumerate(_bins(frames, max_seconds)):
        seconds = end
        window.append((total, count))
        if len(window) < 3 * BINS:
            continue
        halves = [_mean(list(window)[i * BINS : (i + 1) * BINS]) for i in range(3)]
        if any(half is None for half in halves):
            continue
        before, middle, after = halves
        difference = _whiten(middle - (before + after) / 2)  # type: ignore[operator]
        if sums is None:
            sums = np.zeros((BINS, *difference.shape), np.float32)
        sums[number % BINS] += difference * (1 - 2 * (number // BINS % 2))
    return sums, seconds


def _bins(
    frames: Iterable[tuple[float, np.ndarray]], max_seconds: float | None
) -> Iterator[tuple[np.ndarray, int, float]]:
    """Sums of the frames of each bin, how many there were, and the time at the bin's end. Empty bins are kept."""
    length = HALF_PERIOD / BINS
    total: np.ndarray | None = None
    current, count, start = 0, 0, None
    for time, luma in frames:
        start = time if start is None else start
        elapsed = time - start
        if max_seconds is not None and elapsed >= max_seconds:
            break
        small = _small(luma)
        if total is None:
            total = np.zeros_like(small)
        index = int(elapsed / length + 1e-6)
        while current < index:
            yield total, count, (current + 1) * length
            total, count, current = np.zeros_like(small), 0, current + 1
        total += small
        count += 1
    if total is not None:
        yield total, count, (current + 1) * length


def _small(luma: np.ndarray) -> Float[np.ndarray, "h w"]:
    scale = WORK_SIDE / min(luma.shape)
    size = (round(luma.shape[1] * scale), round(luma.shape[0] * scale))
    return cv2.resize(luma.astype(np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _mean(bins: list[tuple[np.ndarray, int]]) -> np.ndarray | None:
    count = sum(n for _, n in bins)
    return sum(total for total, _ in bins) / count if count else None  # type: ignore[return-value]


def _whiten(difference: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Take away what is coarser than a few cells, and weight by the inverse of the local noise."""
    cell = CELL * WORK_SIDE / (CELL * GRID)
    fine = difference - cv2.GaussianBlur(difference, (0, 0), 2 * cell)
    noise = cv2.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 1.5 * cell)) + _NOISE_FLOOR
    return np.clip(fine / noise, -_CLIP, _CLIP)


# ---------------------------------------------------------------- space
def _search(accumulators: Float[np.ndarray, "p h w"]) -> list[_Place]:
    """The likeliest place of every phase and scale; of those the :data:`_CANDIDATES` with the highest peaks."""
    peaks = []
    for phase, accumulator in enumerate(accumulators):
        for scale in SCALES:
            correlation = _correlate(_fold(accumulator, float(scale)))
            peak = int(np.abs(correlation).argmax())
            peaks.append((abs(float(correlation.flat[peak])), phase, float(scale), peak))
    best = sorted(peaks, reverse=True)[:_CANDIDATES]
    return [_place(accumulators[phase], scale, peak) for _, phase, scale, peak in best]


def _home(accumulators: Float[np.ndarray, "p h w"]) -> list[_Place]:
    """The places of an uncropped clip."""
    return [_place(accumulator, 1.0, 0) for accumulator in accumulators]


def _correlate(folded: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Correlation of a folded tile with the pilot over shifts, in standard deviations."""
    correlation = np.fft.irfft2(np.fft.rfft2(folded) * _pilot_spectrum(), s=folded.shape)
    return correlation / max(float(correlation.std()), 1e-12)


@cache
def _pilot_spectrum() -> np.ndarray:
    pilot = np.kron(pilot_pattern(), np.ones((_FINE, _FINE)))
    return np.conj(np.fft.rfft2(cv2.GaussianBlur(pilot, (0, 0), _FINE / 4)))


def _place(accumulator: Float[np.ndarray, "h w"], scale: float, shift: int) -> _Place:
    """Fold, roll the tile to its origin, sum up the points of each cell, and undo its sign."""
    dy, dx = divmod(shift, GRID * _FINE)
    aligned = np.roll(_fold(accumulator, scale), (-dy, -dx), (0, 1))
    cells = aligned.reshape(GRID, _FINE, GRID, _FINE).sum((1, 3))
    pilot = pilot_score(cells)
    return _Place(abs(pilot), scale, cells if pilot > 0 else -cells)


def _fold(image: Float[np.ndarray, "h w"], scale: float) -> Float[np.ndarray, "n n"]:
    """Resample to ``_FINE`` points per cell, where a cell is ``scale`` times an uncropped picture's; add all tiles."""
    side = GRID * _FINE
    zoom = scale * side / min(image.shape)
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    grid = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    folded = np.zeros((side, side))
    for top in range(0, size[1], side):
        for left in range(0, size[0], side):
            part = grid[top : top + side, left : left + side]
            folded[: part.shape[0], : part.shape[1]] += part
    return folded
