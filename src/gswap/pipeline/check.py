"""Is this input fit for a swap? Everything that can be known before any long work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.errors import GswapError, InputError
from gswap.foundation.landmarks import head_angles, mouth_gap
from gswap.foundation.types import FaceTrack, RgbImage, Shot
from gswap.media.probe import probe
from gswap.media.read import VideoReader, sample_frames
from gswap.media.scenes import ShotDetector
from gswap.media.stills import load_photo
from gswap.perception.adapters.mediapipe import MediaPipeMatte
from gswap.perception.clip import choose_person, find_people, follow
from gswap.perception.config import PerceptionConfig
from gswap.perception.photos import perceive_photos, pick_photos
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.preflight import disk_need
from gswap.pipeline.steps import ingest
from gswap.pipeline.steps.perceive import person_choice
from gswap.segmentation.person import person_around
from gswap.swap.config import FallConfig
from gswap.swap.embedded.photos import hair_is_cut, lowest_row

PROBE_FRAMES = 60
"""Frames of the clip that are looked at, at most: they are all held in memory."""
SECONDS_PER_FRAME = 1.6
"""CPU seconds of a whole swap per frame at 512x512 (docs/benchmarks.md), without the fit."""
FIT_SECONDS = 340.0
MEMORY_MB = 2500
"""Peak memory of a swap."""
HAIR_FACE = 240.0
"""Width of a face at which its hair is looked at, pixels."""
YAW_REACH = 25.0
"""Degrees from the nearest photo beyond which the head is guessed."""


@dataclass(frozen=True)
class CheckReport:
    """What was found."""

    fit: bool
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def check_input(source: Path, target: Path, person: str | None, observer: StepObserver) -> CheckReport:
    """Examine photos and clip; input errors become problems of the report."""
    facts: list[str] = []
    warnings: list[str] = []
    problems: list[str] = []
    settings = Settings()
    job = Job((source,), target, target, target, target, person=person, settings=settings)
    photos: FaceTrack | None = None
    clip: FaceTrack | None = None
    try:
        photos = _photos(job, settings.perceive, facts, warnings, observer)
    except GswapError as error:
        problems.append(str(error))
    try:
        clip = _clip(job, settings, facts, warnings, observer)
    except GswapError as error:
        problems.append(str(error))
    if photos is not None and clip is not None:
        warnings += _coverage(photos, clip)
        distance = np.linalg.norm(
            photos.embedding[:, None] - clip.embedding[np.isfinite(clip.embedding[:, 0])][None], axis=-1
        )
        if distance.size:
            facts.append(f"Identity distance between the two people: {np.median(distance):.2f}.")
    return CheckReport(not problems, tuple(facts), tuple(warnings), tuple(problems))


def _photos(
    job: Job, cfg: PerceptionConfig, facts: list[str], warnings: list[str], observer: StepObserver
) -> FaceTrack:
    files = ingest.source_files(job)
    if ingest.is_video_source(files):
        images = sample_frames(probe(files[0], job.settings.limits), ingest.CANDIDATES)
        chosen = pick_photos(images, cfg)
        images, names = [images[i] for i in chosen], [f"frame {i} of {files[0].name}" for i in chosen]
    else:
        images, names = [load_photo(p, max_side=ingest.PHOTO_SIDE) for p in files], [p.name for p in files]
    faces = perceive_photos(
        images, names, cfg, progress=lambda done, total, note="": observer.progress("photos", done, total, note)
    )
    yaw = head_angles(faces.landmarks)[:, 0]
    facts.append(f"{len(files)} photos, yaw {yaw.min():.0f} to {yaw.max():.0f} degrees.")
    for name, focus in zip(names, faces.sharpness, strict=True):
        if focus < cfg.soft_sharpness:
            warnings.append(f"Photo {name} is a little soft (focus {focus:.1f}).")
    cut = _cut_hair(images, faces)
    if cut:
        warnings.append(f"The lower border of {cut} of {len(images)} photos cuts the hair: it goes on by guess.")
    width = np.ptp(faces.landmarks[:, :468, 0], axis=1)
    if width.max() < 120:
        warnings.append(f"The largest face in the photos is only {width.max():.0f} px wide.")
    return faces


def _cut_hair(images: list[RgbImage], faces: FaceTrack) -> int:
    """How many photos end in hair, above where nobody looks for it."""
    count = 0
    with MediaPipeMatte() as matte:
        for image, marks in zip(images, faces.landmarks, strict=True):
            if lowest_row(marks[:, :2]) < len(image):
                continue
            scale = min(1.0, HAIR_FACE / float(np.ptp(marks[:468, 0])))
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            points = marks[:, :2] * (np.array(size) / (image.shape[1], image.shape[0]))
            person = cv2.resize(person_around(image, marks, matte), size, interpolation=cv2.INTER_AREA)
            count += hair_is_cut(small, person, points, FallConfig())
    return count


def _clip(job: Job, settings: Settings, facts: list[str], warnings: list[str], observer: StepObserver) -> FaceTrack:
    info = probe(job.target, settings.limits)
    step = -(-info.frame_count // PROBE_FRAMES)
    images, detector = [], ShotDetector()
    with VideoReader(info) as reader:
        for frame in reader.frames():
            detector.feed(frame.rgb)
            if frame.index % step == 0:
                images.append(frame.rgb)
            observer.progress("clip", frame.index + 1, info.frame_count, "")
    cuts = [shot.start for shot in detector.shots()][1:]
    facts.append(
        f"Clip: {info.frame_count} frames, {info.width}x{info.height}, {info.fps:.2f} frames a second, "
        f"{info.seconds:.1f} s, {'with' if info.has_audio else 'no'} sound, {len(cuts)} cuts."
    )
    shots = _thin_shots(detector.shots(), step, len(images))
    people = find_people(lambda: images, len(images), shots, settings.perceive)
    index, identity = person_choice(job)
    person = choose_person(people, settings.perceive, index=index, identity=identity)
    faces = follow(
        lambda: images,
        person,
        size=(info.width, info.height),
        shots=shots,
        duplicate=np.zeros(len(images), bool),
        cfg=settings.perceive,
    )
    if not faces.valid.any():
        raise InputError(
            "Expected a clear face in the clip, but its features (eyes, nose, mouth) were not found in any frame.",
            hint="Use a clip in which the face is larger, in focus, and not of a drawing.",
            path=job.target,
        )
    facts.append(f"The person is found in {faces.valid.mean():.0%} of the frames looked at.")
    if faces.valid.mean() < 0.9:
        warnings.append(f"In {1 - faces.valid.mean():.0%} of the frames nobody is found; they pass through untouched.")
    width = float(np.nanmedian(np.ptp(faces.landmarks[:, :468, 0], axis=1)))
    if width < 60:
        warnings.append(f"The face in the clip is only {width:.0f} px wide.")
    pixels = min(info.width * info.height, 1024 * 1024) / 512**2
    if info.truncated:
        warnings.append(ingest.cut_off(info))
    seconds = info.frame_count * SECONDS_PER_FRAME * pixels + FIT_SECONDS
    facts.append(
        f"Estimate: {seconds / 60 / min(os.cpu_count() or 1, 2):.0f} minutes on this machine, "
        f"{disk_need(info, info.frame_count) / 2**20:.0f} MB of disk, {MEMORY_MB} MB of memory."
    )
    return faces


def _thin_shots(shots: tuple[Shot, ...], step: int, count: int) -> tuple[Shot, ...]:
    """Shots of the clip -> shots of every ``step``-th frame."""
    starts = sorted({min(-(-shot.start // step), count - 1) for shot in shots})
    return tuple(Shot(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True) if b > a)


def _coverage(photos: FaceTrack, clip: FaceTrack) -> list[str]:
    """What the photos do not show although the clip needs it."""
    have = head_angles(photos.landmarks)[:, 0]
    need = head_angles(clip.landmarks[clip.valid])[:, 0]
    far = np.abs(need[:, None] - have[None]).min(1)
    found = []
    if (far > YAW_REACH).any():
        worst = float(need[far.argmax()])
        found.append(
            f"The head turns to {worst:.0f} degrees, {far.max():.0f} from the nearest photo: add a photo like that."
        )
    if mouth_gap(clip.landmarks[clip.valid]).max() > 0.12 > mouth_gap(photos.landmarks).max():
        found.append("The mouth opens wide in the clip, but in no photo: add one with the mouth open.")
    return found
