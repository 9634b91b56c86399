"""``gswap demo``: two synthetic people, one complete swap."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from gswap.foundation.errors import UsageError
from gswap.foundation.store import make_folder
from gswap.output import consent
from gswap.people.clips import DemoConfig, demo_inputs
from gswap.pipeline.config import Job
from gswap.pipeline.job import SwapResult, run_job
from gswap.pipeline.observer import StepObserver

LEAST_SIZE = 64
"""Pixels; in smaller pictures there is nothing to see."""


def run_demo(out: Path, observer: StepObserver, **options: int) -> SwapResult:
    """Render the inputs, swap, and leave ``out.mp4``, ``compare.mp4``, ``sheet.png`` and the report in ``out``.

    Args:
        out: Folder; made if missing. What an earlier demo left there is replaced or reused.
        observer: Told of the progress.
        options: Fields of :class:`~gswap.people.clips.DemoConfig`: size, frames, seeds.

    Raises:
        GswapError: See :func:`gswap.pipeline.job.run_job`.
    """
    config = DemoConfig(**options)
    if config.frames < 1 or config.size < LEAST_SIZE or config.size % 2:
        raise UsageError(
            f"Expected at least one frame and an even size of at least {LEAST_SIZE} pixels, found {config.frames} and "
            f"{config.size}."
        )
    make_folder(out)
    observer.started("people", 0, 9)
    made = demo_inputs(out, config, lambda done, total, note="": observer.progress("people", done, total, note))
    record = consent.new_record(
        "synthetic",
        people=(
            consent.Person("Synthetic person A", "source"),
            consent.Person("Synthetic person B", "target"),
        ),
        scope=consent.Scope("gswap demo"),
        validity=consent.Validity.one_year(dt.date.today()),
    )
    path = out / "consent.toml"
    consent.save(record, path)
    job = Job(
        sources=(made.source,),
        target=made.target,
        out=out / "out.mp4",
        consent=path,
        work=out / "work",
        compare=out / "compare.mp4",
        overwrite=True,
    )
    result = run_job(job, observer)
    shutil.copyfile(result.sheet, out / "sheet.png")
    return result
