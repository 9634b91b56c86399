"""Deliver: I_out -> a video with the clip's own timing, colour and sound, marks, layers, pictures and the report.

What is written here is everything but the signature, which :mod:`gswap.pipeline.publish` adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.store import PngStore, atomic_path, encode_png, write_bytes
from gswap.foundation.types import Render, RgbImage, VideoFrame, VideoInfo, Window
from gswap.media.color import paste, planes_to_rgb
from gswap.media.layout import display_layout
from gswap.media.write import VideoWriter
from gswap.output.config import LabelConfig
from gswap.output.label import Label, PlaneLayout
from gswap.output.layers import LayerWriter, frame_layers, untouched_layers
from gswap.output.marks import add_xmp, container_tags
from gswap.output.watermark import embed, embed_rgb
from gswap.pipeline import pictures
from gswap.pipeline.config import Job
from gswap.pipeline.fingerprint import fingerprint
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import ingest, render, segment

XMP_SUFFIXES = (".mp4", ".mov", ".m4v")
START_SECONDS = 3.0
"""How long ``--label start`` shows the label."""


def _config(job: Job) -> object:
    return {
        "encode": job.settings.encode,
        "suffix": job.out.suffix.lower(),
        "label": job.label,
        "label_style": (job.label_position, job.label_size),
        "watermark": job.watermark,
        "layers": job.layers is not None and str(job.layers.resolve()),
        "compare": job.compare is not None and job.compare.suffix.lower(),
    }


def watermark_id(key: str) -> int:
    """24-bit id of a job, from the fingerprint of its delivery: the same job gives the same id."""
    return int(fingerprint("watermark", key)[:6], 16)


def video_path(folder: Path, out: Path) -> Path:
    """The unsigned video in the step's folder."""
    return folder / f"video{out.suffix.lower()}"


def compare_path(folder: Path, compare: Path) -> Path:
    """The unsigned side-by-side video in the step's folder."""
    return folder / f"compare{compare.suffix.lower()}"


def make_label(job: Job, info: VideoInfo) -> Label:
    """The job's label.

    Raises:
        UsageError: It would not be readable in the clip.
    """
    seconds = START_SECONDS if job.label == "start" else None
    return Label((info.width, info.height), LabelConfig(job.label_position, job.label_size, seconds))


class _Marker:
    """Burns the label in and embeds the watermark, on a frame's own planes."""

    def __init__(self, job: Job, info: VideoInfo, key: str) -> None:
        layout = display_layout(info)
        self._planes = PlaneLayout(layout.bits, layout.full_range, layout.family == "rgb")
        self._label = None
        if job.label != "off":
            self._label = make_label(job, info)
        self._watermark = watermark_id(key) if job.watermark else None

    def __call__(self, planes: tuple[np.ndarray, ...], seconds: float) -> tuple[np.ndarray, ...]:
        if self._label is not None and self._label.shown_at(seconds):
            planes = self._label.apply_planes(planes, self._planes)
        if self._watermark is not None and self._planes.is_rgb:
            planes = embed_rgb(planes, seconds, self._watermark, bit_depth=self._planes.bit_depth)
        elif self._watermark is not None:
            luma = embed(planes[0], seconds, self._watermark, bit_depth=self._planes.bit_depth)
            planes = (luma, *planes[1:])
        return planes


def composite(frame: VideoFrame, result: Render | None, window: Window, t: int, info: VideoInfo) -> tuple:
    """The frame's planes with I_out in them; every sample outside the edit keeps its bits."""
    if result is None:
        return frame.planes
    rgb, edited = result.rgb, result.edited
    size = (window.width, window.height)
    if window.scale != 1.0:
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
        edited = cv2.resize(edited, size, interpolation=cv2.INTER_NEAREST)
    return paste(frame.planes, rgb, edited, info, int(window.x[t]), int(window.y[t]))


def frames_out(context: StepContext) -> Iterator[tuple[VideoFrame, tuple[np.ndarray, ...], Render | None]]:
    """Every frame of the clip with its new planes, before any mark."""
    folders, job = context.folders, context.job
    clip = ingest.load_clip(folders["ingest"], job)
    window = segment.load_target(folders, clip.info.frame_count).window
    for t, frame in enumerate(clip.frames()):
        result = render.load_render(folders, clip.info.frame_count, t)
        yield frame, composite(frame, result, window, t, clip.info), result


def _run(context: StepContext) -> None:
    job, folders = context.job, context.folders
    clip = ingest.load_clip(folders["ingest"], job)
    info, count = clip.info, clip.info.frame_count
    span = (clip.first, clip.first + count)
    key = context.fingerprints["deliver"]
    layout = display_layout(info)
    window = segment.load_target(folders, count).window
    mark = _Marker(job, info, key)
    tags = container_tags()
    notes: list[str] = []
    layers = LayerWriter(job.layers, count, (info.width, info.height), key) if job.layers is not None else None
    with ExitStack() as parts, ExitStack() as stack:
        out = parts.enter_context(atomic_path(video_path(context.folder, job.out)))
        written = [(out, job.out)]
        writer = stack.enter_context(
            VideoWriter(
                out,
                clip.whole,
                options=job.settings.encode,
                audio_from=job.target if info.has_audio else None,
                metadata=tags,
                span=span,
            )
        )
        compare = None
        if job.compare is not None:
            side = parts.enter_context(atomic_path(compare_path(context.folder, job.compare)))
            written.append((side, job.compare))
            compare = stack.enter_context(pictures.CompareWriter(side, clip, job, tags))
        seconds = float(info.time_base[0] / info.time_base[1])
        for t, (frame, planes, result) in enumerate(frames_out(context)):
            marked = mark(planes, (frame.pts - info.pts[0]) * seconds)
            writer.write(marked, frame.pts, info.durations[t])
            if compare is not None:
                compare.write(frame.rgb, planes_to_rgb(marked, layout, info.color), frame.pts, info.durations[t])
            if layers is not None and t not in layers:
                whole = untouched_layers(frame.rgb) if result is None else frame_layers(result, frame.rgb, window, t)
                layers.write(t, whole)
            context.progress(t + 1, count, "encode")
        stack.close()
        for part, final in written:
            if final.suffix.lower() in XMP_SUFFIXES:
                add_xmp(part, suffix=final.suffix)
    notes += writer.notes
    sheet = pictures.contact_sheet(context)
    write_bytes(context.folder / "sheet.png", encode_png(sheet, level=6))
    write_bytes(context.folder / "mesh.png", encode_png(pictures.mesh_sheet(context), level=6))
    context.notes |= {
        "watermark_id": watermark_id(key) if job.watermark else None,
        "warnings": notes,
        "frames": count,
    }


def stored(folders: dict[str, Path], step: str, name: str, count: int) -> PngStore:
    """One of the per-frame image stores of a finished step."""
    return PngStore(folders[step] / name, count)


def work_image(folders: dict[str, Path], count: int, t: int) -> RgbImage:
    """I_out of frame ``t`` in the window; the clip itself where it passes through."""
    result = render.load_render(folders, count, t)
    return stored(folders, "segment", "rgb", count)[t] if result is None else result.rgb


STEP = Step("deliver", 3, ("ingest", "perceive", "segment", "swap", "render"), _config, _run)
