"""Finding the temporal watermark in any clip: streaming, and over crop, scale, shift and phase.

Frames are averaged in bins of a quarter of a half-period. For each of the four possible phases, the middle one of
three neighbouring half-periods minus the mean of the other two cancels the picture and its drift and keeps the mark;
these differences are whitened and summed. One correlation with the pilot over shifts, per scale and phase, finds where
the tile lies; the code's CRC and score say what it says. Memory does not grow with the clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float

from gswap.output.watermark import CELL, GRID, HALF_PERIOD, decode_tile, pilot_pattern

BINS = 4
"""Bins per half-period = phases searched (the other four are their negatives)."""
WORK_SIDE = 256
"""Short side at which frames are compared, pixels."""
SCALES = np.exp(np.arange(np.log(0.55), np.log(1.1), 0.005))
"""Cell size relative to an uncropped picture's, inverted: a crop to 80 % has 0.8. Half a cell off at a tile's edge."""
MIN_PILOT, MIN_SCORE = 4.5, 17.5
"""Accept an id when its CRC fits, the pilot stands this far out, and the code's score is this high."""
MIN_PILOT_AT_HOME, MIN_SCORE_AT_HOME = 2.5, 16.0
"""The same at the four places of an uncropped clip: so few that chance rarely comes this far."""
MARKED_PILOT = 7.0
"""Standard deviations at which a clip counts as marked although its id cannot be read."""
_CANDIDATES = 48
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
    """Height of the pilot's correlation peak in standard deviations; unmarked clips stay below about 5.5."""
    score: float
    """The code's score (see :func:`~gswap.output.watermark.decode_tile`)."""
    scale: float
    """0.8 = the short side was cropped to 80 %."""
    seconds: float
    """Length of what was examined."""


@dataclass(frozen=True)
class _Place:
    """A place where the tile may lie: peak height, accumulator, scale, and the folded tile rolled to its origin."""

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
    places = _search(accumulators)
    for candidates, min_pilot, min_score in (
        (_home(accumulators), MIN_PILOT_AT_HOME, MIN_SCORE_AT_HOME),
        (places, MIN_PILOT, MIN_SCORE),
    ):
        read = [(*decode_tile(place.tile), place) for place in candidates if place.pilot >= min_pilot]
        accepted = [r for r in read if r[0] is not None and r[1] >= min_score]
        if accepted:
            identifier, score, place = max(accepted, key=lambda r: r[1])
            return WatermarkResult(True, identifier, place.pilot, score, place.scale, seconds)
    best = places[0]
    score = decode_tile(best.tile)[1]
    return WatermarkResult(best.pilot >= MARKED_PILOT, None, best.pilot, score, best.scale, seconds)


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
    """The most likely places over all phases, scales and shifts, best first."""
    places: list[_Place] = []
    for accumulator in accumulators:
        for scale in SCALES:
            folded, correlation = _correlate(accumulator, float(scale))
            peak = int(np.abs(correlation).argmax())
            if len(places) < _CANDIDATES or abs(correlation.flat[peak]) > places[-1].pilot:
                places = sorted([*places, _place(folded, correlation, peak, float(scale))], key=lambda p: -p.pilot)
                del places[_CANDIDATES:]
    return places


def _home(accumulators: Float[np.ndarray, "p h w"]) -> list[_Place]:
    """The places of an uncropped clip: few enough to be believed on a lower pilot."""
    return [_place(*_correlate(accumulator, 1.0), 0, 1.0) for accumulator in accumulators]


def _correlate(
    accumulator: Float[np.ndarray, "h w"], scale: float
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """The folded tile at this scale, and its correlation with the pilot over shifts, in standard deviations."""
    folded = _fold(accumulator, scale * GRID * _FINE / min(accumulator.shape))
    correlation = np.fft.irfft2(np.fft.rfft2(folded) * _pilot_spectrum(), s=folded.shape)
    return folded, correlation / max(correlation.std(), 1e-12)


@cache
def _pilot_spectrum() -> np.ndarray:
    pilot = np.kron(pilot_pattern(), np.ones((_FINE, _FINE)))
    return np.conj(np.fft.rfft2(cv2.GaussianBlur(pilot, (0, 0), _FINE / 4)))


def _place(folded: Float[np.ndarray, "n n"], correlation: Float[np.ndarray, "n n"], peak: int, scale: float) -> _Place:
    """Roll the tile to the peak's shift, undo its sign, and sum up the points of each cell."""
    height = float(correlation.flat[peak])
    dy, dx = divmod(peak, GRID * _FINE)
    aligned = np.roll(folded, (-dy, -dx), (0, 1)) * (1 if height > 0 else -1)
    return _Place(abs(height), scale, aligned.reshape(GRID, _FINE, GRID, _FINE).sum((1, 3)))


def _fold(image: Float[np.ndarray, "h w"], scale: float) -> Float[np.ndarray, "n n"]:
    """Resample to ``_FINE`` points per cell and add all tiles up."""
    side = GRID * _FINE
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    grid = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    folded = np.zeros((side, side))
    for top in range(0, size[1], side):
        for left in range(0, size[0], side):
            part = grid[top : top + side, left : left + side]
            folded[: part.shape[0], : part.shape[1]] += part
    return folded
