"""What the watermark survives, what it costs, and how often it is found where it is not."""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

from gswap.apps.bench import watermark_clips as footage
from gswap.apps.bench.watermark_config import WatermarkBenchConfig
from gswap.foundation.errors import UsageError
from gswap.output.watermark_bench import (
    AttackFigures,
    BenchClip,
    BenchRow,
    bench,
    embedding_cost,
    figures,
    format_matrix,
    random_ids,
)
from gswap.output.watermark_detect import detect
from gswap.pipeline.observer import StepObserver

TIMED_SIZES = ((512, 512), (1920, 1080))
"""Frame sizes (width, height) at which the embedding is timed."""
_STEP = "watermark"


@dataclass(frozen=True)
class Unmarked:
    """What was found in views that were never marked."""

    views: int
    accused: tuple[str, ...]
    """Views in which a mark was found: there should be none."""
    highest_score: float
    highest_pilot: float


@dataclass(frozen=True)
class WatermarkFigures:
    """What the benchmark found."""

    synthetic: dict[str, AttackFigures]
    """By attack, over the synthetic clips."""
    files: dict[str, AttackFigures]
    """The same over the user's own."""
    failures: tuple[str, ...]
    """Clip and attack where the id was not read."""
    lowest_psnr: float
    """Of all marked frames, dB."""
    unmarked: Unmarked
    embed_ms: dict[str, float]
    """CPU milliseconds a frame, by frame size."""


def run(cfg: WatermarkBenchConfig, observer: StepObserver) -> WatermarkFigures:
    """Render the people, mark them, attack, look for marks where there are none, and time the embedding.

    Raises:
        UsageError: A number is out of range.
        MissingInputError: A file is not there.
        InputError: A file is not a video.
    """
    if cfg.synthetic < 0 or cfg.unmarked < 0 or cfg.seconds <= 0:
        raise UsageError("Expected counts that are not negative and a positive number of seconds.")
    if cfg.unmarked and not cfg.synthetic:
        raise UsageError("The unmarked views are cut from synthetic clips, and there are none.", hint="--unmarked 0")
    observer.started(_STEP, 1, 1)
    with contextlib.ExitStack() as stack:
        cache = cfg.cache or Path(stack.enter_context(TemporaryDirectory()))
        people = footage.render_clips(
            cache, cfg.synthetic, lambda done, total, note="": observer.progress(_STEP, done, total, note)
        )
        ids = random_ids(cfg.seed)
        synthetic = _attack((footage.synthetic_clip(path, cfg.seconds) for path in people), ids, len(people), observer)
        files = _attack((footage.file_clip(path, cfg.seconds) for path in cfg.clips), ids, len(cfg.clips), observer)
        views = footage.unmarked_views(people, cfg.unmarked, seed=cfg.seed)
        unmarked = _search_unmarked(views, cfg.unmarked, observer)
    rows = [*synthetic, *files]
    return WatermarkFigures(
        synthetic=figures(synthetic),
        files=figures(files),
        failures=tuple(f"{row.clip}: {row.attack}" for row in rows if not row.correct),
        lowest_psnr=min((row.psnr for row in rows), default=float("nan")),
        unmarked=unmarked,
        embed_ms={f"{width}x{height}": embedding_cost(_textured(width, height)) for width, height in TIMED_SIZES},
    )


def table(found: WatermarkFigures) -> str:
    """The figures for people."""
    lines = []
    for name, matrix in (("synthetic clips", found.synthetic), ("files", found.files)):
        if matrix:
            lines += [name, format_matrix(matrix), ""]
    lines += [f"not read: {failure}" for failure in found.failures]
    lines.append(f"lowest PSNR of a marked frame: {found.lowest_psnr:.2f} dB")
    unmarked = found.unmarked
    lines.append(
        f"unmarked views: found in {len(unmarked.accused)} of {unmarked.views} "
        f"(highest score {unmarked.highest_score:.2f}, pilot {unmarked.highest_pilot:.2f})"
    )
    lines += [f"found in unmarked {view}" for view in unmarked.accused]
    lines += [f"embedding at {size}: {cost:.2f} ms of CPU a frame" for size, cost in found.embed_ms.items()]
    return "\n".join(lines)


def recode(frames: Sequence[np.ndarray], times: Sequence[float], crf: int) -> list[np.ndarray]:
    """Luma planes of even size through H.264 as FFmpeg makes it by default (4:2:0, neutral chroma) and back.

    ``times`` (seconds) give the frame rate, on which the encoder's choices depend.
    """
    height, width = frames[0].shape
    rate = Fraction(1 / statistics.median(np.diff(times))).limit_denominator(1001) if len(times) > 1 else Fraction(25)
    chroma = np.full((height // 2, width), 128, np.uint8)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for luma in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), "yuv420p")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        return [frame.to_ndarray()[:height, :width] for frame in container.decode(video=0)]


def _attack(clips: Iterable[BenchClip], ids: Iterator[int], count: int, observer: StepObserver) -> list[BenchRow]:
    rows: list[BenchRow] = []
    for number, clip in enumerate(clips):
        observer.progress(_STEP, number, count, f"attacks on {clip.name}")
        rows += bench(clip, next(ids), recode)
    return rows


def _search_unmarked(views: Iterable[BenchClip], count: int, observer: StepObserver) -> Unmarked:
    accused, score, pilot = [], 0.0, 0.0
    for number, view in enumerate(views):
        observer.progress(_STEP, number, count, "unmarked views")
        result = detect(zip(view.times, view.frames, strict=True))
        score, pilot = max(score, result.score), max(pilot, result.pilot)
        if result.found:
            accused.append(view.name)
    return Unmarked(count, tuple(accused), score, pilot)


def _textured(width: int, height: int) -> np.ndarray:
    """A frame with detail of all sizes."""
    noise = np.random.default_rng(0).normal(128, 60, (height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1.0).clip(0, 255).astype(np.uint8)
