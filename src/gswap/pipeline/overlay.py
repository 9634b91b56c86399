"""``gswap track``: mesh, landmarks, masks and confidence over a clip, as a video for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from gswap.body.draw import draw_overlay
from gswap.body.fit import fit_track
from gswap.body.models import load_body
from gswap.foundation.errors import OutputError, UsageError
from gswap.foundation.protocols import PersonMatte
from gswap.foundation.types import Camera, FaceTrack, ImageStore, Masks, Progress, RgbImage, VideoInfo, Window
from gswap.media.encoders import check_output
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.scenes import scan
from gswap.media.sequences import read_mask_sequence
from gswap.media.write import encode_rgb
from gswap.perception.adapters.mediapipe import MediaPipeMatte
from gswap.perception.clip import choose_person, find_people, follow
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.masking import Subject, cut, subject_of
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.steps.perceive import person_choice
from gswap.pipeline.steps.track import BODY
from gswap.segmentation.adapters.user import with_user_head

OUTLINES = {"person": (230, 230, 230), "neck": (70, 200, 255), "head": (255, 220, 40)}
"""Colours of the masks' outlines; later ones are drawn over earlier ones."""


def write_overlay(
    clip: Path,
    out: Path,
    person: str | None,
    *,
    observer: StepObserver,
    overwrite: bool = False,
    user_masks: Path | None = None,
) -> None:
    """Track a clip and draw what was found.

    Args:
        clip: The clip.
        out: The video to write.
        person: A number or a photo, as for a job.
        observer: Is told about the progress.
        overwrite: Replace ``out``.
        user_masks: Folder of head masks, shown in the place of ours.

    Raises:
        OutputError: ``out`` exists.
        UsageError: ``out`` is the clip.
        InputError: No face, or several people and none chosen; the masks do not fit the clip.
    """
    if out.resolve() == clip.resolve():
        raise UsageError("The output would overwrite an input.", hint="Choose another name.", path=out)
    if out.exists() and not overwrite:
        raise OutputError("The output already exists.", hint="Give --overwrite to replace it.", path=out)
    settings = Settings()
    info = probe(clip, settings.limits)
    check_output(info, out)
    user = None if user_masks is None else read_mask_sequence(user_masks, info.frame_count, (info.width, info.height))

    def report(step: str) -> Progress:
        return lambda done, total, note="": observer.progress(step, done, total, note)

    faces = _followed(info, Job((clip,), clip, out, clip, out, person=person, settings=settings), report)
    model = load_body(BODY)
    body = fit_track(faces, model, settings.track, progress=report("fit"))
    subject = subject_of(faces, body, model, settings.segment)
    with MediaPipeMatte() as matte:
        pictures = _drawn(info, subject, matte, user, report("draw"))
        voice = clip if info.has_audio else None
        encode_rgb(out, pictures, info.frame_rate, audio_from=voice, times_of=info)


def _images(info: VideoInfo) -> Iterator[RgbImage]:
    """A new pass over the clip."""
    with VideoReader(info) as reader:
        for frame in reader.frames():
            yield frame.rgb


def _followed(info: VideoInfo, job: Job, report: Callable[[str], Progress]) -> FaceTrack:
    """The face of the chosen person."""
    cfg = job.settings.perceive
    shots, duplicate = scan(_images(info))
    people = find_people(lambda: _images(info), info.frame_count, shots, cfg, progress=report("faces"))
    index, identity = person_choice(job)
    return follow(
        lambda: _images(info),
        choose_person(people, cfg, index=index, identity=identity),
        size=(info.width, info.height),
        shots=shots,
        duplicate=duplicate,
        cfg=cfg,
        progress=report("landmarks"),
    )


def _drawn(
    info: VideoInfo, subject: Subject, matte: PersonMatte, user: ImageStore | None, progress: Progress
) -> Iterator[RgbImage]:
    """The clip with everything drawn on it; ``user`` holds head masks that are shown in the place of ours."""
    body, window = subject.body, subject.window
    wanted = set(subject.color_frames())
    looks = {t: cut(image, window, t) for t, image in enumerate(_images(info)) if t in wanted}
    segmenter = subject.segmenter(looks.__getitem__, matte)
    last: dict[int, Masks] = {}
    for t, image in enumerate(_images(info)):
        progress(t + 1, info.frame_count, "")
        if not subject.usable(t):
            yield image
            continue
        sample = subject.sample(t, cut(image, window, t), matte)
        masks = subject.mask(t, segmenter, sample, last.__getitem__)
        if user is not None:
            masks = with_user_head(masks, cut(user[t], window, t))
        last = {t: masks}
        camera = Camera(float(body.focal[t]), info.width / 2, info.height / 2, info.width, info.height)
        mesh = subject.model.pose(body, subject.rest, t)
        landmarks, trust = subject.faces.landmarks[t], float(body.confidence[t])
        picture = draw_overlay(image, mesh, subject.model, camera, landmarks, trust)
        draw_masks(picture, masks, window, t)
        yield picture


def draw_masks(image: RgbImage, masks: Masks, window: Window, t: int) -> None:
    """Outlines of head, neck and person in ``image``, the full frame ``t``."""
    for name, colour in OUTLINES.items():
        inside = (getattr(masks, name) > 127).astype(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        corner = (window.x[t] - 0.5, window.y[t] - 0.5)
        placed = [np.round((line + 0.5) / window.scale + corner).astype(np.int32) for line in lines]
        cv2.polylines(image, placed, True, colour, max(round(1 / window.scale), 1), cv2.LINE_AA)
