"""Swap: photos + frames + masks -> I_gen, one head-swapped image per frame (Sec. III-B), or I_gen from elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.landmarks import head_angles, lid_opening
from gswap.foundation.store import (
    PngStore,
    hash_file,
    read_body_track,
    read_face_track,
    read_json,
    write_body_track,
    write_face_track,
    write_json,
)
from gswap.foundation.types import BodyTrack, FaceTrack, Progress, RgbImage, SwapFrame, SwapSet, TargetSet
from gswap.perception.config import PerceptionConfig
from gswap.perception.refine import FEW, LOOKS, look_often, refine_landmarks, reliability
from gswap.pipeline.config import Job
from gswap.pipeline.diffusing import Cast, coarse_reenactor, paint_clip, painter_config
from gswap.pipeline.parts import body_model
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import segment
from gswap.swap.embedded.calibrate import ROUNDS, calibrated, calibration_frames, nodded
from gswap.swap.embedded.lift import to_image
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.generated import GeneratedFrames

DROPPED = "dropped.json"
"""Numbers of the frames that were painted in vain, where there are some."""
REFINED = "faces.safetensors"
"""The target's landmarks as the swapper takes them."""
PLACED = "placed.safetensors"
"""Where the embedded swapper put the new head's landmarks: what the portrait's surface follows."""
HEADS = "heads.safetensors"
"""The target's track with the new head as the embedded swapper turned it: what drives the portrait."""
RELIABLE = 0.98
"""Squared correlation of read and true lid openings below which the clip is looked at again."""
READING_CROP = 384
"""Side of the crops in which frames are read for the calibration, pixels: the networks see 192 of them, and to resample
larger ones costs as much as the networks. The target is read as the user asked for."""
STORES = ("rgb", "head", "neck", "plate", "confidence")


def _config(job: Job) -> object:
    generated = None
    if job.generated is not None:
        generated = [hash_file(p) for p in sorted(job.generated.rglob("*")) if p.is_file()]
    made = {"swap": job.settings.swap, "mouth": job.mouth, "generated": generated}
    painter = painter_config(job) if generated is None else None
    return made if painter is None else made | {"diffusion": painter}


def _run(context: StepContext) -> None:
    job, folders = context.job, context.folders
    faces = read_face_track(folders["perceive"] / "faces.safetensors")
    body = segment.restrict(read_body_track(folders["track"] / "body.safetensors"), faces)
    count = len(faces)
    target = segment.load_target(folders, count)
    make: Callable[[int], SwapFrame]
    advice, choices, dropped = (), {}, ()
    if job.generated is not None:
        make = GeneratedFrames(job.generated, target, faces).frame
    else:
        faces = _refined_faces(context, faces, body, target)
        photos = segment.load_photos(folders)
        photo_faces = read_face_track(folders["perceive"] / "photo_faces.safetensors")
        photo_body = read_body_track(folders["track"] / "photo_body.safetensors")
        cfg = dataclasses.replace(job.settings.swap, mouth=job.mouth)
        model = body_model(job.parts.body)
        swapper = EmbeddedSwapper(target, faces, body, photos, photo_faces, photo_body, model, cfg)
        if cfg.calibrate:
            _calibrate(swapper, faces, job.settings.perceive, context.progress)
        make, advice = swapper.frame, swapper.advice()
        choices = {str(t): dict(swapper.choice(t)) for t in range(count) if body.valid[t]}
        if job.parts.swapper == "diffusion":
            cast = Cast(target, faces, body, photos, photo_faces, photo_body, model)
            painted = paint_clip(job, cast, coarse_reenactor(job, cast, swapper), context.folder, context.progress)
            make, dropped = painted.frame, painted.dropped
            context.notes |= {"generator": painted.facts}
        else:
            write_face_track(context.folder / PLACED, _placed(swapper, faces))
            write_body_track(context.folder / HEADS, _heads(swapper, body))
    stores = {name: PngStore(context.folder / name, count) for name in STORES}
    for t in range(count):
        if body.valid[t] and not all(t in store for store in stores.values()):
            frame = make(t)
            for name, store in stores.items():
                store.write(t, np.ascontiguousarray(getattr(frame, name)))
        context.progress(t + 1, count, "I_gen")
    write_json(context.folder / "swap.json", {"advice": list(advice)})
    write_json(context.folder / "choices.json", choices)
    if dropped:
        write_json(context.folder / DROPPED, list(dropped))
        told = f"{len(dropped)} painted frames missed the identity or the pose and were left out of the fit."
        context.notes |= {"warnings": [told]}
    context.notes |= {"advice": list(advice), "generated": job.generated is not None}


def _refined_faces(context: StepContext, faces: FaceTrack, body: BodyTrack, target: TargetSet) -> FaceTrack:
    """The track with lids and lips read several times in every frame; kept, so that a killed job goes on with them."""
    path = context.folder / REFINED
    if not path.exists():
        window, usable = target.window, np.flatnonzero(body.valid & ~faces.bridged & ~faces.duplicate)
        hints = {int(t): window.to_work(int(t), faces.landmarks[t]) for t in usable}
        found = _look_enough(target, hints, context.job.settings.perceive, context.progress)
        landmarks = faces.landmarks.copy()
        for t, points in found.items():
            landmarks[t] = points / window.scale + (window.x[t], window.y[t], 0)
        write_face_track(path, dataclasses.replace(faces, landmarks=landmarks))
    return read_face_track(path)


def _placed(swapper: EmbeddedSwapper, faces: FaceTrack) -> FaceTrack:
    """The new head's landmarks as they were placed, full-frame pixels (no depth); valid where there is a frame."""
    plan, window = swapper.plan, swapper.target.window
    landmarks = np.full_like(faces.landmarks, np.nan)
    for t in np.flatnonzero(plan.frames.valid):
        camera = plan.frames.cameras[t]
        points, _ = to_image(plan.posed.local[t], plan.frames.rotation[t], plan.frames.translation[t], camera)
        landmarks[t, :, :2] = points / window.scale + (window.x[t], window.y[t])
    landmarks[plan.frames.valid, :, 2] = 0
    return dataclasses.replace(faces, landmarks=landmarks, valid=plan.frames.valid)


def _heads(swapper: EmbeddedSwapper, body: BodyTrack) -> BodyTrack:
    """The target's track with the heads as they were put; the torso keeps its attitude."""
    frames = swapper.plan.frames
    turned = np.swapaxes(rotvec_to_matrix(body.rotation), -1, -2) @ frames.rotation
    return dataclasses.replace(
        body,
        rotation=matrix_to_rotvec(frames.rotation),
        translation=frames.translation,
        neck=matrix_to_rotvec(rotvec_to_matrix(body.neck) @ turned),
    )


def load_heads(folders: dict[str, Path]) -> BodyTrack:
    """The target's track with the heads as the swapper put them; as it is where it did not turn any."""
    turned = folders["swap"] / HEADS
    return read_body_track(turned if turned.exists() else folders["track"] / "body.safetensors")


def _look_enough(
    target: TargetSet, hints: dict[int, np.ndarray], cfg: PerceptionConfig, progress: Progress
) -> dict[int, np.ndarray]:
    """Landmarks of the mean of four looks; of eight in a clip whose lids move little more than four looks err."""
    found = look_often(target.rgb, hints, cfg, looks=LOOKS[:FEW], progress=progress)
    whole = [looks for looks in found.values() if len(looks) == FEW]
    lids = [lid_opening(np.stack(whole), "right") + lid_opening(np.stack(whole), "left")] if whole else []
    if any(reliability(signal) < RELIABLE for signal in lids):
        again = look_often(target.rgb, {t: hints[t] for t in found}, cfg, looks=LOOKS[FEW:], progress=progress)
        found |= {t: np.concatenate([found[t], looks]) for t, looks in again.items()}
    return {t: looks.mean(0) for t, looks in found.items()}


class _Made:
    """Frames of I_gen as an image store: made when they are asked for."""

    def __init__(self, swapper: EmbeddedSwapper) -> None:
        self._swapper = swapper

    def __len__(self) -> int:
        return len(self._swapper.plan.frames.valid)

    def __getitem__(self, index: int, /) -> RgbImage:
        return self._swapper.frame(index).rgb


def _calibrate(swapper: EmbeddedSwapper, faces: FaceTrack, cfg: PerceptionConfig, progress: Progress) -> None:
    """Let the face be read off a few frames as they would come out, correct the plan by that, and once more."""
    window, cfg = swapper.target.window, dataclasses.replace(cfg, crop=min(cfg.crop, READING_CROP))
    for part in range(ROUNDS):
        hints = {t: window.to_work(t, faces.landmarks[t]) for t in calibration_frames(swapper.plan, part)}
        readings = refine_landmarks(_Made(swapper), hints, cfg, looks=LOOKS, progress=progress)
        plan = calibrated(swapper.plan, readings)
        first = part == 0  # the other round sees how the lips are read on the turned head
        swapper.plan = nodded(plan, readings, head_angles(faces.landmarks), faces.shots) if first else plan


def leave_out(track: BodyTrack, folder: Path) -> BodyTrack:
    """The track without the frames of I_gen that are not good enough to learn from."""
    listed = folder / DROPPED
    valid = track.valid.copy()
    if listed.exists():
        valid[read_json(listed)] = False
    return dataclasses.replace(track, valid=valid)


def load_swap(folders: dict[str, Path], count: int) -> SwapSet:
    """I_gen."""
    folder = folders["swap"]
    stores = {name: PngStore(folder / name, count) for name in STORES}
    return SwapSet(advice=tuple(read_json(folder / "swap.json")["advice"]), **stores)


STEP = Step("swap", 14, ("ingest", "perceive", "track", "segment"), _config, _run)
