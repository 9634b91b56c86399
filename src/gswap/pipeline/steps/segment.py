"""Segment: the window, its soft masks and the clean plate, frame by frame; the photos with their mattes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from gswap.foundation.protocols import BodyModel
from gswap.foundation.store import (
    PngStore,
    encode_png,
    hash_file,
    read_body_track,
    read_face_track,
    read_json,
    read_png,
    read_window,
    write_bytes,
    write_json,
    write_window,
)
from gswap.foundation.types import BodyTrack, FaceTrack, Masks, PhotoSet, RgbImage, TargetSet
from gswap.media.sequences import read_mask_sequence
from gswap.perception.adapters.mediapipe import MediaPipeMatte
from gswap.pipeline.config import Job
from gswap.pipeline.masking import cut, subject_of
from gswap.pipeline.parts import body_model, chosen, head_parser, plate_inpainter
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import ingest, perceive
from gswap.segmentation.adapters.parsing import with_parsed_head
from gswap.segmentation.adapters.user import with_user_head
from gswap.segmentation.person import person_around
from gswap.segmentation.photos import prepare_photos
from gswap.segmentation.plate import PlateBuilder, sample_frames

STORES = ("rgb", "head", "neck", "person", "plate")


def _config(job: Job) -> object:
    masks = None
    if job.masks is not None:
        masks = [hash_file(p) for p in sorted(job.masks.iterdir()) if p.is_file()]
    return {"segment": job.settings.segment, "masks": masks, **chosen(job.parts, "parser", "inpainter")}


class _Segmenting:
    """The state of one run of the step."""

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.job = context.job
        self.cfg = context.job.settings.segment
        self.clip = ingest.load_clip(context.folders["ingest"], context.job)
        self.faces = read_face_track(context.folders["perceive"] / "faces.safetensors")
        self.body = read_body_track(context.folders["track"] / "body.safetensors")
        self.model: BodyModel = body_model(self.job.parts.body)
        self.subject = subject_of(self.faces, self.body, self.model, self.cfg)
        self.window = self.subject.window
        self.frame_size = (self.clip.info.width, self.clip.info.height)
        self.parse = head_parser(context.job)
        self.stores = {name: PngStore(context.folder / name, len(self.faces)) for name in STORES}

    def cut_windows(self) -> None:
        """Store the work images."""
        count = self.clip.info.frame_count
        if all(t in self.stores["rgb"] for t in range(count)):
            return
        for t, image in enumerate(self.clip.images()):
            if t not in self.stores["rgb"]:
                self.stores["rgb"].write(t, cut(image, self.window, t))
            self.context.progress(t + 1, count, "windows")

    def masks(self, t: int) -> Masks:
        """Stored masks of frame ``t``."""
        return Masks(self.stores["head"][t], self.stores["neck"][t], self.stores["person"][t])

    def segment(self, matte: MediaPipeMatte) -> bool:
        """Store the masks; returns whether the hair is long."""
        subject, images = self.subject, self.stores["rgb"]
        segmenter = subject.segmenter(images.__getitem__, matte)
        parse, user = self.parse, None
        if self.job.masks is not None:
            user = read_mask_sequence(self.job.masks, len(self.faces), self.frame_size)
        names = ("head", "neck", "person")
        for t in range(len(self.faces)):
            if subject.usable(t) and not all(t in self.stores[n] for n in names):
                masks = subject.mask(t, segmenter, subject.sample(t, images[t], matte), self.masks)
                if parse is not None:
                    masks = with_parsed_head(masks, parse(images[t], subject.landmarks(t)))
                if user is not None:
                    masks = with_user_head(masks, cut(user[t], self.window, t))
                for name in names:
                    self.stores[name].write(t, getattr(masks, name))
            self.context.progress(t + 1, len(self.faces), "masks")
        return segmenter.long_hair

    def plates(self) -> None:
        """Store the clean plates, shot by shot."""
        plate, inpaint = self.stores["plate"], plate_inpainter(self.job)
        for shot in self.clip.shots:
            usable = [t for t in range(shot.start, shot.stop) if self.subject.usable(t)]
            if all(t in plate for t in usable):
                continue
            builder = PlateBuilder(self.window, shot, self.cfg.plate)
            for t in _nearest(sample_frames(shot, self.window, self.cfg.plate), usable):
                builder.observe(t, self.stores["rgb"][t], self.masks(t), self.subject.landmarks(t))
            built = builder.build(inpaint)
            for t in usable:
                if t not in plate:
                    plate.write(t, built.plate(t, self.stores["rgb"][t], self.masks(t), self.subject.landmarks(t)))
                self.context.progress(t + 1, len(self.faces), "plate")


def _nearest(wanted: list[int], usable: list[int]) -> list[int]:
    """Usable frames nearest to the wanted ones, each once."""
    known = np.asarray(usable)
    return sorted({int(known[np.abs(known - t).argmin()]) for t in wanted})


def _photos(work: _Segmenting, matte: MediaPipeMatte) -> PhotoSet:
    context = work.context
    images = perceive.load_photos(context.folders["ingest"], context.folders["perceive"])
    faces = read_face_track(context.folders["perceive"] / "photo_faces.safetensors")
    body = read_body_track(context.folders["track"] / "photo_body.safetensors")
    mattes = [person_around(image, faces.landmarks[i], matte) for i, image in enumerate(images)]
    return prepare_photos(images, faces, body, work.model, mattes, work.cfg, parse=work.parse)


def _run(context: StepContext) -> None:
    work = _Segmenting(context)
    write_window(context.folder / "window.safetensors", work.window)
    work.cut_windows()
    with MediaPipeMatte() as matte:
        marker = context.folder / "photos.json"
        if not marker.exists():
            photos = _photos(work, matte)
            store_photos(context.folder, photos)
        long_hair = work.segment(matte)
    work.plates()
    write_json(context.folder / "clip.json", {"long_hair": long_hair})
    context.notes |= {
        "window": [work.window.width, work.window.height],
        "work_scale": work.window.scale,
        "long_hair": long_hair,
        "source_long_hair": bool(read_json(context.folder / "photos.json")["long_hair"]),
    }


def store_photos(folder: Path, photos: PhotoSet) -> None:
    """Store a :class:`PhotoSet`; ``photos.json`` is written last."""
    for i in range(len(photos.rgb)):
        for name in ("head", "person", "alpha", "foreground"):
            write_bytes(folder / f"photo{i:02d}_{name}.png", encode_png(getattr(photos, name)[i]))
    write_json(folder / "photos.json", {"count": len(photos.rgb), "long_hair": photos.long_hair})


def load_photos(folders: dict[str, Path]) -> PhotoSet:
    """The photos with their mattes."""
    folder = folders["segment"]
    facts = read_json(folder / "photos.json")
    rgb: list[RgbImage] = perceive.load_photos(folders["ingest"], folders["perceive"])
    parts = {
        name: tuple(read_png(folder / f"photo{i:02d}_{name}.png") for i in range(facts["count"]))
        for name in ("head", "person", "alpha", "foreground")
    }
    return PhotoSet(rgb=tuple(rgb), long_hair=facts["long_hair"], **parts)


def load_target(folders: dict[str, Path], count: int) -> TargetSet:
    """The clip in its window."""
    folder = folders["segment"]
    stores = {name: PngStore(folder / name, count) for name in STORES}
    window = read_window(folder / "window.safetensors")
    return TargetSet(window=window, long_hair=read_json(folder / "clip.json")["long_hair"], **stores)


def restrict(body: BodyTrack, faces: FaceTrack) -> BodyTrack:
    """The track, valid only where the face is too."""
    return dataclasses.replace(body, valid=body.valid & faces.valid)


STEP = Step("segment", 7, ("ingest", "perceive", "track"), _config, _run)
