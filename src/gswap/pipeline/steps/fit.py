"""Fit: I_gen, plate and track -> the dynamic portrait (Sec. III-C)."""

from __future__ import annotations

import dataclasses

import numpy as np

from gswap.foundation.protocols import Rasterizer
from gswap.foundation.store import PngStore, encode_png, hash_file, write_bytes
from gswap.foundation.types import RgbImage
from gswap.pipeline.config import Device, Job
from gswap.pipeline.parts import body_model, chosen, perceptual_loss, upscaler
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import retrack, segment, swap
from gswap.portrait.fit import fit_portrait
from gswap.portrait.guidance import enlarge_generated
from gswap.portrait.io import load_portrait, save_portrait
from gswap.splat import get_rasterizer

PORTRAIT = "portrait.safetensors"


def _config(job: Job) -> object:
    given = hash_file(job.portrait) if job.portrait is not None else None
    own = {"fit": job.settings.fit, "seed": job.seed, "portrait": given, "device": job.device, "threads": job.threads}
    if job.refine:
        own["refine"] = True
    return own | chosen(job.parts, "perceptual", "upscaler")


def rasterizer(job: Job) -> Rasterizer:
    """The splatting backend of a job."""
    return splat_on(job.device)


def splat_on(device: Device) -> Rasterizer:
    """The splatting backend of a device, taking and giving CPU tensors: the portrait lives on the CPU."""
    if device != "cuda":
        return get_rasterizer("auto")
    cuda = get_rasterizer("cuda")

    def through_cuda(means, quats, scales, opacities, features, camera, /):
        image, alpha = cuda(means.cuda(), quats.cuda(), scales.cuda(), opacities.cuda(), features.cuda(), camera)
        return image.cpu(), alpha.cpu()

    return through_cuda


def _run(context: StepContext) -> None:
    job, folders = context.job, context.folders
    model = body_model(job.parts.body)
    track = swap.leave_out(retrack.load_training_track(folders["retrack"]), folders["swap"])
    start = None if job.portrait is None else load_portrait(job.portrait, model)
    if start is not None and not job.refine:
        save_portrait(context.folder / PORTRAIT, start)
        context.notes |= {"portrait": "given"}
        return

    def on_preview(step: int, sheet: RgbImage) -> None:
        write_bytes(context.folder / f"preview{step:05d}.png", encode_png(sheet))

    generated, enlarged = swap.load_swap(folders, len(track)), None
    upscale = upscaler(job)
    if upscale is not None:
        enlarged = PngStore(context.folder / "enlarged", len(track))
        enlarge_generated(generated.rgb, np.flatnonzero(track.valid).tolist(), upscale, enlarged, context.progress)
    portrait = fit_portrait(
        segment.load_target(folders, len(track)),
        generated,
        track,
        model,
        dataclasses.replace(job.settings.fit, seed=job.seed),
        rasterize=rasterizer(job),
        state=context.folder,
        progress=context.progress,
        on_preview=on_preview,
        perceptual=perceptual_loss(job),
        enlarged=enlarged,
        start=start,
    )
    save_portrait(context.folder / PORTRAIT, portrait)


STEP = Step("fit", 8, ("segment", "swap", "retrack"), _config, _run)
