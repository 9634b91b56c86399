"""What a file is said to hold, and what is refused."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.types import ColorTags
from gswap.media.config import MediaLimits
from gswap.media.probe import is_video, probe
from gswap.media.read import VideoReader, sample_frames


def cut(path: Path, fraction: float) -> Path:
    """Cut a file to a part of its bytes, within a packet (between two, a transport stream shows no sign of it)."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction) // 188 * 188 + 100])
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_irregular_times_are_exact(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    stamps = (0, 40, 47, 100, 133, 140, 260, 300, 307, 311)
    make_clip(path, pts=stamps, time_base=Fraction(1, 1000), codec="libvpx-vp9" if name == "a.webm" else "libx264")
    info = probe(path)
    base = Fraction(*info.time_base)
    assert [p * base for p in info.pts] == [Fraction(s, 1000) for s in stamps]
    assert info.frame_count == len(stamps)
    assert [d * base for d in info.durations[:-1]] == [Fraction(b - a, 1000) for a, b in itertools.pairwise(stamps)]


def test_description(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    tags = (9, 16, 9, 1)
    make_clip(path, pixel_format="yuv420p10le", tags=tags, aspect=Fraction(4, 3), sound="aac", offset=5)
    info = probe(path)
    assert (info.width, info.height, info.bit_depth, info.pixel_format) == (64, 48, 10, "yuv420p10le")
    assert info.color == ColorTags(*tags)
    assert info.sample_aspect_ratio == (4, 3)
    assert info.has_audio and info.codec == "h264"
    assert Fraction(info.pts[0]) * Fraction(*info.time_base) == Fraction(5, 25)
    assert info.frame_rate == (25, 1)
    assert info.seconds == pytest.approx(12 / 25)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "a.mp4"
    pictures = make_clip(path, rotation=rotation, options={"qp": "0"}, aspect=Fraction(4, 3))
    info = probe(path)
    quarter = rotation != 180
    assert info.rotation == rotation
    assert (info.width, info.height) == ((48, 64) if quarter else (64, 48))
    assert info.sample_aspect_ratio == ((3, 4) if quarter else (4, 3))
    with VideoReader(info) as reader:
        frame = next(reader.frames())
    for plane, original in zip(frame.planes, pictures[0], strict=True):
        np.testing.assert_array_equal(plane, np.rot90(original, rotation // 90))
    assert frame.rgb.shape == (info.height, info.width, 3)


@pytest.mark.parametrize("group", ["10", "250"])
def test_transport_streams_are_read_from_any_frame(tmp_path: Path, group: str) -> None:
    """They have no index: a seek may land behind the only key frame, where nothing can be decoded."""
    path = tmp_path / "a.ts"
    pictures = make_clip(path, pts=tuple(range(50)), sound="aac", options={"qp": "0", "g": group, "bf": "2"})
    info = probe(path)
    with VideoReader(info) as reader:
        for start in (0, 1, 10, 31, 49):
            frames = list(reader.frames(start))
            assert [f.index for f in frames] == list(range(start, 50))
            for frame in (frames[0], frames[-1]):
                np.testing.assert_array_equal(frame.planes[0], pictures[frame.index][0])


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["faststart.mp4", "plain.mp4", "a.mkv", "a.ts"])
def test_truncated_files_are_refused(tmp_path: Path, name: str, fraction: float) -> None:
    path = tmp_path / name
    muxing = {"movflags": "faststart"} if name == "faststart.mp4" else {}
    make_clip(path, pts=tuple(range(100)), sound="aac", options={"g": "10", "preset": "ultrafast"}, muxing=muxing)
    assert probe(path).frame_count == 100
    with pytest.raises(InputError) as caught:
        probe(cut(path, fraction))
    assert caught.value.exit_code == 65


def test_truncated_video_says_how_far_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    make_clip(path, pts=tuple(range(100)), options={"g": "10"})
    with pytest.raises(InputError, match=r"readable to frame \d+ of about (9\d|10\d)"):
        probe(cut(path, 0.6))
    info = probe(path, MediaLimits(allow_truncated=True))
    assert info.truncated and 20 < info.frame_count < 90
    with VideoReader(info) as reader:
        assert sum(1 for _ in reader.frames()) == info.frame_count


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"just some words\n" * 50, "cannot be read"),
        (b"<html><body>not found</body></html>", "cannot be read"),
        (b"\x00" * 5000, "cannot be read"),
        (bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)), "cannot be read"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        probe(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        probe(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match="folder"):
        probe(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    ],
)
def test_playlists_are_refused(tmp_path: Path, text: str) -> None:
    make_clip(tmp_path / "secret.mp4")
    path = tmp_path / "evil.mp4"
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        probe(path)


def test_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """A fifo blocks whoever opens it: that the call returns shows that nobody did."""
    os.mkfifo(tmp_path / "secret.mp4")
    path = tmp_path / "evil.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(InputError):
        probe(path)
    with pytest.raises(InputError, match="device"):
        probe(tmp_path / "secret.mp4")


def test_pixel_limit_is_read_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path)
    with pytest.raises(InputError, match="at most 32x32 pixels, found 64x48"):
        probe(path, MediaLimits(max_width=32, max_height=32))


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(tmp_path / "both.mp4", sound="aac")
    with av.open(str(tmp_path / "both.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(InputError, match="no video stream"):
        probe(path)


def test_transparency_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuva420p"
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuva420p")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="transparency"):
        probe(path)


def test_interlaced_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path, options={"x264-params": "tff=1"})
    with pytest.raises(InputError, match="interlaced"):
        probe(path)


@pytest.mark.parametrize("name", ["-dash.mp4", "two\nlines.mp4", "concat:x.mp4", "späße \U0001f600.mp4", "pct%03d.mp4"])
def test_odd_names_work(tmp_path: Path, name: str) -> None:
    make_clip(tmp_path / "plain.mp4")
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    assert probe(tmp_path / name).frame_count == 12


def test_non_utf8_name_works(tmp_path: Path) -> None:
    make_clip(tmp_path / "plain.mp4")
    name = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    (tmp_path / "plain.mp4").rename(name)
    assert probe(name).frame_count == 12


def test_reading_from_the_middle_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path, pts=tuple(range(40)), options={"g": "12", "bf": "3"})
    info = probe(path)
    with VideoReader(info) as reader:
        whole = list(reader.frames())
        for start, stop in [(0, 1), (1, 2), (13, 15), (11, 12), (39, 40), (25, None)]:
            part = list(reader.frames(start, stop))
            assert [f.index for f in part] == list(range(start, stop or 40))
            for frame in part:
                for a, b in zip(frame.planes, whole[frame.index].planes, strict=True):
                    np.testing.assert_array_equal(a, b)
                assert frame.pts == info.pts[frame.index]


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path: Path) -> None:
    """A clip cut without re-encoding starts at a key frame that is decoded but not shown."""
    source, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    pictures = make_clip(source, pts=tuple(range(30)), options={"g": "10", "qp": "0"})
    with av.open(str(source)) as whole, av.open(str(path), "w") as cut_clip:
        stream = cut_clip.add_stream_from_template(whole.streams.video[0])
        tick = int(Fraction(1, 25) / whole.streams.video[0].time_base)
        for packet in whole.demux(whole.streams.video[0]):
            if packet.size and packet.pts >= 10 * tick:
                packet.pts, packet.dts, packet.stream = packet.pts - 15 * tick, packet.dts - 15 * tick, stream
                cut_clip.mux(packet)
    info = probe(path)
    assert info.frame_count == 15 and info.pts[0] == 0 and not info.truncated
    with VideoReader(info) as reader:
        for frame in reader.frames():
            np.testing.assert_array_equal(frame.planes[0], pictures[15 + frame.index][0])


def test_damaged_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path, size=(160, 120), pts=tuple(range(60)), options={"g": "10", "crf": "5"})
    info = probe(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = bytes(9000)  # takes the headers of some frames with it
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"Frame \d+ of 60 is damaged") as caught, VideoReader(info) as reader:
        for _ in reader.frames():
            pass
    assert caught.value.frame is not None and 10 <= caught.value.frame < 50


def test_frames_are_sampled_over_the_whole_clip(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path, pts=tuple(range(30)))
    info = probe(path)
    assert len(sample_frames(info, 4)) == 4
    assert len(sample_frames(info, 100)) == 30


def test_video_names() -> None:
    assert is_video(Path("a.MP4")) and is_video(Path("b.webm"))
    assert not is_video(Path("a.png")) and not is_video(Path("folder"))
