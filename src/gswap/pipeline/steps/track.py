"""Track: landmarks -> a fitted body, for the clip and for the photos."""

from __future__ import annotations

import numpy as np

from gswap.body.fit import fit_track
from gswap.foundation.store import read_face_track, write_body_track
from gswap.pipeline.config import Job
from gswap.pipeline.parts import body_model, chosen
from gswap.pipeline.runner import Step, StepContext

BODY = "anny"
"""The body where nobody chooses one."""


def _config(job: Job) -> object:
    return {"track": job.settings.track, "body": job.parts.body, **chosen(job.parts, "body")}


def _run(context: StepContext) -> None:
    cfg = context.job.settings.track
    model = body_model(context.job.parts.body)
    photo_faces = read_face_track(context.folders["perceive"] / "photo_faces.safetensors")
    faces = read_face_track(context.folders["perceive"] / "faces.safetensors")
    photos = fit_track(photo_faces, model, cfg, photos=True, progress=context.progress)
    body = fit_track(faces, model, cfg, progress=context.progress)
    write_body_track(context.folder / "photo_body.safetensors", photos)
    write_body_track(context.folder / "body.safetensors", body)
    context.notes |= {
        "residual": round(float(np.mean(body.residual[body.valid])), 5),
        "photo_residual": round(float(np.mean(photos.residual)), 5),
        "focal": round(float(np.median(body.focal)), 1),
    }


STEP = Step("track", 11, ("perceive",), _config, _run)
