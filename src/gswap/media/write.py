"""Encoding: :class:`VideoWriter` writes planes with exact times and tags, and the sound beside them."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame as AvFrame
from av.video.stream import VideoStream

from gswap.foundation.errors import GswapError, InternalError, StorageError
from gswap.foundation.store import atomic_path, storage_error
from gswap.foundation.types import ColorTags, RgbImage, VideoInfo
from gswap.media.color import MATRIX_BT709, RANGE_LIMITED, rgb_to_planes
from gswap.media.config import EncodeConfig
from gswap.media.encoders import EncodePlan, muxer_of, plan_output
from gswap.media.layout import Planes, display_layout, frame_of, to_444
from gswap.media.probe import open_video, video_stream
from gswap.media.sound import SoundCopier

BT709 = ColorTags(primaries=1, transfer=1, matrix=MATRIX_BT709, range=RANGE_LIMITED)
"""Tags of the videos that we make from RGB."""
_X264_REPRODUCIBLE = "mbtree=0"
"""Macroblock-tree rate control reads the durations of frames whose successor the look-ahead thread may not have seen:
with it, even one encoder thread gave several files in ten runs (x264 165); without it 60 of 60 runs were equal."""


class VideoWriter:
    """Writes the frames of a clip in display orientation, with the clip's own times, tags and pixel format.

    Use as a context manager, or call :meth:`close`. The same frames and options give the same bytes.

    Args:
        path_part: File to write, usually a part file (:func:`gswap.foundation.store.atomic_path`); its ending, with
            or without ``.part``, chooses container and codec.
        info: The clip that the frames belong to; a ``frame_count`` of 0 stands for a number not known yet.
        options: Compression.
        audio_from: File whose sound is copied, or ``None``.
        metadata: Tags of the container, such as ``comment`` and ``title``.
        span: First frame (inclusive) and stop (exclusive) when only a part is written: its times start at 0 and the
            sound is cut to it.

    Attributes:
        notes: What differs from the input, one sentence each; complete after :meth:`close`.

    Raises:
        InputError: The container cannot hold the clip.
        StorageError: The disk is full, or the file did not survive.
    """

    def __init__(
        self,
        path_part: Path,
        info: VideoInfo,
        *,
        options: EncodeConfig | None = None,
        audio_from: Path | None = None,
        metadata: Mapping[str, str] | None = None,
        span: tuple[int, int] | None = None,
    ) -> None:
        options = options or EncodeConfig()
        self.path = Path(os.path.abspath(path_part))
        self.plan: EncodePlan = plan_output(info, muxer_of(path_part))
        self.notes: list[str] = list(self.plan.notes)
        self._info = info
        self._layout = display_layout(info)
        self._time_base = Fraction(*info.time_base)
        first, stop = span or (0, info.frame_count)
        self._offset = info.pts[first] if first > 0 else 0
        self._expected = stop - first
        self._written = 0
        self._durations: dict[int, int] = {}
        self._closed = False
        try:
            self._container = self._open(metadata or {})
            self._stream = self._add_video(options)
            self._sound = self._add_sound(audio_from, first, stop, options) if audio_from else None
        except (FFmpegError, OSError) as error:
            raise _storage_error(error, self.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, planes: Planes, pts: int, duration: int) -> None:
        """Add the next frame.

        Args:
            planes: Samples in the clip's layout (:func:`gswap.media.layout.display_layout`).
            pts: Time on the clip's clock, in units of ``info.time_base``.
            duration: How long it is shown, in the same unit.
        """
        try:
            self._encode(self._frame(planes, pts - self._offset, duration))
            if self._sound:
                self._sound.advance((pts - self._offset) * self._time_base)
        except (FFmpegError, OSError) as error:
            raise _storage_error(error, self.path) from error
        self._written += 1

    def close(self) -> None:
        """Finish the file and check that every frame is in it."""
        if self._closed:
            return
        try:
            self._encode(None)
            if self._sound:
                self._sound.finish()
                self.notes += self._sound.notes
            self._closed = True
            self._container.close()
        except (FFmpegError, OSError) as error:
            self._abandon()
            raise _storage_error(error, self.path) from error
        finally:
            if self._sound:
                self._sound.close()
        if self._expected and self._written != self._expected:
            raise InternalError(f"Expected {self._expected} frames to be written, got {self._written}.", path=self.path)
        self._verify()

    def _open(self, metadata: Mapping[str, str]) -> OutputContainer:
        flags = {"fflags": "+bitexact"}
        if self.plan.muxer in ("mp4", "mov"):
            tagged = self._info.color != ColorTags()
            flags["movflags"] = "+faststart+write_colr" if tagged else "+faststart-write_colr"
            if self._time_base.numerator == 1:
                flags["video_track_timescale"] = str(self._time_base.denominator)
        else:
            # Sound may begin a little before the first picture (encoder priming); do not delay the pictures for it.
            flags["avoid_negative_ts"] = "disabled"
        container = av.open(str(self.path), mode="w", format=self.plan.muxer, container_options=flags)
        container.metadata.update(metadata)
        return container

    def _add_video(self, options: EncodeConfig) -> VideoStream:
        info, plan = self._info, self.plan
        stream = self._container.add_stream(
            plan.codec, rate=Fraction(*info.frame_rate), options=_codec_options(plan, options)
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, plan.pixel_format
        context.time_base = stream.time_base = self._time_base  # type: ignore[assignment]
        context.sample_aspect_ratio = Fraction(*info.sample_aspect_ratio)
        context.thread_count = options.threads
        context.color_primaries, context.color_trc = info.color.primaries, info.color.transfer
        context.colorspace, context.color_range = info.color.matrix, info.color.range
        if plan.codec == "libx265":
            context.codec_tag = "hvc1"
        return stream

    def _add_sound(self, path: Path, first: int, stop: int, options: EncodeConfig) -> SoundCopier:
        info = self._info
        start = self._offset * self._time_base if first > 0 else None
        end = None
        if stop < info.frame_count:
            end = (info.pts[stop - 1] + info.durations[stop - 1]) * self._time_base
        return SoundCopier(self._container, path, start, end, options.audio_bitrate)

    def _frame(self, planes: Planes, pts: int, duration: int) -> AvFrame:
        layout = self._layout
        if self.plan.layout.family == "yuv" and layout.family == "gray":
            planes = (*planes, *_neutral_chroma(self.plan, self._info))
            layout = self.plan.layout
        if self.plan.layout != layout:
            planes, layout = to_444(planes, layout)
        frame = frame_of(planes, layout, self.plan.pixel_format)
        color = self._info.color
        frame.color_primaries, frame.color_trc = color.primaries, color.transfer
        frame.colorspace, frame.color_range = color.matrix, color.range
        frame.pts, frame.time_base, frame.duration = pts, self._time_base, duration
        self._durations[pts] = duration
        return frame

    def _encode(self, frame: AvFrame | None) -> None:
        for packet in self._stream.encode(frame):
            if packet.pts in self._durations:
                packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)

    def _abandon(self) -> None:
        """Close everything after a failure; the part file's owner removes it."""
        self._closed = True
        try:
            self._container.close()
        except (FFmpegError, OSError):
            pass  # the first error is the one to report
        if self._sound:
            self._sound.close()

    def _verify(self) -> None:
        try:
            with open_video(self.path) as container:
                stream = video_stream(container, self.path)
                found = sum(1 for p in container.demux(stream) if p.size and not p.is_discard)
        except (GswapError, FFmpegError) as error:
            raise StorageError("The video that was just written cannot be read back.", path=self.path) from error
        if found != self._written:
            raise StorageError(f"Expected {self._written} frames in the file, found {found}.", path=self.path)


def encode_rgb(
    path: Path,
    frames: Iterable[RgbImage],
    frame_rate: tuple[int, int],
    *,
    options: EncodeConfig | None = None,
    audio_from: Path | None = None,
    metadata: Mapping[str, str] | None = None,
    times_of: VideoInfo | None = None,
) -> VideoInfo:
    """Write RGB pictures as a BT.709 4:2:0 video, atomically: with a constant frame rate, or with a clip's times.

    An odd column or row is cut off at the right and bottom, as 4:2:0 players expect even sizes.

    Args:
        path: The video.
        frames: RGB pictures of one size.
        frame_rate: Frames a second.
        options: Compression.
        audio_from: File whose sound is copied; it stays beside the pictures where these have its times.
        metadata: Tags of the container.
        times_of: The clip of as many frames that the pictures show, whose times and pixel shape they get.

    Returns:
        The description of what was written (times in units of one frame, or the clip's).

    Raises:
        InternalError: There are no frames, or not as many as the clip's.
    """
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise InternalError("Expected at least one frame to encode, got none.", path=path)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    info = rgb_video_info(path, (width, height), frame_rate, 0)
    if times_of is not None:
        info = _with_times_of(info, times_of)
    layout = display_layout(info)
    count = 0
    with (
        atomic_path(path) as part,
        VideoWriter(part, info, options=options, audio_from=audio_from, metadata=metadata) as writer,
    ):
        for rgb in itertools.chain([first], pictures):
            planes = rgb_to_planes(rgb[:height, :width], layout, info.color)
            if times_of is None:
                writer.write(planes, count, 1)
            elif count < len(info.pts):
                writer.write(planes, info.pts[count], info.durations[count])
            else:
                raise InternalError(f"Expected {len(info.pts)} pictures, the frames of the clip, got more.", path=path)
            count += 1
    if times_of is not None:
        return info
    return rgb_video_info(path, (width, height), frame_rate, count)


def _with_times_of(info: VideoInfo, clip: VideoInfo) -> VideoInfo:
    return replace(
        info,
        frame_count=clip.frame_count,
        pts=clip.pts,
        durations=clip.durations,
        time_base=clip.time_base,
        sample_aspect_ratio=clip.sample_aspect_ratio,
    )


def rgb_video_info(path: Path, size: tuple[int, int], frame_rate: tuple[int, int], frame_count: int) -> VideoInfo:
    """Description of a new 8-bit BT.709 4:2:0 video of ``size`` (w, h) whose time unit is one frame."""
    muxer = muxer_of(path)
    return VideoInfo(
        path=path,
        width=size[0],
        height=size[1],
        rotation=0,
        frame_count=frame_count,
        pts=tuple(range(frame_count)),
        durations=(1,) * frame_count,
        time_base=(frame_rate[1], frame_rate[0]),
        frame_rate=frame_rate,
        pixel_format="yuv420p",
        bit_depth=8,
        color=BT709,
        codec={"matroska": "ffv1", "webm": "vp9"}.get(muxer, "h264"),
        container=muxer,
        has_audio=False,
    )


def _codec_options(plan: EncodePlan, options: EncodeConfig) -> dict[str, str]:
    if plan.codec == "ffv1":
        # No number of slices: the encoder finds one that fits odd sizes, by the size alone.
        return {"level": "3", "slicecrc": "1", "g": "1"}
    if plan.codec == "libvpx-vp9":
        return {"crf": str(options.vp9_crf), "b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "0"}
    quality = {"crf": str(options.crf), "preset": options.preset}
    if plan.codec == "libx265":
        quality["x265-params"] = f"log-level=none:pools={options.threads}:frame-threads=1"
    else:
        quality["x264-params"] = _X264_REPRODUCIBLE
    return quality


def _neutral_chroma(plan: EncodePlan, info: VideoInfo) -> Planes:
    shapes = plan.layout.shapes(info.width, info.height)[1:]
    return tuple(np.full(shape, 1 << (plan.layout.bits - 1), plan.layout.dtype) for shape in shapes)


def _storage_error(error: Exception, path: Path) -> GswapError:
    """What an encoder's or muxer's failure means for the file."""
    number = getattr(error, "errno", None)
    if number in (errno.EINVAL, errno.ENOSYS):
        return InternalError(f"The encoder refused the clip ({error}).", path=path)
    if number:
        return storage_error(OSError(number, str(getattr(error, "strerror", error))), path)
    return StorageError(f"Writing the video failed ({error}).", path=path)
