"""A whole head swap: check, run the steps, publish, report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from gswap.foundation.types import StepTiming
from gswap.output import keys
from gswap.output.consent_record import ConsentRecord
from gswap.output.keys import SigningIdentity
from gswap.output.layers import is_complete
from gswap.output.manifest import rehearse
from gswap.pipeline import preflight as checks
from gswap.pipeline.config import Job
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.publish import Published, is_published, publish
from gswap.pipeline.report import write_job_report
from gswap.pipeline.runner import Step, plan, run
from gswap.pipeline.steps import deliver, fit, ingest, perceive, render, retrack, segment, swap, track
from gswap.pipeline.workspace import Workspace

STEPS: tuple[Step, ...] = (
    ingest.STEP,
    perceive.STEP,
    track.STEP,
    segment.STEP,
    swap.STEP,
    retrack.STEP,
    fit.STEP,
    render.STEP,
    deliver.STEP,
)


@dataclass(frozen=True)
class SwapResult:
    """What a job made."""

    out: Path
    written: tuple[Path, ...]
    report: Path
    """The HTML report; its JSON lies beside it."""
    sheet: Path
    """Contact sheet: target | photo | I_gen | I_out."""
    folders: dict[str, Path]
    """Folder of every step's result."""
    timings: tuple[StepTiming, ...]
    advice: tuple[str, ...]
    warnings: tuple[str, ...]


class _Recorder(StepObserver):
    """Passes everything on, keeps the timings, and binds the consent record once the photos were accepted.

    Not earlier: a record must not end up bound to photos that the job refused. Not later: hours of work would be
    spent before a record turns out to be bound to other photos in the meantime.
    """

    def __init__(self, inner: StepObserver, job: Job, record: ConsentRecord) -> None:
        self.inner = inner
        self.timings: list[StepTiming] = []
        self.record = record
        self._job = job

    def started(self, step: str, number: int, count: int) -> None:
        self.inner.started(step, number, count)

    def progress(self, step: str, done: int, total: int, note: str) -> None:
        self.inner.progress(step, done, total, note)

    def finished(self, timing: StepTiming) -> None:
        self.timings.append(timing)
        self.inner.finished(timing)
        if timing.step == perceive.STEP.name:
            self.record = checks.bind_consent(self._job)


def set_threads(count: int) -> None:
    """Pin the number of threads of torch, OpenCV and the native kernels.

    BLAS has one: its threads wait in a loop, and the matrices are small.
    """
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        from gswap.native import _native  # type: ignore[attr-defined]
    except ImportError:
        return
    _native.set_num_threads(count)


def _reopen_without_layers(job: Job, workspace: Workspace, key: str) -> None:
    """Deliver once more where layers of a finished delivery were taken away, or replaced by another job's."""
    if job.layers is None or not workspace.is_done("deliver", key):
        return
    if not is_complete(job.layers, int(workspace.notes("deliver", key)["frames"]), key):
        workspace.reopen("deliver", key)


def run_job(job: Job, observer: StepObserver | None = None, *, signer: SigningIdentity | None = None) -> SwapResult:
    """Swap a head.

    A finished step of an earlier run with the same inputs and options is reused; a killed run continues.

    Args:
        job: What to do.
        observer: Told of every step.
        signer: Who signs the outputs, such as a key in a token or a key service; the user's own key by default.

    Raises:
        GswapError: See :mod:`gswap.foundation.errors`; nothing half-written is left behind.
    """
    checks.check_options(job)
    replace = job.overwrite
    if job.out.exists() and not job.overwrite:
        again = dataclasses.replace(job, overwrite=True)
        checks.preflight(again)
        folder = job.work / "deliver" / plan(job, STEPS)["deliver"]
        if not is_published(job, folder):
            checks.preflight(job)  # refuses: the output exists
        job = again
    record = checks.preflight(job)
    key = plan(job, STEPS)["deliver"]
    checks.check_layers_are_ours(job, key, replace=replace)
    identity = signer or keys.load_or_create()
    rehearse(identity)
    if job.timestamp_url is not None:
        identity = dataclasses.replace(identity, timestamp_url=job.timestamp_url)
    recorder = _Recorder(observer or StepObserver(), job, record)
    set_threads(job.threads)
    with Workspace(job.work) as workspace:
        _reopen_without_layers(job, workspace, key)
        folders = run(job, STEPS, workspace, recorder)
        if is_published(job, folders["deliver"]):
            published = Published((job.out,))
        else:
            published = publish(job, recorder.record, folders["deliver"], key, identity)
        notes = {step.name: workspace.notes(step.name, folders[step.name].name) for step in STEPS}
        notes["deliver"]["warnings"] = [*notes["deliver"].get("warnings", ()), *published.warnings]
        report = write_job_report(job, folders, notes, tuple(recorder.timings), published.written)
    advice = tuple(notes["swap"].get("advice", ()))
    warnings = tuple(w for step in STEPS for w in notes[step.name].get("warnings", ()))
    return SwapResult(
        out=job.out,
        written=published.written,
        report=report,
        sheet=folders["deliver"] / "sheet.png",
        folders=folders,
        timings=tuple(recorder.timings),
        advice=advice,
        warnings=warnings,
    )
