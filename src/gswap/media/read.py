"""Decoding: :class:`VideoReader` gives frames one at a time, in display orientation, with their native samples."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame as AvFrame
from av.video.stream import VideoStream

from gswap.foundation.errors import InputError, InternalError
from gswap.foundation.types import RgbImage, VideoFrame, VideoInfo
from gswap.media.color import planes_to_rgb
from gswap.media.layout import display_layout, planes_of, rotate
from gswap.media.probe import open_video, probe, video_stream


class VideoReader:
    """Reads the frames of a probed video; memory does not grow with the clip.

    Use as a context manager. One iterator at a time: a new call of :meth:`frames` seeks and ends the previous one.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self._layout = display_layout(info)
        self._opening = open_video(info.path)
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None

    def __enter__(self) -> Self:
        self._container = self._opening.__enter__()
        self._stream = video_stream(self._container, self.info.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container = None
        self._opening.__exit__(kind, error, traceback)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[VideoFrame]:
        """Decode frames ``start`` to ``stop`` (exclusive, default: the end).

        Raises:
            InputError: A frame is damaged or missing; the error names it.
        """
        info = self.info
        stop = info.frame_count if stop is None else min(stop, info.frame_count)
        if start >= stop:
            return
        index = start
        for frame in self._decoded(start):
            if frame.pts is None or frame.pts < info.pts[index]:
                continue
            if frame.pts != info.pts[index] or frame.is_corrupt:
                raise _damaged(info, index)
            yield self._convert(frame, index)
            index += 1
            if index == stop:
                return
        raise _damaged(info, index)

    def _decoded(self, start: int) -> Iterator[AvFrame]:
        """Frames from the last key frame at or before ``start``; from the beginning where seeking lands too late.

        A transport stream has no index: it lands somewhere near, and where no key frame follows there are no frames.
        """
        target = self.info.pts[start]
        landed = False
        self._seek(target if start else self.info.pts[0])
        for frame in self._decode(start):
            if not landed and frame.pts is not None and frame.pts > target:
                break
            landed = True
            yield frame
        if landed:
            return
        self._seek(min(0, self.info.pts[0]))
        yield from self._decode(start)

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        if self._container is None or self._stream is None:
            raise InternalError("VideoReader is used outside its `with` block.", path=self.info.path)
        return self._container, self._stream

    def _seek(self, pts: int) -> None:
        container, stream = self._opened()
        try:
            container.seek(pts, stream=stream, backward=True)
        except FFmpegError as error:
            raise InputError("The video cannot be read from the start again.", path=self.info.path) from error

    def _decode(self, start: int) -> Iterator[AvFrame]:
        container, stream = self._opened()
        shown = start
        try:
            for frame in container.decode(stream):
                if frame.pts is not None:
                    shown = bisect.bisect_right(self.info.pts, frame.pts)
                yield frame
        except FFmpegError as error:
            raise _damaged(self.info, min(shown, self.info.frame_count - 1)) from error

    def _convert(self, frame: AvFrame, index: int) -> VideoFrame:
        info = self.info
        size = (frame.height, frame.width) if info.rotation % 180 else (frame.width, frame.height)
        if size != (info.width, info.height) or frame.format.name != info.pixel_format:
            raise InputError(
                f"Expected one picture size and format, but frame {index} changes to {size[0]}x{size[1]} "
                f"{frame.format.name}.",
                hint="Export the clip again with one size.",
                path=info.path,
                frame=index,
            )
        planes = rotate(planes_of(frame), info.rotation)
        return VideoFrame(index, info.pts[index], planes_to_rgb(planes, self._layout, info.color), planes)


def luma_planes(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Time in seconds from the first frame and luma plane (or first colour plane) of every frame of a video.

    Raises:
        InputError: It is not a video that can be read.
    """
    info = probe(path)
    unit = info.time_base[0] / info.time_base[1]
    with VideoReader(info) as reader:
        for frame in reader.frames():
            yield (frame.pts - info.pts[0]) * unit, frame.planes[0]


def sample_frames(info: VideoInfo, count: int) -> list[RgbImage]:
    """``count`` frames (or all, if the clip has fewer) in the middles of equal parts of a clip."""
    count = min(count, info.frame_count)
    wanted = [int((i + 0.5) * info.frame_count / count) for i in range(count)]
    images = []
    with VideoReader(info) as reader:
        for index in wanted:
            images.extend(frame.rgb for frame in reader.frames(index, index + 1))
    return images


def _damaged(info: VideoInfo, index: int) -> InputError:
    return InputError(
        f"Frame {index} of {info.frame_count} is damaged or missing.",
        hint="Copy or export the clip again, or end it before that frame with --end.",
        path=info.path,
        frame=index,
    )
