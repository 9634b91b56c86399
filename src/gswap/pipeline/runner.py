"""Runs the steps of a job in order, reusing what is done."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gswap.foundation.types import Progress, StepTiming
from gswap.pipeline.config import Job
from gswap.pipeline.fault import FaultPlan
from gswap.pipeline.fingerprint import fingerprint
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Step:
    """One step of the flow (``docs/architecture.md``)."""

    name: str
    version: int
    """Raised whenever the step's code changes what it writes."""
    needs: tuple[str, ...]
    """Steps whose results it reads."""
    config: Callable[[Job], Any]
    """The part of the job that its result depends on."""
    run: Callable[[StepContext], None]


@dataclass
class StepContext:
    """What a step gets: the job, its own folder, and the folders of the steps before it."""

    job: Job
    folder: Path
    folders: dict[str, Path]
    progress: Progress
    timings: tuple[StepTiming, ...]
    fingerprints: dict[str, str]
    notes: dict[str, Any] = field(default_factory=dict)
    """JSON-able facts for the report; must not depend on time or machine."""


def plan(job: Job, steps: Sequence[Step]) -> dict[str, str]:
    """Fingerprint of every step of a job."""
    prints: dict[str, str] = {}
    for step in steps:
        prints[step.name] = fingerprint(
            step.name, step.version, step.config(job), [prints[need] for need in step.needs]
        )
    return prints


def run(job: Job, steps: Sequence[Step], workspace: Workspace, observer: StepObserver) -> dict[str, Path]:
    """Run a job in a locked workspace; returns the folder of every step's result.

    A finished step is not repeated; one that was interrupted continues where it stopped, if it stores its work per
    frame, or starts again.
    """
    prints = plan(job, steps)
    faults = FaultPlan.from_environment()
    folders: dict[str, Path] = {}
    timings: list[StepTiming] = []
    for number, step in enumerate(steps, 1):
        key = prints[step.name]
        folder = workspace.folder(step.name, key)
        if workspace.is_done(step.name, key):
            timing = workspace.timing(step.name, key) or StepTiming(step.name, 0, 0, 0)
            timings.append(replace(timing, reused=True))
            observer.finished(timings[-1])
        else:
            observer.started(step.name, number, len(steps))

            def progress(done: int, total: int, note: str = "", name: str = step.name) -> None:
                faults.strike(name)
                observer.progress(name, done, total, note)

            context = StepContext(job, folder, dict(folders), progress, tuple(timings), prints)
            wall, cpu = time.perf_counter(), time.process_time()
            with workspace.disk_errors():
                step.run(context)
                timing = StepTiming(step.name, time.perf_counter() - wall, time.process_time() - cpu, peak_memory_mb())
                workspace.finish(step.name, key, timing, context.notes)
            timings.append(timing)
            observer.finished(timing)
            release_memory()
        folders[step.name] = folder
    return folders


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB; 0 where the system does not tell (Windows)."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def release_memory() -> None:
    """Give back to the system what a step has freed: glibc keeps it, a third of a gigabyte after the swap."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
