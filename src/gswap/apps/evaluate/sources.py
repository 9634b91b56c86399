"""Where results come from: a video of any tool, a workspace of ours (before marks and encoding), or a comparator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Bool

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.store import read_json
from gswap.foundation.types import RgbImage, SoftMask, SwapSet, VideoInfo, Window
from gswap.media.color import planes_to_rgb, resolve_tags
from gswap.media.layout import display_layout
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.pipeline.steps import deliver, ingest, render, segment, swap
from gswap.pipeline.workspace import is_workspace, states

SHORTER = 2
"""Frames by which a result may be shorter or longer than the clip: some tools drop the last ones."""


@dataclass(frozen=True)
class Picture:
    """One frame of a result."""

    rgb: RgbImage
    planes: tuple[np.ndarray, ...] = ()
    edited: Bool[np.ndarray, "h w"] | None = None
    matte: SoftMask | None = None
    generated: tuple[RgbImage, SoftMask] | None = None


class Result(Protocol):
    """A method's version of the clip."""

    name: str
    told: str
    """What was looked at, for the report."""

    def frames(self) -> Iterator[Picture]:
        """A new pass, frame for frame with the clip."""
        ...


class VideoResult:
    """A video of any tool.

    Args:
        name: Of the method.
        path: The video.
        clip: What it was made from; another size is scaled to the clip's.

    Raises:
        InputError: It has another number of frames.
    """

    def __init__(self, name: str, path: Path, clip: VideoInfo) -> None:
        self.name = name
        self._info = probe(path)
        self._size = clip.width, clip.height
        self._same_samples = _sample_meaning(self._info) == _sample_meaning(clip)
        check_length(self._info, clip.frame_count)
        self.told = f"the decoded file {path.name}, after marks and encoding"
        if (self._info.width, self._info.height) != self._size:
            self.told += f", scaled from {self._info.width}x{self._info.height}"

    def frames(self) -> Iterator[Picture]:
        """Decode it."""
        with VideoReader(self._info) as reader:
            for frame in reader.frames():
                if frame.rgb.shape[1::-1] == self._size:
                    yield Picture(frame.rgb, frame.planes if self._same_samples else ())
                else:
                    smaller = frame.rgb.shape[1] > self._size[0]
                    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
                    yield Picture(cv2.resize(frame.rgb, self._size, interpolation=how))


def check_length(info: VideoInfo, count: int) -> None:
    """Refuse a result, or a truth, that does not show the ``count`` frames of the clip.

    Raises:
        InputError: It has another number of frames.
    """
    if abs(info.frame_count - count) > SHORTER:
        raise InputError(
            f"Expected {count} frames, as in the clip, found {info.frame_count}.",
            hint="A result must show the same frames as the clip; give --start and --end where it shows a part.",
            path=info.path,
        )


def _sample_meaning(info: VideoInfo) -> tuple[str, tuple[int, bool]]:
    """What has to be the same for samples of two videos to be compared: format, colour matrix and range."""
    layout = display_layout(info)
    return layout.pixel_format, resolve_tags(info.color, layout, info.width, info.height)


class JobResult:
    """A finished job of ours, put together again from its workspace: the samples before marks and encoding.

    Args:
        name: Of the method.
        folders: Of the steps up to the rendering.
        clip: The clip of the job.
        reference: Folders of the job whose I_gen it is compared with; ``None`` = with none.
    """

    def __init__(
        self, name: str, folders: dict[str, Path], clip: ingest.Clip, *, reference: dict[str, Path] | None = None
    ) -> None:
        self.name = name
        self.told = "the rendered frames in the workspace, before marks and encoding"
        self._folders, self._clip = folders, clip
        count = clip.info.frame_count
        self._window = segment.load_target(folders, count).window
        self._generated: SwapSet | None = None if reference is None else swap.load_swap(reference, count)

    def frames(self) -> Iterator[Picture]:
        """Composite it."""
        info, window = self._clip.info, self._window
        layout = display_layout(info)
        size = info.width, info.height
        for t, frame in enumerate(self._clip.frames()):
            result = render.load_render(self._folders, info.frame_count, t)
            if result is None:
                yield Picture(frame.rgb, frame.planes, np.zeros(frame.rgb.shape[:2], bool))
                continue
            planes = deliver.composite(frame, result, window, t, info)
            generated = None
            if self._generated is not None:
                picture = frame.rgb.copy()
                place(picture, self._generated.rgb[t], window, t)
                generated = picture, full_mask(self._generated.head[t], window, t, size)
            yield Picture(
                planes_to_rgb(planes, layout, info.color),
                planes,
                full_mask(result.edited, window, t, size) > 0,
                full_mask(result.alpha, window, t, size),
                generated,
            )


class DeliveredJob:
    """The file that a job of ours delivered; what it changed outside the head is judged before marks and encoding.

    Args:
        video: The file.
        job: The same frames in the workspace.
    """

    def __init__(self, video: VideoResult, job: JobResult) -> None:
        self.name, self._video, self._job = video.name, video, job
        self.told = f"{video.told}; outside change: {job.told}"

    def frames(self) -> Iterator[Picture]:
        """Pictures of the file, samples and masks of the workspace."""
        for shown, made in zip(self._video.frames(), self._job.frames(), strict=False):
            yield Picture(shown.rgb, made.planes, made.edited, made.matte)


class MadeResult:
    """A comparator that makes its frames now.

    Args:
        name: Of the comparator.
        clip: The clip.
        window: Where it edits.
        make: Frame -> picture and edited region in the window, or ``None`` where the frame stays as it is.
    """

    def __init__(
        self,
        name: str,
        clip: ingest.Clip,
        window: Window,
        make: Callable[[int], tuple[RgbImage, SoftMask] | None],
    ) -> None:
        self.name = name
        self.told = "the comparator's frames, before marks and encoding"
        self._clip, self._window, self._make = clip, window, make

    def frames(self) -> Iterator[Picture]:
        """Make it."""
        size = self._clip.info.width, self._clip.info.height
        for t, frame in enumerate(self._clip.frames()):
            made = self._make(t)
            if made is None:
                yield Picture(frame.rgb)
                continue
            picture, edited = frame.rgb.copy(), full_mask(made[1], self._window, t, size) > 0
            whole = frame.rgb.copy()
            place(whole, made[0], self._window, t)
            picture[edited] = whole[edited]
            yield Picture(picture, edited=edited)


def open_result(name: str, path: Path, clip: ingest.Clip, target_sha256: str) -> Result:
    """A method's video, or a job of ours where ``path`` is a workspace or has one beside it (``NAME.mp4.gswap``).

    Raises:
        MissingInputError: There is nothing.
        InputError: A workspace of another clip, or one that is not finished.
    """
    if not path.exists():
        raise MissingInputError(f"The result of {name!r} does not exist.", path=path)
    if path.is_dir():
        if not is_workspace(path):
            raise InputError("Expected a video or a workspace of gswap, found another folder.", path=path)
        return JobResult(name, job_folders(path, clip, target_sha256), clip)
    video, work = VideoResult(name, path, clip.info), beside(path)
    if work is None:
        return video
    return DeliveredJob(video, JobResult(name, job_folders(work, clip, target_sha256), clip))


def beside(path: Path) -> Path | None:
    """The workspace that ``gswap swap`` keeps beside its output, if it is there."""
    work = path.with_name(path.name + ".gswap")
    return work if is_workspace(work) else None


def job_folders(work: Path, clip: ingest.Clip, target_sha256: str) -> dict[str, Path]:
    """Folders of the newest finished job in a workspace.

    Raises:
        InputError: None is finished, or it is of another clip or of another part of it.
    """
    steps = ("ingest", "perceive", "track", "segment", "swap", "retrack", "fit", "render")
    folders = {s.step: work / s.step / s.fingerprint for s in states(work, steps) if s.done}
    if not folders.keys() >= {"ingest", "segment", "render"}:
        raise InputError("Expected a finished job in the workspace, found none.", hint="Run the swap.", path=work)
    if read_json(folders["ingest"] / "done.json")["target_sha256"] != target_sha256:
        raise InputError("The workspace is of another clip than --target.", path=work)
    facts = read_json(folders["ingest"] / "clip.json")
    found, expected = (facts["first"], facts["stop"]), (clip.first, clip.first + clip.info.frame_count)
    if found != expected:
        raise InputError(
            "Expected a job on the frames {} to {} of the clip, found one on {} to {}.".format(*expected, *found),
            hint="Give the --start and --end of the job.",
            path=work,
        )
    return folders


def place(picture: RgbImage, part: RgbImage, window: Window, t: int) -> None:
    """Put a work image back into its frame, in place."""
    if window.scale != 1.0:
        part = cv2.resize(part, (window.width, window.height), interpolation=cv2.INTER_CUBIC)
    x, y = int(window.x[t]), int(window.y[t])
    picture[y : y + window.height, x : x + window.width] = part


def full_mask(mask: SoftMask, window: Window, t: int, size: tuple[int, int]) -> SoftMask:
    """A work image's mask in its frame, 0 around it."""
    out = np.zeros((size[1], size[0]), np.uint8)
    if window.scale != 1.0:
        mask = cv2.resize(mask, (window.width, window.height), interpolation=cv2.INTER_NEAREST)
    x, y = int(window.x[t]), int(window.y[t])
    out[y : y + window.height, x : x + window.width] = mask
    return out
