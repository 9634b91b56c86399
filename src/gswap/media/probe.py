"""What a video file holds, checked before any work: :func:`probe` reads every packet header and one picture.

PyAV opens playlists, stops silently at the end of a truncated Matroska file and hides the display rotation; what is
refused, detected and resolved here is listed in the README of this folder.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame as AvFrame
from av.video.stream import VideoStream

from gswap.foundation.errors import InputError, MissingInputError, PermissionDeniedError
from gswap.foundation.types import ColorTags, VideoInfo
from gswap.media.config import MediaLimits
from gswap.media.layout import layout_of

DEMUXERS = "mov,matroska,mpegts,mpeg,avi,flv,asf,mxf,nut,yuv4mpegpipe"
"""Containers that are opened: real video files only, no playlists, no concatenation scripts, no image patterns."""
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .flv .wmv .mxf .nut .y4m .3gp".split()
)
_PROGRESSIVE_FIELD_ORDERS = (0, 1)
_MISSING_SECONDS = 0.5
"""A stream that ends earlier than its container says by more than this, and by two frames, was cut off."""
_TS_SYNC_BYTE, _TS_PACKET_BYTES, _M2TS_PACKET_BYTES = 0x47, 188, 192


@dataclass(frozen=True)
class _Packets:
    """Headers of the video packets, in file order, when the last one ends, and whether any packet was damaged."""

    pts: list[int | None]
    durations: list[int]
    keyframe: list[bool]
    end_seconds: float
    damaged: bool


def is_video(path: Path) -> bool:
    """Whether the file's name says that it is a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Open a local video file by PyAV, and nothing else: no playlist, no other protocol, no second file.

    Raises:
        MissingInputError: There is no such file.
        PermissionDeniedError: It may not be read.
        InputError: It is a folder, empty, or not a video.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise MissingInputError("Expected a video file, found nothing.", hint="Check the path.", path=path)
    if not path.is_file():
        raise InputError("Expected a video file, found a folder or a device.", path=path)
    try:
        if path.stat().st_size == 0:
            raise InputError("Expected a video, found an empty file (0 bytes).", path=path)
        container = av.open(
            str(path),
            mode="r",
            container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except PermissionError as error:
        raise PermissionDeniedError("No permission to read the video.", path=path) from error
    except (FFmpegError, ValueError) as error:
        raise InputError(
            "Expected a video, found a file that cannot be read as one: it is damaged, cut off, or of another kind.",
            hint="Play it, or export it again as mp4, mov, mkv or webm.",
            path=path,
        ) from error
    try:
        yield container
    finally:
        container.close()


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The one video stream of a file, cover art aside, set up to decode with all threads.

    Raises:
        InputError: There is none, or more than one, or this build cannot decode it.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if len(streams) != 1:
        found = "no video stream" if not streams else f"{len(streams)} video streams"
        raise InputError(f"Expected one video stream, found {found}.", hint="Export the wanted one.", path=path)
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError("Expected a video that FFmpeg can decode, found an unknown codec.", path=path)
    stream.thread_type = "AUTO"  # type: ignore[assignment]
    return stream


def probe(path: Path, limits: MediaLimits | None = None) -> VideoInfo:
    """Read everything about a video but its pictures.

    Returns:
        The description, with the exact time of every frame that a player shows. The sample aspect ratio is that of
        the picture as shown, like width and height.

    Raises:
        MissingInputError: There is no such file.
        InputError: It is not a whole, progressive, opaque 8 to 12-bit video within the limits.
    """
    limits = limits or MediaLimits()
    path = Path(os.path.abspath(path))
    with open_video(path) as container:
        stream = video_stream(container, path)
        _check_header(stream, path, limits)
        packets = _read_packets(container, stream)
        expected = _expected_frames(container, stream, packets, path)
    with open_video(path) as container:
        stream = video_stream(container, path)
        first = _first_frame(container, stream, path)
        rotation = _rotation(first, path)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        time_base = stream.time_base or Fraction(1, 1000)
        layout_of(first.format.name)
        info = VideoInfo(
            path=path,
            width=first.height if rotation % 180 else first.width,
            height=first.width if rotation % 180 else first.height,
            rotation=rotation,
            frame_count=0,
            pts=(),
            durations=(),
            time_base=(time_base.numerator, time_base.denominator),
            frame_rate=(rate.numerator, rate.denominator),
            pixel_format=first.format.name,
            bit_depth=layout_of(first.format.name).bits,
            color=_tags(first),
            codec=stream.codec_context.name,
            container=container.format.name,
            has_audio=bool(container.streams.audio),
            sample_aspect_ratio=_sample_aspect(stream, rotation),
        )
    return _with_times(info, packets, expected, limits)


def _check_header(stream: VideoStream, path: Path, limits: MediaLimits) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width <= 0 or height <= 0:
        raise InputError("Expected a video with a picture size, found none: the file is damaged.", path=path)
    if width > limits.max_width or height > limits.max_height:
        raise InputError(
            f"Expected at most {limits.max_width}x{limits.max_height} pixels, found {width}x{height}.",
            hint="Scale the clip down first.",
            path=path,
        )
    if stream.codec_context.field_order not in _PROGRESSIVE_FIELD_ORDERS:
        raise InputError(
            "Expected progressive video, found interlaced fields.", hint="Deinterlace the clip first.", path=path
        )


def _read_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    """Read all packet headers. A damaged end stops the reading and is remembered."""
    pts: list[int | None] = []
    durations: list[int] = []
    keyframe: list[bool] = []
    end = 0.0
    damaged = False
    try:
        for packet in container.demux():
            if packet.size == 0 and packet.pts is None:
                continue  # the flush packet that ends every stream
            seconds = 0.0
            if packet.pts is not None and packet.time_base is not None:
                seconds = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            damaged |= packet.is_corrupt
            if packet.stream_index != stream.index or packet.is_discard or packet.is_corrupt:
                continue
            end = max(end, seconds)
            pts.append(packet.pts)
            durations.append(packet.duration or 0)
            keyframe.append(packet.is_keyframe)
    except FFmpegError:
        damaged = True
    damaged |= _index_reaches_beyond_file(container, stream)
    return _Packets(pts, durations, keyframe, end, damaged)


def _index_reaches_beyond_file(container: InputContainer, stream: VideoStream) -> bool:
    """Whether an mp4's table of samples names bytes that the file does not have."""
    if "mp4" not in container.format.name or container.size <= 0:
        return False
    return any(entry.pos + entry.size > container.size for entry in stream.index_entries)


def _expected_frames(container: InputContainer, stream: VideoStream, packets: _Packets, path: Path) -> int | None:
    """About how many frames the file had when it was whole, or ``None`` where nothing says that it was cut off."""
    found = len(packets.pts)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    promised = _promised_end(container, stream)
    if promised is not None and promised[0] - packets.end_seconds > promised[1] / rate:
        return max(found + 1, found + round((promised[0] - packets.end_seconds) * rate))
    if packets.damaged:
        return max(found + 1, stream.frames)
    if container.format.name == "mpegts" and _ends_within_transport_packet(path):
        return found + 1
    return None


def _ends_within_transport_packet(path: Path) -> bool:
    with path.open("rb") as file:
        plain = file.read(1)[0] == _TS_SYNC_BYTE
    return path.stat().st_size % (_TS_PACKET_BYTES if plain else _M2TS_PACKET_BYTES) != 0


def _promised_end(container: InputContainer, stream: VideoStream) -> tuple[float, float] | None:
    """When the video ends by the header (seconds), and how many frames less are still no sign of a cut.

    An mp4's sample table is checked in :func:`_index_reaches_beyond_file`; its durations follow edit lists and prove
    nothing. A transport stream has no header that could tell.
    """
    parts = stream.metadata.get("DURATION", "").split(":")
    if "matroska" in container.format.name and len(parts) == 3:
        hours, minutes, seconds = parts
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds), 1.5
        except ValueError:
            return None
    if any(name in container.format.name for name in ("mp4", "mpeg")) or container.duration is None:
        return None
    if container.streams.audio and "matroska" in container.format.name:
        return None
    return container.duration / av.time_base, max(2.0, _MISSING_SECONDS * float(stream.average_rate or 25))


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> AvFrame:
    try:
        for frame in container.decode(stream):
            return frame
    except FFmpegError as error:
        raise InputError("Expected a video, but its first frame cannot be decoded.", path=path, frame=0) from error
    raise InputError("Expected a video, found one without a single frame.", path=path)


def _rotation(frame: AvFrame, path: Path) -> int:
    """Degrees counter-clockwise in {0, 90, 180, 270} by which players turn the picture."""
    for side in cast(Iterable[SideData], frame.side_data):
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].astype(np.int64)
            if a * d - b * c < 0:
                raise InputError(
                    "Expected an upright or rotated video, found a mirrored one.",
                    hint="Export it unmirrored.",
                    path=path,
                )
    if frame.rotation % 90:
        raise InputError(
            f"Expected a rotation by a quarter turn, found {frame.rotation} degrees.",
            hint="Export the clip upright.",
            path=path,
        )
    return frame.rotation % 360


def _tags(frame: AvFrame) -> ColorTags:
    full = 2 if layout_of(frame.format.name).full_range else int(frame.color_range)
    return ColorTags(int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace), full)


def _sample_aspect(stream: VideoStream, rotation: int) -> tuple[int, int]:
    ratio = stream.sample_aspect_ratio
    if not ratio or ratio <= 0:
        return (1, 1)
    return (ratio.denominator, ratio.numerator) if rotation % 180 else (ratio.numerator, ratio.denominator)


def _with_times(info: VideoInfo, packets: _Packets, expected: int | None, limits: MediaLimits) -> VideoInfo:
    """Add the frames' times, from the packet headers where they suffice, else by decoding the clip once."""
    pts, last = _times_from_packets(packets)
    if pts is None:
        pts, last, damaged = _times_by_decoding(info)
        if damaged and expected is None:
            expected = len(pts) + 1
    if not pts:
        raise InputError("Expected a video, found one without a single readable frame.", path=info.path)
    if expected is not None and not limits.allow_truncated:
        raise InputError(
            f"The video is cut off or damaged: readable to frame {len(pts) - 1} of about {expected}.",
            hint="Copy or export it again.",
            path=info.path,
            frame=len(pts) - 1,
        )
    durations = [b - a for a, b in itertools.pairwise(pts)]
    if last <= 0:
        tick = Fraction(info.frame_rate[1], info.frame_rate[0]) / Fraction(*info.time_base)
        last = durations[-1] if durations else max(round(tick), 1)
    return replace(
        info, pts=tuple(pts), durations=(*durations, last), frame_count=len(pts), truncated=expected is not None
    )


def _times_from_packets(packets: _Packets) -> tuple[list[int] | None, int]:
    """Sorted times of the frames and the duration of the last, or ``None`` where packets and frames may differ."""
    known = [p for p in packets.pts if p is not None]
    if len(known) < len(packets.pts) or len(set(known)) < len(known) or not packets.keyframe:
        return None, 0
    if packets.damaged or not packets.keyframe[0] or min(known) < known[0]:
        return None, 0  # leading pictures that depend on frames before the cut are not shown
    last = max(range(len(known)), key=lambda i: known[i])
    return sorted(known), packets.durations[last]


def _times_by_decoding(info: VideoInfo) -> tuple[list[int], int, bool]:
    """Times of all frames that the decoder gives, the last duration, and whether decoding broke off."""
    pts: list[int] = []
    last = 0
    with open_video(info.path) as container:
        stream = video_stream(container, info.path)
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return pts, last, True
                if frame.pts is None:
                    raise InputError("Expected a video with timestamps, found frames without.", path=info.path)
                if not pts or frame.pts > pts[-1]:
                    pts.append(frame.pts)
                    last = frame.duration or 0
        except FFmpegError:
            return pts, last, True
    return pts, last, False
