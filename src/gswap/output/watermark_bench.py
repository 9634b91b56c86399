"""The watermark's robustness matrix: mark clips, handle them roughly, count what can still be read.

Re-encoding is handed in, since this stage knows no codecs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gswap.output.watermark import HALF_PERIOD, ID_BITS, embed
from gswap.output.watermark_detect import WatermarkResult, detect

CROP = 0.8
CUT_SECONDS = 3.0
CUT_START_SECONDS = 0.37
"""Not a multiple of the flip interval, so that the phase has to be found."""
CRF = 28
Lumas = Sequence[np.ndarray]
Recode = Callable[[Lumas, Sequence[float], int], Lumas]
"""(luma planes, times in seconds, H.264 crf) -> the luma planes after encoding and decoding."""
Attack = Callable[[Lumas, Sequence[float]], tuple[Lumas, Sequence[float]]]


@dataclass(frozen=True)
class BenchClip:
    """One unmarked clip: 8-bit luma planes and their presentation times in seconds."""

    name: str
    frames: Lumas
    times: Sequence[float]


@dataclass(frozen=True)
class BenchRow:
    """One marked clip after one attack."""

    clip: str
    attack: str
    correct: bool
    """Whether the right id was read."""
    result: WatermarkResult
    psnr: float
    """Of the marking, dB, lowest of all frames."""


def bench(clip: BenchClip, identifier: int, recode: Recode) -> Iterator[BenchRow]:
    """Mark a clip and try every attack; rows come as they are done.

    Args:
        clip: An unmarked clip of a few seconds.
        identifier: The id to mark it with, 24 bits.
        recode: H.264 encoder and decoder.
    """
    marked = [embed(y, t - clip.times[0], identifier) for y, t in zip(clip.frames, clip.times, strict=True)]
    psnr = min(cv2.PSNR(a, b) for a, b in zip(clip.frames, marked, strict=True))
    for name, attack in attacks(recode).items():
        frames, times = attack(marked, clip.times)
        result = detect(zip(times, frames, strict=True))
        yield BenchRow(clip.name, name, result.identifier == identifier, result, psnr)


def random_ids(seed: int) -> Iterator[int]:
    """Ids without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(1 << ID_BITS))


def attacks(recode: Recode) -> dict[str, Attack]:
    """The handling that the mark should survive, by name."""
    return {
        "none": lambda y, t: (y, t),
        f"crf {CRF}": lambda y, t: (recode(y, t, CRF), t),
        "half size": lambda y, t: (_halve(y), t),
        f"crop {CROP:.0%}": lambda y, t: (_crop(y), t),
        f"cut {CUT_SECONDS:g} s": _cut,
        f"half + crf {CRF}": lambda y, t: (recode(_halve(y), t, CRF), t),
        f"crop + crf {CRF}": lambda y, t: (recode(_crop(y), t, CRF), t),
    }


def embedding_cost(luma: np.ndarray, *, frames: int = 30) -> float:
    """CPU milliseconds to mark one frame like ``luma``: the median of ``frames``, all threads together."""
    costs = []
    embed(luma, 0.0, 0)
    for i in range(frames):
        start = time.process_time()
        embed(luma, i * HALF_PERIOD / 2, 0)
        costs.append(1e3 * (time.process_time() - start))
    return statistics.median(costs)


@dataclass(frozen=True)
class AttackFigures:
    """All clips after one attack."""

    right: int
    clips: int
    lowest_score: float
    """Weakest evidence for an id, or against one."""

    @property
    def share(self) -> float:
        """Part of the clips whose id was read."""
        return self.right / self.clips


def figures(rows: Iterable[BenchRow]) -> dict[str, AttackFigures]:
    """The matrix: attack -> what was read."""
    of: dict[str, list[BenchRow]] = {}
    for row in rows:
        of.setdefault(row.attack, []).append(row)
    return {
        attack: AttackFigures(sum(r.correct for r in found), len(found), min(r.result.score for r in found))
        for attack, found in of.items()
    }


def format_matrix(matrix: dict[str, AttackFigures]) -> str:
    """Attack, ids read, share, and the weakest evidence, as a text table."""
    lines = [f"{'attack':<16}{'id read':>9}{'share':>8}{'lowest score':>14}"]
    for attack, found in matrix.items():
        lines.append(f"{attack:<16}{found.right:>5}/{found.clips:<3}{found.share:>8.1%}{found.lowest_score:>14.1f}")
    return "\n".join(lines)


def _halve(frames: Lumas) -> Lumas:
    height, width = frames[0].shape
    size = (width // 4 * 2, height // 4 * 2)
    return [cv2.resize(y, size, interpolation=cv2.INTER_AREA) for y in frames]


def _crop(frames: Lumas) -> Lumas:
    """Off-centre, to even sizes."""
    height, width = frames[0].shape
    h, w = int(height * CROP) // 2 * 2, int(width * CROP) // 2 * 2
    top, left = (height - h) // 3, (width - w) * 2 // 3
    return [np.ascontiguousarray(y[top : top + h, left : left + w]) for y in frames]


def _cut(frames: Lumas, times: Sequence[float]) -> tuple[Lumas, Sequence[float]]:
    start = times[0] + CUT_START_SECONDS
    keep = [i for i, t in enumerate(times) if start <= t < start + CUT_SECONDS]
    return [frames[i] for i in keep], [times[i] - times[keep[0]] for i in keep]
