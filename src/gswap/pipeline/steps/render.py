"""Render: the portrait driven by the target's track -> I_out (eq. 7-12), with the layers of a compositor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gswap.foundation.store import PngStore, read_body_track
from gswap.foundation.types import BodyTrack, Render
from gswap.pipeline.config import Job
from gswap.pipeline.parts import body_model
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import fit, ingest, segment, swap
from gswap.portrait.drive import render_portrait
from gswap.portrait.io import load_portrait

STORES = ("rgb", "alpha", "foreground", "plate", "edited")


def _config(job: Job) -> object:
    return {"detail": job.detail, "device": job.device, "threads": job.threads}


def _run(context: StepContext) -> None:
    job, folders = context.job, context.folders
    model = body_model(job.parts.body)
    drive = driving_track(job, folders)
    count = len(drive)
    stores = {name: PngStore(context.folder / name, count) for name in STORES}
    missing = [t for t in range(count) if drive.valid[t] and not all(t in s for s in stores.values())]
    if not missing:
        return
    shots = ingest.load_clip(folders["ingest"], job).shots
    frames = render_portrait(
        load_portrait(folders["fit"] / fit.PORTRAIT, model),
        segment.load_target(folders, count),
        swap.load_swap(folders, count),
        drive,
        model,
        rasterize=fit.rasterizer(job),
        detail=job.detail,
        progress=context.progress,
        frames=missing,
        shots=shots,
    )
    for t, render in frames:
        for name, store in stores.items():
            store.write(t, getattr(render, name))


def driving_track(job: Job, folders: dict[str, Path]) -> BodyTrack:
    """What moves the portrait: the target's track with the new head's shape, or as it is (beta_tgt)."""
    drive = read_body_track(folders["retrack"] / "drive.safetensors")
    if job.settings.fit.driving_shape == "generated":
        return drive
    own = swap.load_heads(folders)
    return dataclasses.replace(own, valid=own.valid & drive.valid)


def is_rendered(folders: dict[str, Path], t: int) -> bool:
    """Whether frame ``t`` was rendered, rather than passed through."""
    return (folders["render"] / "edited" / f"{t:06d}.png").exists()


def load_render(folders: dict[str, Path], count: int, t: int) -> Render | None:
    """I_out of a frame, or ``None`` where the frame passes through."""
    stores = {name: PngStore(folders["render"] / name, count) for name in STORES}
    if t not in stores["edited"]:
        return None
    return Render(**{name: store[t] for name, store in stores.items()})


STEP = Step("render", 5, ("ingest", "segment", "swap", "retrack", "fit"), _config, _run)
