"""Our method with one part changed: the ablations of the paper (Fig. 10-15) as changes of a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from gswap.pipeline.config import Job
from gswap.pipeline.steps.ingest import source_files

STEPS = 300
"""Steps of the fit of a reduced ablation."""
Needs = Literal["nothing", "unsteady", "diffusion"]


@dataclass(frozen=True)
class Variant:
    """One row of the ablation table."""

    name: str
    figure: str
    """Where the paper shows it; empty = ours."""
    brings: str
    """What the part is for, in the paper's or our words."""
    change: Callable[[Job], Job]
    needs: Needs = "nothing"
    """Images of an unsteady generator (made from I_gen), or the paper recipe's swapper with its weights."""
    own_images: bool = False
    """Its I_gen differs from the base's, which it can then not be compared with."""


def _fit(**changes: Any) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        settings = job.settings
        return replace(job, settings=replace(settings, fit=replace(settings.fit, **changes)))

    return change


def _retrack(**changes: Any) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        settings = job.settings
        return replace(job, settings=replace(settings, retrack=replace(settings.retrack, **changes)))

    return change


def _photos(count: int) -> Callable[[Job], Job]:
    """The first ``count`` photos, in the order of their names."""

    def change(job: Job) -> Job:
        return replace(job, sources=tuple(source_files(job)[:count]))

    return change


def _adapt(**changes: Any) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        diffusion = job.settings.diffusion
        diffusion = replace(diffusion, adapt=replace(diffusion.adapt, **changes))
        return replace(job, settings=replace(job.settings, diffusion=diffusion))

    return change


def _same(job: Job) -> Job:
    return job


_FIRST = _fit(temporal="mlp", driving_condition="first")
VARIANTS: tuple[Variant, ...] = (
    Variant("ours", "", "the base of the comparison, without detail transfer", _same),
    Variant("with detail transfer", "", "texture, eyes and mouth of I_gen", lambda job: replace(job, detail=True)),
    Variant("without retracking", "Fig. 11", "expressions that fit the training images", _retrack(method="none")),
    Variant("paper's retracking", "Fig. 11", "every image of I_gen fitted on its own", _retrack(method="full")),
    Variant("with temporal feature, c_1", "Fig. 14", "steady colours from unsteady images", _FIRST),
    Variant("nothing by expression", "", "wrinkles, shading, the inside of the mouth", _fit(expressions=0)),
    Variant("spherical harmonics", "Fig. 14", "fine detail, by neural features", _fit(appearance="harmonics")),
    Variant("RGB blend, no rerendering", "Fig. 12", "a seamless border", _fit(rerender=False)),
    Variant("1 photo", "Fig. 13", "identity", _photos(1), own_images=True),
    Variant("2 photos", "Fig. 13", "identity", _photos(2), own_images=True),
    Variant("4 photos", "Fig. 13", "identity", _photos(4), own_images=True),
    Variant("unsteady I_gen", "Fig. 10", "what a stochastic generator does to us", _same, "unsteady"),
    Variant("unsteady, no retracking", "Fig. 11", "the same", _retrack(method="none"), "unsteady"),
    Variant("unsteady, paper's retracking", "Fig. 11", "the same", _retrack(method="full"), "unsteady"),
    Variant("unsteady, c_1", "Fig. 14", "the same", _FIRST, "unsteady"),
    Variant("paper recipe", "", "the base of the next two", _same, "diffusion", own_images=True),
    Variant(
        "without clothing neutralisation", "Fig. 15", "a head that fits the torso", _adapt(weight_clothes=1.0),
        "diffusion", own_images=True,
    ),
    Variant(
        "without background paste", "Fig. 15", "no background of the photos in the result",
        _adapt(paste_background=False, weight_background=1.0), "diffusion", own_images=True,
    ),
)  # fmt: skip


def base_job(job: Job, *, full: bool) -> Job:
    """The job that all variants change: no detail transfer, and unless ``full`` a short fit at one size."""
    if full:
        return replace(job, detail=False)
    fit = replace(job.settings.fit, coarse_steps=STEPS, fine_steps=0)
    return replace(job, detail=False, settings=replace(job.settings, fit=fit))
