"""What every measure needs to know about the clip and the photos: tracked and segmented by our own stages, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from gswap.apps.evaluate.instruments import Instruments
from gswap.apps.evaluate.scoring import Sample, Shown, SourceFaces
from gswap.apps.evaluate.sources import Picture, Result, full_mask
from gswap.apps.evaluate.truth import Truth
from gswap.foundation.store import read_body_track, read_face_track
from gswap.foundation.types import FaceTrack, SoftMask, TargetSet
from gswap.pipeline.config import Job
from gswap.pipeline.job import STEPS, set_threads
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.runner import run
from gswap.pipeline.steps import ingest, perceive, segment
from gswap.pipeline.workspace import Workspace

BEFORE_SWAP = 4
"""Steps that look at clip and photos and make nothing: ingest, perceive, track, segment."""


@dataclass(frozen=True)
class Analysis:
    """A clip and its photos, understood."""

    job: Job
    folders: dict[str, Path]
    clip: ingest.Clip
    faces: FaceTrack
    photo_faces: FaceTrack
    target: TargetSet
    target_sha256: str

    @property
    def usable(self) -> Bool[np.ndarray, "t"]:
        """Frames in which the person's face was seen (not interpolated) and tracked."""
        return self.faces.valid & ~self.faces.bridged

    def measured(self, limit: int) -> Int[np.ndarray, "n"]:
        """At most ``limit`` frames with the person, evenly spread; 0 = every frame."""
        frames = np.flatnonzero(self.usable)
        if limit and len(frames) > limit:
            frames = frames[np.unique(np.linspace(0, len(frames) - 1, limit).round().astype(int))]
        return frames

    def head(self, t: int) -> SoftMask:
        """Head and neck in the clip, in its own size."""
        both = np.maximum(self.target.head[t], self.target.neck[t])
        return full_mask(both, self.target.window, t, (self.clip.info.width, self.clip.info.height))


def analyse(job: Job, observer: StepObserver) -> Analysis:
    """Track and segment the clip and the photos of a job, in its workspace; what is done there already is reused."""
    set_threads(job.threads)
    with Workspace(job.work) as workspace:
        folders = run(job, STEPS[:BEFORE_SWAP], workspace, observer)
        digest = workspace.notes("ingest", folders["ingest"].name)["target_sha256"]
    return understood(job, folders, digest)


def understood(job: Job, folders: dict[str, Path], target_sha256: str) -> Analysis:
    """The analysis that lies in the folders of finished steps."""
    clip = ingest.load_clip(folders["ingest"], job)
    faces = read_face_track(folders["perceive"] / "faces.safetensors")
    body = read_body_track(folders["track"] / "body.safetensors")
    return Analysis(
        job,
        folders,
        clip,
        replace(faces, valid=faces.valid & body.valid),  # where no body fits the face there are no masks
        read_face_track(folders["perceive"] / "photo_faces.safetensors"),
        segment.load_target(folders, clip.info.frame_count),
        target_sha256,
    )


def source_faces(analysis: Analysis, tools: Instruments) -> SourceFaces:
    """Embeddings of the photos."""
    arcface = None
    if tools.arcface is not None:
        images = perceive.load_photos(analysis.folders["ingest"], analysis.folders["perceive"])
        points = analysis.photo_faces.landmarks
        arcface = np.stack([tools.arcface(image, p) for image, p in zip(images, points, strict=True)])
    return SourceFaces(analysis.photo_faces.embedding.astype(np.float64), arcface)


def walk(
    analysis: Analysis, results: Sequence[Result], truth: Truth | None, frames: Int[np.ndarray, "n"]
) -> Iterator[Sample]:
    """Clip, results and truth side by side, the measured frames only; two frames of each are in memory."""
    wanted = set(frames.tolist())
    starts = {shot.start for shot in analysis.clip.shots}
    before: tuple[np.ndarray, list[Picture | None]] | None = None
    with ExitStack() as stack:
        streams = [_closing(stack, result.frames()) for result in results]
        true = _closing(stack, truth.frames()) if truth is not None else iter(())
        whole = _closing(stack, analysis.clip.frames())
        for t, (frame, answer, *shown) in enumerate(zip_longest(whole, true, *streams)):
            if frame is None:
                return
            neighbour = before if t not in starts else None
            if t in wanted and None not in shown:
                earlier = [None] * len(shown) if neighbour is None else [p and p.rgb for p in neighbour[1]]
                yield Sample(
                    index=t,
                    rgb=frame.rgb,
                    before=None if neighbour is None else neighbour[0],
                    planes=frame.planes,
                    landmarks=analysis.faces.landmarks[t].astype(np.float64),
                    head=analysis.head(t),
                    results=[
                        Shown(
                            picture.rgb,
                            earlier[k],
                            picture.planes,
                            picture.edited,
                            picture.matte,
                            picture.generated,
                        )
                        for k, picture in enumerate(shown)
                    ],
                    truth=None if answer is None else answer.rgb,
                    true_matte=None if answer is None else answer.matte,
                )
            before = frame.rgb, shown


def _closing(stack: ExitStack, frames: Iterator):
    """An iterator whose files are closed with the stack."""
    close = getattr(frames, "close", None)
    if close is not None:
        stack.callback(close)
    return frames
