"""The watermark's robustness matrix: mark clips, handle them roughly, count what can still be read.

Re-encoding is handed in, since this stage knows no codecs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gswap.output.watermark import ID_BITS, embed
from gswap.output.watermark_detect import WatermarkResult, detect

CROP = 0.8
CUT_SECONDS = 3.0
CUT_START_SECONDS = 0.37
"""Not a multiple of the flip interval, so that the phase has to be found."""
CRF = 28
Lumas = Sequence[np.ndarray]
Recode = Callable[[Lumas, Sequence[float], int], Lumas]
"""(luma planes, times in seconds, H.264 crf) -> the luma planes after encoding and decoding."""


@dataclass(frozen=True)
class BenchClip:
    """One unmarked clip: 8-bit luma planes and their presentation times in seconds."""

    name: str
    frames: Lumas
    times: Sequence[float]


@dataclass(frozen=True)
class BenchRow:
    """One clip after one attack. ``attack`` is ``unmarked`` for the clip that was never marked."""

    clip: str
    attack: str
    correct: bool
    """The right id was read; for ``unmarked``: nothing was found."""
    result: WatermarkResult
    psnr: float
    """Of the marking, dB, mean over the frames."""
    embed_seconds: float
    """Per frame."""


def bench(clips: Iterable[BenchClip], recode: Recode, *, seed: int = 0) -> Iterable[BenchRow]:
    """Mark every clip with its own id and try every attack; rows come as they are done.

    Args:
        clips: Unmarked clips of a few seconds.
        recode: H.264 encoder and decoder.
        seed: For the ids.
    """
    rng = np.random.default_rng(seed)
    for clip in clips:
        identifier = int(rng.integers(1 << ID_BITS))
        start = time.process_time()
        marked = [embed(y, t - clip.times[0], identifier) for y, t in zip(clip.frames, clip.times, strict=True)]
        cost = (time.process_time() - start) / len(marked)
        psnr = float(np.mean([cv2.PSNR(a, b) for a, b in zip(clip.frames, marked, strict=True)]))
        for name, attack in attacks(recode).items():
            result = detect(_timed(attack(marked, clip.times)))
            yield BenchRow(clip.name, name, result.identifier == identifier, result, psnr, cost)
        result = detect(zip(clip.times, clip.frames, strict=True))
        yield BenchRow(clip.name, "unmarked", not result.found, result, psnr, cost)


def attacks(recode: Recode) -> dict[str, Callable[[Lumas, Sequence[float]], tuple[Lumas, Sequence[float]]]]:
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


def format_matrix(rows: Sequence[BenchRow]) -> str:
    """Attack, right results, share, and the weakest evidence, as a text table."""
    lines = [f"{'attack':<16}{'right':>9}{'share':>8}{'min pilot':>11}{'min score':>11}"]
    for attack in dict.fromkeys(row.attack for row in rows):
        of = [row for row in rows if row.attack == attack]
        right = sum(row.correct for row in of)
        pick = max if attack == "unmarked" else min
        pilot, score = pick(row.result.pilot for row in of), pick(row.result.score for row in of)
        lines.append(f"{attack:<16}{right:>5}/{len(of):<3}{right / len(of):>8.1%}{pilot:>11.1f}{score:>11.1f}")
    psnr = min(row.psnr for row in rows)
    cost = max(row.embed_seconds for row in rows)
    return "\n".join([*lines, f"lowest PSNR {psnr:.1f} dB, slowest embedding {cost * 1e3:.1f} ms per frame"])


def _timed(clip: tuple[Lumas, Sequence[float]]) -> Iterable[tuple[float, np.ndarray]]:
    frames, times = clip
    return zip(times, frames, strict=True)


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
