"""Retrack: landmarks of I_gen -> the new head's shape and the constant bias -> the track that drives the portrait.

Where the swapper says how it turned the head and where it put every landmark, the track follows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gswap.body.bias import retrack, retrack_fully
from gswap.body.moves import follow_landmarks
from gswap.foundation.store import read_body_track, read_face_track, write_body_track, write_face_track
from gswap.foundation.types import BodyTrack, FaceTrack
from gswap.perception.clip import landmarks_near
from gswap.perception.head_points import find_head_points
from gswap.pipeline.config import Job
from gswap.pipeline.parts import body_model
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import segment, swap

DRIVE, TRAIN = "drive.safetensors", "train.safetensors"
"""The track that drives the portrait; and the one it is trained on, where that is another."""


def load_training_track(folder: Path) -> BodyTrack:
    """The track that the portrait is trained on."""
    return read_body_track(folder / (TRAIN if (folder / TRAIN).exists() else DRIVE))


def _config(job: Job) -> object:
    return {"track": job.settings.track, "retrack": job.settings.retrack}


def _run(context: StepContext) -> None:
    folders = context.folders
    faces = read_face_track(folders["perceive"] / "faces.safetensors")
    body = segment.restrict(swap.load_heads(folders), faces)
    target = segment.load_target(folders, len(faces))
    generated = swap.load_swap(folders, len(faces))
    cfg, how = context.job.settings.track, context.job.settings.retrack
    if how.method == "none":
        write_body_track(context.folder / DRIVE, body)
        context.notes |= {"frames": 0}
        return
    usable = np.flatnonzero(body.valid & ~faces.duplicate)
    count = len(usable) if how.method == "full" else min(how.frames, len(usable))
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, count).round().astype(int))]
    hints = {int(t): target.window.to_work(int(t), faces.landmarks[t]) for t in chosen}

    def to_frame(t: int, points: np.ndarray) -> np.ndarray:
        out = points / target.window.scale
        out[:, 0] += target.window.x[t]
        out[:, 1] += target.window.y[t]
        return out

    found = landmarks_near(generated.rgb, hints, context.job.settings.perceive, progress=context.progress)
    head, ears = np.full_like(faces.head_points, np.nan), np.zeros_like(faces.ears_seen)
    if head.shape[1]:
        for t, points in found.items():
            spots, ears[t] = find_head_points(generated.rgb[t], points)
            head[t] = to_frame(t, spots)
    gen_faces = faces_of_generated(faces, {t: to_frame(t, points) for t, points in found.items()})
    gen_faces = dataclasses.replace(gen_faces, head_points=head, ears_seen=ears)
    model = body_model(context.job.parts.body)
    if how.method == "full":
        own, drive = retrack_fully(gen_faces, body, model, cfg, progress=context.progress)
        write_body_track(context.folder / TRAIN, own)
    else:
        drive = retrack(gen_faces, body, model, cfg)
        placed = folders["swap"] / swap.PLACED
        if placed.exists():
            put = read_face_track(placed)
            drive = follow_landmarks(drive, put.landmarks[..., :2], put.valid, model, shots=put.shots)
    write_face_track(context.folder / "gen_faces.safetensors", gen_faces)
    write_body_track(context.folder / DRIVE, drive)
    context.notes |= {"frames": len(found)}


def faces_of_generated(faces: FaceTrack, found: Mapping[int, np.ndarray]) -> FaceTrack:
    """The face track of I_gen: valid where it was looked at and found; without the head's other points."""
    landmarks = np.full_like(faces.landmarks, np.nan)
    valid = np.zeros(len(faces), bool)
    for t, points in found.items():
        landmarks[t] = points
        valid[t] = True
    return dataclasses.replace(
        faces,
        landmarks=landmarks,
        valid=valid,
        bridged=np.zeros(len(faces), bool),
        embedding=np.full_like(faces.embedding, np.nan),
        head_points=np.full_like(faces.head_points, np.nan),
    )


STEP = Step("retrack", 12, ("perceive", "track", "segment", "swap"), _config, _run)
