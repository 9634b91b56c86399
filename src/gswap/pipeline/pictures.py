"""Pictures of a job for people: the contact sheet and the side-by-side video."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gswap.foundation.landmarks import head_angles, lid_opening, mouth_gap
from gswap.foundation.store import PngStore, read_body_track, read_face_track, read_json
from gswap.foundation.types import FaceTrack, RgbImage
from gswap.media.color import rgb_to_planes
from gswap.media.compare import contact_sheet as tile
from gswap.media.compare import side_by_side
from gswap.media.layout import display_layout
from gswap.media.write import BT709, VideoWriter, rgb_video_info
from gswap.pipeline.config import Job
from gswap.pipeline.parts import body_model
from gswap.pipeline.steps import fit, perceive, render, segment
from gswap.portrait.frames import window_camera
from gswap.portrait.io import load_portrait
from gswap.portrait.overlay import mesh_before_and_after

if TYPE_CHECKING:
    from gswap.pipeline.runner import StepContext
    from gswap.pipeline.steps.ingest import Clip

CELL = 320
"""Height of a picture in the contact sheet, in pixels."""


def telling_frames(faces: FaceTrack, count: int = 8) -> list[int]:
    """Frames that show what can go wrong: widest mouth, closed eyes, extreme poses, and some spread evenly."""
    usable = np.flatnonzero(faces.valid)
    if not len(usable):
        return []
    points = faces.landmarks[usable].astype(np.float64)
    lids = lid_opening(points, "right") + lid_opening(points, "left")
    yaw = head_angles(points)[:, 0]
    chosen = {int(usable[k]) for k in (mouth_gap(points).argmax(), lids.argmin(), yaw.argmin(), yaw.argmax())}
    for t in usable[np.linspace(0, len(usable) - 1, count).round().astype(int)]:
        if len(chosen) < count:
            chosen.add(int(t))
    return sorted(chosen)


def contact_sheet(context: StepContext) -> RgbImage:
    """Rows target | photo | I_gen | I_out at the telling frames."""
    folders = context.folders
    faces = read_face_track(folders["perceive"] / "faces.safetensors")
    count = len(faces)
    photos = perceive.load_photos(folders["ingest"], folders["perceive"])
    choices: Mapping[str, object] = read_json(folders["swap"] / "choices.json")
    target = PngStore(folders["segment"] / "rgb", count)
    generated = PngStore(folders["swap"] / "rgb", count)
    rows, labels = [], []
    for t in telling_frames(faces):
        result = render.load_render(folders, count, t)
        if result is None or t not in generated:
            continue
        photo = photos[base_photo(choices, t)]
        rows.append([target[t], photo, generated[t], result.rgb])
        labels.append(f"frame {t}")
    if not rows:
        return np.zeros((CELL, CELL, 3), np.uint8)
    return tile([[_cell(image) for image in row] for row in rows], labels)


def mesh_sheet(context: StepContext) -> RgbImage:
    """I_gen | mesh as tracked | mesh with delta_M, at the frame that is tracked best (Fig. 9)."""
    folders = context.folders
    model = body_model(context.job.parts.body)
    drive = read_body_track(folders["retrack"] / "drive.safetensors")
    portrait = load_portrait(folders["fit"] / fit.PORTRAIT, model)
    target = segment.load_target(folders, len(drive))
    t = int(np.where(drive.valid, drive.residual, np.inf).argmin())
    image = PngStore(folders["swap"] / "rgb", len(drive))[t]
    pair = mesh_before_and_after(portrait, image, drive, t, window_camera(target, drive, t), model)
    return tile([[_cell(picture) for picture in (image, *pair)]], [f"frame {t}"])


def base_photo(choices: Mapping[str, object], t: int) -> int:
    """Index of the photo that frame ``t``'s head was taken from (0 where the swapper did not choose)."""
    choice = choices.get(str(t))
    return int(choice["base"]) if isinstance(choice, dict) else 0


def _cell(image: RgbImage) -> RgbImage:
    width = round(image.shape[1] * CELL / image.shape[0])
    method = cv2.INTER_AREA if image.shape[0] > CELL else cv2.INTER_CUBIC
    return cv2.resize(image, (width, CELL), interpolation=method)  # type: ignore[return-value]


class CompareWriter:
    """Writes target | result next to each other, with the clip's times and sound."""

    def __init__(self, path: Path, clip: Clip, job: Job, tags: Mapping[str, str]) -> None:
        info = clip.info
        whole = clip.whole
        base = rgb_video_info(path, (2 * info.width, info.height), info.frame_rate, whole.frame_count)
        self._info = dataclasses.replace(
            base,
            pts=whole.pts,
            durations=whole.durations,
            time_base=whole.time_base,
            sample_aspect_ratio=whole.sample_aspect_ratio,
        )
        self._layout = display_layout(self._info)
        self._writer = VideoWriter(
            path,
            self._info,
            options=job.settings.encode,
            audio_from=job.target if info.has_audio else None,
            metadata=tags,
            span=(clip.first, clip.first + info.frame_count),
        )

    def __enter__(self) -> CompareWriter:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, value, trace)

    def write(self, target: RgbImage, result: RgbImage, pts: int, duration: int) -> None:
        """Add a frame."""
        both = side_by_side([target, result])
        self._writer.write(rgb_to_planes(both, self._layout, BT709), pts, duration)
