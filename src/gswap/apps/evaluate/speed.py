"""``gswap evaluate --speed``: frames a second of every comparator and of ours, on one machine (Table I).

As in the paper only the inference is timed: tracking, masks and the fit of ours, and the analysis that the comparators
need, are done before. One thread pool, one clip, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gswap.apps.evaluate import analysis as understanding
from gswap.apps.evaluate import page, run
from gswap.apps.evaluate.ablations import rendered, synthetic_pair
from gswap.apps.evaluate.analysis import Analysis
from gswap.apps.evaluate.baselines import BASELINES, Swappers
from gswap.apps.evaluate.results import cell
from gswap.apps.evaluate.run import Options
from gswap.apps.evaluate.synthetic import PLAIN
from gswap.apps.evaluate.variants import base_job
from gswap.body.models import load_body
from gswap.foundation.store import read_body_track, write_bytes, write_json
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.steps import fit, retrack, segment, swap
from gswap.pipeline.steps.track import BODY
from gswap.portrait.drive import render_portrait
from gswap.portrait.io import load_portrait

WARM = 2
"""Frames before the clock starts."""
TIMED = 30


@dataclass(frozen=True)
class Speed:
    """What one method needs for a frame."""

    method: str
    frames: int
    fps: float
    """By the clock."""
    cpu_ms: float
    """Processor time of all threads, milliseconds a frame."""
    told: str


def measure_speed(out: Path, options: Options, observer: StepObserver, *, full: bool) -> list[Speed]:
    """Time all methods on a synthetic clip; writes ``speed.json``, ``speed.md`` and ``speed.html`` into ``out``."""
    pair = synthetic_pair(PLAIN, out, observer, full=full)
    job = base_job(run.analysis_job(pair, out / "work" / PLAIN.name / "speed", options), full=full)
    analysis = understanding.analyse(job, observer)
    folders = rendered(job, observer)
    chosen = analysis.measured(WARM + TIMED).tolist()
    swappers = Swappers(analysis)
    found = []
    for name in BASELINES:
        make = swappers.open(name)
        found.append(_timed(name, (make(t) for t in chosen), "one frame, pasted into the window"))
    for name, detail, told in (
        ("ours", False, "posing, splatting, rerendering and paste"),
        ("ours, with detail transfer", True, "the same, and texture, eyes and mouth of I_gen"),
    ):
        found.append(_timed(name, _frames(folders, analysis, chosen, detail), told))
    width, height = analysis.target.window.size
    _write(out, found, {"window": f"{width}x{height}", "threads": str(options.threads)})
    return found


def _frames(folders: dict[str, Path], analysis: Analysis, chosen: Sequence[int], detail: bool) -> Iterator[object]:
    model = load_body(BODY)
    drive = read_body_track(folders["retrack"] / retrack.DRIVE)
    return render_portrait(
        load_portrait(folders["fit"] / fit.PORTRAIT, model),
        segment.load_target(folders, len(drive)),
        swap.load_swap(folders, len(drive)),
        drive,
        model,
        rasterize=fit.rasterizer(analysis.job),
        detail=detail,
        frames=chosen,
    )


def _timed(name: str, frames: Iterator[object], told: str) -> Speed:
    clock: Callable[[], float] = time.perf_counter
    wall = cpu = 0.0
    count = 0
    for number, _ in enumerate(frames, 1):
        if number == WARM:
            wall, cpu = clock(), time.process_time()
        count = number - WARM
    count = max(count, 1)
    wall, cpu = clock() - wall, time.process_time() - cpu
    return Speed(name, count, count / wall, 1000 * cpu / count, told)


def _write(out: Path, found: Sequence[Speed], facts: dict[str, str]) -> None:
    facts = run.machine() | facts
    write_json(out / "speed.json", {"facts": facts, "speeds": [asdict(s) for s in found]})
    write_bytes(out / "speed.md", markdown(found, facts).encode())
    write_bytes(out / "speed.html", page.plain_page("Speed", facts, speed_rows(found)).encode())


def speed_rows(found: Sequence[Speed]) -> list[tuple[str, ...]]:
    """Head and rows of the table."""
    rows = [("method", "FPS ↑", "CPU ms a frame", "what is timed")]
    return rows + [(s.method, f"{s.fps:.1f}", f"{s.cpu_ms:.0f}", s.told) for s in found]


def markdown(found: Sequence[Speed], facts: dict[str, str]) -> str:
    """Table I."""
    head, *rows = speed_rows(found)
    told = f"{facts['date']}, {facts['machine']}, window {facts['window']}, {facts['threads']} threads"
    lines = [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(map(cell, r)) + " |" for r in rows),
    ]
    return f"# Speed\n\n{told}.\n\n" + "\n".join(lines) + "\n"
