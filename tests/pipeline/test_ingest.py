"""What ingest says of a clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import av
import cv2
import numpy as np

from gswap.foundation.types import no_progress
from gswap.media.config import MediaLimits
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.runner import StepContext
from gswap.pipeline.steps import ingest


def make_job(folder: Path) -> Job:
    """A photo, and a clip of 60 noisy frames."""
    rng = np.random.default_rng(0)
    photos, clip = folder / "photos", folder / "clip.mkv"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "5"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 64, 3), np.uint8))))
        container.mux(stream.encode())
    settings = dataclasses.replace(Settings(), limits=MediaLimits(allow_truncated=True))
    return Job((photos,), clip, folder / "out.mp4", folder / "consent.toml", folder / "work", settings=settings)


def notes_of(job: Job, folder: Path) -> dict:
    folder.mkdir()
    context = StepContext(job, folder, {}, no_progress, (), {})
    ingest.STEP.run(context)
    return context.notes


def test_a_clip_that_is_cut_off_is_said_to_be(tmp_path):
    job = make_job(tmp_path)
    whole = notes_of(job, tmp_path / "whole")
    assert whole["frames"] == 60 and "warnings" not in whole
    job.target.write_bytes(job.target.read_bytes()[: job.target.stat().st_size // 2])
    part = notes_of(job, tmp_path / "part")
    (warning,) = part["warnings"]
    assert 5 < part["frames"] < 55 and f"first {part['frames']} frames" in warning
