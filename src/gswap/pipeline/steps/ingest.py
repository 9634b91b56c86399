"""Ingest: files -> checked facts. The clip's timing, colour, shots and repeated frames; the photos, upright in sRGB."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from gswap.foundation.errors import InputError
from gswap.foundation.store import (
    encode_png,
    hash_file,
    read_arrays,
    read_json,
    read_png,
    write_arrays,
    write_bytes,
    write_json,
)
from gswap.foundation.types import Progress, RgbImage, Shot, VideoFrame, VideoInfo
from gswap.media.probe import is_video, probe
from gswap.media.read import VideoReader, sample_frames
from gswap.media.scenes import scan
from gswap.media.stills import find_photos, load_photo
from gswap.pipeline.config import Job
from gswap.pipeline.runner import Step, StepContext

PHOTO_SIDE = 2048
"""Longer side to which larger photos are reduced, in pixels: a head in a video is rarely larger."""
CANDIDATES = 40
"""Frames that are looked at when the photos are to be picked from a video."""


@dataclass(frozen=True)
class Clip:
    """The part of the target that the job uses: frame t here is frame ``first + t`` of the file."""

    whole: VideoInfo
    """The file."""
    info: VideoInfo
    """The part: counts, pts and durations are its own."""
    first: int
    shots: tuple[Shot, ...]
    duplicate: Bool[np.ndarray, "t"]

    def frames(self) -> Iterator[VideoFrame]:
        """A new pass over the part's frames, numbered from 0."""
        with VideoReader(self.whole) as reader:
            for frame in reader.frames(self.first, self.first + self.info.frame_count):
                yield dataclasses.replace(frame, index=frame.index - self.first)

    def images(self) -> Iterator[RgbImage]:
        """A new pass over the part's pictures."""
        for frame in self.frames():
            yield frame.rgb


def trim(info: VideoInfo, start: float | None, end: float | None) -> tuple[int, int]:
    """First and one-past-last frame of the part between two times in seconds.

    Raises:
        InputError: The part holds no frame.
    """
    num, den = info.time_base
    times = [(pts - info.pts[0]) * num / den for pts in info.pts]
    first = 0 if start is None else int(np.searchsorted(times, start - 1e-6))
    stop = len(times) if end is None else int(np.searchsorted(times, end - 1e-6))
    if stop <= first:
        last = info.seconds if end is None else end
        raise InputError(
            f"Expected frames between --start {start or 0:g} s and --end {last:g} s, found none "
            f"(the clip lasts {info.seconds:.2f} s).",
            path=info.path,
        )
    return first, stop


def _config(job: Job) -> object:
    photos = [hash_file(p) for p in source_files(job)]
    span = {"start": job.start, "end": job.end}
    return {"target": hash_file(job.target), "photos": photos, "limits": job.settings.limits, **span}


def is_video_source(files: list[Path]) -> bool:
    """Whether the source is one video to pick photos from."""
    return len(files) == 1 and is_video(files[0])


def source_files(job: Job) -> list[Path]:
    """The files behind ``--source``: photos, or one video."""
    return files_behind(job.sources)


def files_behind(sources: Sequence[Path]) -> list[Path]:
    """The photos in files and folders, or the only video."""
    if len(sources) == 1 and sources[0].is_file() and is_video(sources[0]):
        return [sources[0]]
    return find_photos(sources)


def _run(context: StepContext) -> None:
    job = context.job
    files = source_files(job)
    if is_video_source(files):
        photos = sample_frames(probe(files[0], job.settings.limits), CANDIDATES)
    else:
        photos = [load_photo(p, max_side=PHOTO_SIDE) for p in files]
    for i, photo in enumerate(photos):
        write_bytes(context.folder / f"photo{i:02d}.png", encode_png(photo))
        context.progress(i + 1, len(photos), "photos")

    info = probe(job.target, job.settings.limits)
    first, stop = trim(info, job.start, job.end)
    with VideoReader(info) as reader:
        shots, duplicate = scan(_counted(reader.frames(first, stop), stop - first, context.progress))
    write_arrays(
        context.folder / "clip.safetensors",
        {
            "duplicate": duplicate,
            "shots": np.array([(s.start, s.stop) for s in shots], np.int64).reshape(-1, 2),
        },
    )
    write_json(
        context.folder / "clip.json",
        {"first": first, "stop": stop, "photos": len(photos), "picked": is_video_source(files)},
    )
    context.notes |= {
        "frames": stop - first,
        "shots": len(shots),
        "photos": len(photos),
        "target_sha256": hash_file(job.target),
        "photo_sha256": [hash_file(p) for p in files],
    }
    if info.truncated:
        context.notes |= {"warnings": [cut_off(info)]}


def cut_off(info: VideoInfo) -> str:
    """What is said of a clip that ``--limits.allow-truncated`` let through."""
    return f"The clip is cut off or damaged: only its first {info.frame_count} frames can be read."


def _counted(frames: Iterable[VideoFrame], total: int, progress: Progress) -> Iterator[RgbImage]:
    for done, frame in enumerate(frames, 1):
        yield frame.rgb
        progress(done, total, "clip")


def load_clip(folder: Path, job: Job) -> Clip:
    """The clip that a finished ingest describes."""
    facts = read_json(folder / "clip.json")
    arrays, _ = read_arrays(folder / "clip.safetensors")
    whole = probe(job.target, job.settings.limits)
    first, stop = facts["first"], facts["stop"]
    part = dataclasses.replace(
        whole, frame_count=stop - first, pts=whole.pts[first:stop], durations=whole.durations[first:stop]
    )
    shots = tuple(Shot(int(a), int(b)) for a, b in arrays["shots"])
    return Clip(whole, part, first, shots, arrays["duplicate"])


def load_photos(folder: Path) -> list[RgbImage]:
    """The photos that a finished ingest stored (candidates, when they come from a video)."""
    return [read_png(p) for p in sorted(folder.glob("photo*.png"))]


def photos_are_picked(folder: Path) -> bool:
    """Whether the photos are candidates from a video, to be thinned out by perception."""
    return bool(read_json(folder / "clip.json")["picked"])


STEP = Step("ingest", 1, (), _config, _run)
