"""``gswap evaluate --ablations``: fit every variant of a pair in one workspace, score all of them side by side.

What variants have in common is computed once: steps are found again by their fingerprints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gswap.apps.evaluate import analysis as understanding
from gswap.apps.evaluate import run
from gswap.apps.evaluate.analysis import Analysis
from gswap.apps.evaluate.baselines import require_consent
from gswap.apps.evaluate.groups import GROUPS, Group
from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.reduced import reduce_pair
from gswap.apps.evaluate.run import Options
from gswap.apps.evaluate.sources import JobResult, Result
from gswap.apps.evaluate.synthetic import EXTREMES, SyntheticCase, make_pair
from gswap.apps.evaluate.truth import TrueVideo
from gswap.apps.evaluate.unsteady import unsteady_step
from gswap.apps.evaluate.variants import VARIANTS, Variant, base_job
from gswap.foundation.errors import UsageError
from gswap.pipeline.config import Job
from gswap.pipeline.job import STEPS, set_threads
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.runner import Step
from gswap.pipeline.runner import run as run_steps
from gswap.pipeline.workspace import Workspace

RENDERED = 8
"""Steps up to the rendering; nothing is delivered."""
FULL_SIDE, FULL_FRAMES = 512, 250
"""Size and length of a synthetic pair with ``--full``."""
REDUCED_SIDE, REDUCED_FRAMES = 256, 60
GROUP_FRAMES = 24
"""Length of a pair of a group without ``--full``: there are many groups."""


def ablate(
    pairs: Sequence[Pair],
    out: Path,
    options: Options,
    observer: StepObserver,
    *,
    full: bool,
    only: Sequence[str] = (),
) -> Path:
    """Fit and score our variants on every pair; returns the page (``ablations.html``).

    Args:
        pairs: What to swap; each needs a consent record.
        out: Folder of workspaces and results.
        options: How it is scored.
        observer: Told of the progress.
        full: The clips as they are and every step of the fit, instead of 60 frames of 256 pixels and a short fit.
        only: Names of variants; empty = all that can run here. The base is always among them.

    Raises:
        ConsentError: A pair has no record that covers it.
        UsageError: There is no such variant.
        WeightsError: A variant that was named needs weights that are missing.
    """
    chosen = _chosen(only)
    for pair in pairs:
        require_consent(pair)
    scored = []
    with run.readers() as tools:
        for pair in pairs:
            small = pair if full else reduce_pair(pair, out / "work" / pair.name / "clips")
            work = out / "work" / pair.name / ("full" if full else "reduced")
            job = base_job(run.analysis_job(small, work, options), full=full)
            analysis = understanding.analyse(job, observer)
            made = _fit_all(chosen, job, analysis, observer)
            truth = None
            if small.truth is not None:
                truth = TrueVideo(small.truth, analysis.clip.info, small.truth_masks)
            scored.append(run.score_pair(pair.name, analysis, made, truth, tools, options, observer))
    remarks = [f"{v.name} ({v.figure or 'ours'}): {v.brings}." for v in chosen]
    return run.write(out, "Ablations", scored, remarks, {"full": full})


def _chosen(only: Sequence[str]) -> list[Variant]:
    from gswap.foundation import weights
    from gswap.pipeline.config import Parts

    unknown = sorted(set(only) - {v.name for v in VARIANTS})
    if unknown:
        raise UsageError(f"Expected a variant among {', '.join(v.name for v in VARIANTS)}, found {unknown[0]!r}.")
    generator = Parts(swapper="diffusion").weights()
    if only:
        chosen = [v for v in VARIANTS if v.name in only or v is VARIANTS[0]]
        if any(v.needs == "diffusion" for v in chosen):
            for name in generator:
                weights.path(name)
        return chosen
    present = {part.spec.name for part in weights.states() if part.state == "present"}
    return [v for v in VARIANTS if v.needs != "diffusion" or present >= set(generator)]


def _fit_all(variants: Sequence[Variant], base: Job, analysis: Analysis, observer: StepObserver) -> list[Result]:
    reference: dict[str, Path] | None = None
    made: list[Result] = []
    for variant in variants:
        job, steps = base, STEPS[:RENDERED]
        if variant.needs == "unsteady" and reference is not None:
            disturbing = unsteady_step(reference, base.seed)
            steps = tuple(disturbing if step.name == disturbing.name else step for step in steps)
        if variant.needs == "diffusion":
            job = replace(job, parts=replace(job.parts, swapper="diffusion"))
        folders = rendered(variant.change(job), observer, steps)
        reference = reference or folders
        shown = None if variant.own_images else reference
        made.append(JobResult(variant.name, folders, analysis.clip, reference=shown))
    return made


def rendered(job: Job, observer: StepObserver, steps: Sequence[Step] = STEPS[:RENDERED]) -> dict[str, Path]:
    """Folders of a job that is run up to the rendering, in its workspace."""
    set_threads(job.threads)
    with Workspace(job.work) as workspace:
        return run_steps(job, steps, workspace, observer)


def score_extremes(
    out: Path,
    options: Options,
    observer: StepObserver,
    *,
    full: bool,
    cases: Sequence[SyntheticCase] = EXTREMES,
) -> Path:
    """Swap and score synthetic clips with large rotation and fast motion (Fig. 16); returns ``extremes.html``."""
    from gswap.apps.evaluate.baselines import make_baselines

    scored = []
    with run.readers() as tools:
        for case in cases:
            pair = synthetic_pair(case, out, observer, full=full)
            job = base_job(run.analysis_job(pair, out / "work" / case.name / "job", options), full=full)
            job = replace(job, detail=True)
            analysis = understanding.analyse(job, observer)
            folders = rendered(job, observer)
            methods: list[Result] = [JobResult("ours", folders, analysis.clip, reference=folders)]
            methods += make_baselines(("clone", "per-frame"), analysis, pair)
            truth = TrueVideo(_present(pair.truth), analysis.clip.info, pair.truth_masks)
            scored.append(run.score_pair(case.name, analysis, methods, truth, tools, options, observer))
    remarks = [f"{c.name}: yaw to {c.motion.yaw:g} degrees, tempo {c.motion.tempo:g}." for c in cases]
    return run.write(out, "Extremes", scored, remarks, {"full": full})


def score_groups(
    out: Path, options: Options, observer: StepObserver, *, full: bool, groups: Sequence[Group] = GROUPS
) -> Path:
    """Swap synthetic people of every kind and score each kind by itself; returns ``groups.html``.

    A row of the tables is a group; the first is what the others are to be compared with.
    """
    scored = []
    with run.readers() as tools:
        for group in groups:
            for case in group.cases:
                pair = synthetic_pair(case, out, observer, full=full, frames=None if full else GROUP_FRAMES)
                job = base_job(run.analysis_job(pair, out / "work" / case.name / "job", options), full=full)
                job = replace(job, detail=True)
                analysis = understanding.analyse(job, observer)
                folders = rendered(job, observer)
                methods: list[Result] = [JobResult(group.name, folders, analysis.clip)]
                truth = TrueVideo(_present(pair.truth), analysis.clip.info, pair.truth_masks)
                scored.append(run.score_pair(case.name, analysis, methods, truth, tools, options, observer))
    return run.write(out, "Groups", scored, [f"{g.name}: {g.told}." for g in groups], {"full": full})


def synthetic_pair(
    case: SyntheticCase, out: Path, observer: StepObserver, *, full: bool, frames: int | None = None
) -> Pair:
    """A synthetic pair in ``out/work``, in the size of the run; ``frames`` = its length, if not the usual one."""
    side, usual = (FULL_SIDE, FULL_FRAMES) if full else (REDUCED_SIDE, REDUCED_FRAMES)
    frames = frames or usual
    return make_pair(case, out / "work" / case.name / f"{side}x{frames}", side=side, frames=frames, observer=observer)


def _present(path: Path | None) -> Path:
    assert path is not None, "synthetic pairs have their truth"
    return path
