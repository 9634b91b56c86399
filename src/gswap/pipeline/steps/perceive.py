"""Perceive: frames -> one person's face track; photos -> their faces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gswap.foundation.errors import UsageError
from gswap.foundation.landmarks import head_angles
from gswap.foundation.store import hash_file, read_json, write_face_track, write_json
from gswap.foundation.types import RgbImage
from gswap.media.stills import load_photo
from gswap.perception.clip import choose_person, find_people, follow
from gswap.perception.photos import perceive_photos, pick_photos
from gswap.pipeline.config import Job
from gswap.pipeline.parts import chosen, identity_embedder
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import ingest


def _config(job: Job) -> object:
    person = job.person
    if person is not None and not person.isdecimal():
        person = hash_file(Path(person)) if os.path.exists(person) else person
    return {"perceive": job.settings.perceive, "person": person, **chosen(job.parts, "identity")}


def person_choice(job: Job) -> tuple[int | None, np.ndarray | None]:
    """``--person`` as a number or as an identity.

    Raises:
        UsageError: It is neither a number nor a file.
        InputError: The photo cannot be used.
    """
    if job.person is None:
        return None, None
    if job.person.isdecimal():
        return int(job.person), None
    photo = Path(job.person)
    if not photo.exists():
        raise UsageError(f"Expected --person to be a number or a photo, found {job.person!r}.")
    image = load_photo(photo, max_side=ingest.PHOTO_SIDE)
    faces = perceive_photos([image], [photo.name], job.settings.perceive, embed=identity_embedder(job))
    return None, faces.embedding[0]


def _run(context: StepContext) -> None:
    job, cfg = context.job, context.job.settings.perceive
    source, embed = context.folders["ingest"], identity_embedder(job)
    photos = ingest.load_photos(source)
    if ingest.photos_are_picked(source):
        chosen = pick_photos(photos, cfg)
        names = [f"frame {i} of the source video" for i in chosen]
    else:
        chosen = list(range(len(photos)))
        names = [str(p) for p in ingest.source_files(job)]
    photos = [photos[i] for i in chosen]
    photo_faces = perceive_photos(photos, names, cfg, progress=context.progress, embed=embed)

    clip = ingest.load_clip(source, job)
    index, identity = person_choice(job)
    count = clip.info.frame_count
    people = find_people(clip.images, count, clip.shots, cfg, progress=context.progress, embed=embed)
    person = choose_person(people, cfg, index=index, identity=identity)
    faces = follow(
        clip.images,
        person,
        size=(clip.info.width, clip.info.height),
        shots=clip.shots,
        duplicate=clip.duplicate,
        cfg=cfg,
        progress=context.progress,
        embed=embed,
    )
    write_face_track(context.folder / "photo_faces.safetensors", photo_faces)
    write_face_track(context.folder / "faces.safetensors", faces)
    write_json(context.folder / "photos.json", chosen)
    soft = [Path(n).name for n, f in zip(names, photo_faces.sharpness, strict=True) if f < cfg.soft_sharpness]
    context.notes |= {
        "people": len(people),
        "untouched": np.flatnonzero(~faces.valid).tolist(),
        "bridged": np.flatnonzero(faces.bridged).tolist(),
        "photo_yaw": head_angles(photo_faces.landmarks)[:, 0].round(1).tolist(),
        "warnings": [f"Photo {name} is a little soft." for name in soft],
    }


def load_photos(ingest_folder: Path, perceive_folder: Path) -> list[RgbImage]:
    """The photos in use."""
    photos = ingest.load_photos(ingest_folder)
    return [photos[i] for i in read_json(perceive_folder / "photos.json")]


STEP = Step("perceive", 10, ("ingest",), _config, _run)
