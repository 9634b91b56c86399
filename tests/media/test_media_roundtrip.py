"""Read -> write -> read: samples, times, tags and sound survive."""

from __future__ import annotations

import resource
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip, samples, sound_packets

from gswap.foundation.errors import InputError, InternalError, OutputError, StorageError, UsageError
from gswap.foundation.store import atomic_path
from gswap.foundation.types import ColorTags, VideoInfo
from gswap.media.config import EncodeConfig
from gswap.media.encoders import check_output
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.write import VideoWriter, encode_rgb, rgb_video_info

VFR = (0, 40, 47, 100, 133, 140, 260, 300, 307, 311)


def copy(info: VideoInfo, out: Path, span: tuple[int, int] | None = None, sound: bool = True, **options) -> VideoWriter:
    """Read a clip and write it unchanged."""
    audio = info.path if sound else None
    writer = VideoWriter(out, info, options=EncodeConfig(**options), audio_from=audio, span=span)
    with VideoReader(info) as reader, writer:
        for frame in reader.frames(*(span or (0, None))):
            writer.write(frame.planes, frame.pts, info.durations[frame.index])
    return writer


def all_planes(info: VideoInfo) -> list[tuple[np.ndarray, ...]]:
    with VideoReader(info) as reader:
        return [frame.planes for frame in reader.frames()]


def assert_same(first: list[tuple[np.ndarray, ...]], second: list[tuple[np.ndarray, ...]]) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        for a, b in zip(one, two, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "pixel_format",
    "yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p yuvj420p gray gbrp rgb24 nv12"
    " yuv420p9le yuv420p10le yuv422p10le yuv444p12le yuv440p10le gray10le gray12le gbrp10le gbrp12le".split(),
)
def test_ffv1_keeps_every_sample(tmp_path: Path, pixel_format: str) -> None:
    """Raw video in, FFV1 out: exact for every format, at odd sizes too."""
    source, out = tmp_path / "in.nut", tmp_path / "out.mkv"
    codec = "ffv1" if pixel_format == "yuv440p10le" else "rawvideo"  # which raw files cannot name
    pictures = make_clip(source, size=(67, 51), pixel_format=pixel_format, codec=codec, pts=(0, 1, 2))
    info = probe(source)
    assert_same(all_planes(info), pictures)
    copy(info, out)
    result = probe(out)
    assert_same(all_planes(result), pictures)
    assert result.bit_depth == info.bit_depth
    assert result.color == info.color


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (9, 16, 9, 1), (5, 6, 6, 1), (1, 1, 1, 2), (2, 2, 2, 0)])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
def test_times_tags_and_sound_survive(tmp_path: Path, name: str, tags: tuple[int, int, int, int]) -> None:
    source = tmp_path / "in.mp4"
    make_clip(
        source,
        pts=VFR,
        time_base=Fraction(1, 1000),
        pixel_format="yuv420p10le",
        tags=tags,
        sound="aac",
        sound_seconds=0.6,
        aspect=Fraction(4, 3),
        offset=80,
    )
    info = probe(source)
    writer = copy(info, tmp_path / name)
    result = probe(tmp_path / name)
    base, base_in = Fraction(*result.time_base), Fraction(*info.time_base)
    assert [p * base for p in result.pts] == [p * base_in for p in info.pts]
    assert result.color == ColorTags(*tags)
    assert result.sample_aspect_ratio == (4, 3) or any("pixel shape 4:3" in note for note in writer.notes)
    assert result.bit_depth == 10
    sound, copied = sound_packets(source), sound_packets(tmp_path / name)
    assert [data for _, data in copied] == [data for _, data in sound]
    for (before, _), (after, _) in zip(sound, copied, strict=True):
        assert abs(before - after) <= Fraction(1, 1000)


def test_rotated_clip_comes_out_upright(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mp4", tmp_path / "out.mkv"
    pictures = make_clip(source, rotation=90, options={"qp": "0"}, pixel_format="yuv422p")
    copy(probe(source), out)
    result = probe(out)
    assert (result.rotation, result.width, result.height, result.pixel_format) == (0, 48, 64, "yuv440p")
    assert_same(all_planes(result), [tuple(np.rot90(p) for p in planes) for planes in pictures])


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "h264"), ("out.webm", "vp9"), ("out.mov", "h264")])
def test_lossy_outputs_look_the_same(tmp_path: Path, name: str, codec: str) -> None:
    source = tmp_path / "in.mp4"
    make_clip(source, size=(96, 64))
    info = probe(source)
    copy(info, tmp_path / name)
    result = probe(tmp_path / name)
    assert result.codec == codec and result.pixel_format == "yuv420p" and result.frame_rate == (25, 1)
    for a, b in zip(all_planes(info), all_planes(result), strict=True):
        assert np.abs(a[0].astype(float) - b[0]).mean() < 2


@pytest.mark.parametrize(
    ("pixel_format", "name", "written"),
    [
        ("yuv420p12le", "out.mp4", "yuv420p12le"),
        ("yuv422p10le", "out.mov", "yuv422p10le"),
        ("gbrp10le", "out.mp4", "gbrp10le"),
        ("gbrp", "out.mp4", "gbrp"),
        ("yuv411p", "out.mp4", "yuv444p"),
        ("gray", "out.webm", "yuv420p"),
    ],
)
def test_depth_and_chroma_are_kept_or_said(tmp_path: Path, pixel_format: str, name: str, written: str) -> None:
    source = tmp_path / "in.nut"
    pictures = make_clip(source, pixel_format=pixel_format, codec="rawvideo", pts=(0, 1, 2))
    writer = copy(probe(source), tmp_path / name, crf=4)
    result = probe(tmp_path / name)
    assert result.pixel_format == written
    assert bool(writer.notes) == (written != pixel_format)
    error = all_planes(result)[0][0].astype(float) - pictures[0][0]
    assert np.abs(error).mean() < 3 * (1 << (result.bit_depth - 8))


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    pictures = make_clip(source, size=(67, 51), codec="ffv1")
    info = probe(source)
    writer = copy(info, tmp_path / "out.mp4")
    result = probe(tmp_path / "out.mp4")
    assert (result.width, result.height, result.pixel_format) == (67, 51, "yuv444p")
    assert "odd" in writer.notes[0]
    assert_same(all_planes(info), pictures)


def test_more_than_8_bits_into_webm_is_refused_before_work(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", pixel_format="yuv420p10le")
    info = probe(tmp_path / "in.mp4")
    with pytest.raises(InputError, match="yuv420p10le"):
        check_output(info, tmp_path / "out.webm")
    assert check_output(info, tmp_path / "out.mkv").lossless


def test_output_is_checked_before_work(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4")
    info = probe(tmp_path / "in.mp4")
    with pytest.raises(OutputError, match=r"\.mp4"):
        check_output(info, tmp_path / "out.xyz")
    with pytest.raises(OutputError, match="folder"):
        check_output(info, tmp_path / "nowhere" / "out.mp4")
    with pytest.raises(UsageError, match="crf"):
        check_output(info, tmp_path / "out.mp4", EncodeConfig(crf=99))
    with pytest.raises(UsageError, match="preset"):
        check_output(info, tmp_path / "out.mp4", EncodeConfig(preset="best"))


def test_frames_closer_than_a_millisecond_do_not_fit_matroska(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", pts=(0, 3, 4000), time_base=Fraction(1, 90000))
    info = probe(tmp_path / "in.mp4")
    with pytest.raises(InputError, match="millisecond"):
        check_output(info, tmp_path / "out.mkv")
    assert check_output(info, tmp_path / "out.mp4").notes == ()


def test_matroska_says_that_it_rounds_times(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", time_base=Fraction(1, 30))
    info = probe(tmp_path / "in.mp4")
    assert "0.5 ms" in check_output(info, tmp_path / "out.mkv").notes[0]
    copy(info, tmp_path / "out.mkv")
    result = probe(tmp_path / "out.mkv")
    for a, b in zip(info.pts, result.pts, strict=True):
        assert abs(a * Fraction(*info.time_base) - b * Fraction(*result.time_base)) <= Fraction(1, 2000)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_trim_keeps_sound_and_pictures_together(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.mp4"
    make_clip(source, pts=tuple(range(50)), sound="aac")
    info = probe(source)
    copy(info, tmp_path / name, span=(20, 40))
    result = probe(tmp_path / name)
    assert result.frame_count == 20 and result.pts[0] == 0
    start, stop = Fraction(20, 25), Fraction(40, 25)
    expected = [(t - start, data) for t, data in sound_packets(source) if start <= t < stop]
    copied = sound_packets(tmp_path / name)
    assert [data for _, data in copied] == [data for _, data in expected]
    for (wanted, _), (found, _) in zip(expected, copied, strict=True):
        assert abs(wanted - found) <= Fraction(1, 1000)


def test_longer_sound_is_not_cut(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    make_clip(source, sound="aac", sound_seconds=2.0)
    copy(probe(source), tmp_path / "out.mp4")
    assert sound_packets(tmp_path / "out.mp4") == sound_packets(source)


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "aac"), ("out.webm", "opus")])
def test_sound_that_does_not_fit_is_converted_and_said(tmp_path: Path, name: str, codec: str) -> None:
    source = tmp_path / "in.mkv"
    make_clip(source, sound="tta", sound_seconds=1.0)
    writer = copy(probe(source), tmp_path / name)
    assert any("sound was converted" in note for note in writer.notes)
    with av.open(str(tmp_path / name)) as container:
        voice = container.streams.audio[0]
        assert voice.codec_context.name == codec
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(voice)])
    assert abs(len(heard) / 48000 - 1.0) < 0.06
    spectrum = np.abs(np.fft.rfft(heard[4800:43200]))
    assert abs(np.argmax(spectrum) * 48000 / 38400 - 440) < 3


@pytest.mark.parametrize(
    ("source", "sound", "layout", "rate", "name"),
    [
        ("in.mkv", "flac", "mono", 48000, "out.mov"),  # mov takes no FLAC,
        ("in.mkv", "libopus", "mono", 48000, "out.mov"),  # and no Opus
        ("in.mkv", "pcm_s16le", "stereo", 48000, "out.mp4"),  # Matroska does not say what the channels are
        ("in.mkv", "pcm_s16le", "stereo", 37800, "out.mp4"),  # AAC has no such rate,
        ("in.mkv", "ac3", "5.1(side)", 48000, "out.webm"),  # and Opus no such layout
    ],
)
def test_sound_that_a_muxer_or_an_encoder_refuses_is_converted(
    tmp_path: Path, source: str, sound: str, layout: str, rate: int, name: str
) -> None:
    path = tmp_path / source
    make_clip(path, sound=sound, sound_seconds=1.0, sound_layout=layout, sound_rate=rate)
    writer = copy(probe(path), tmp_path / name)
    assert any("sound was converted" in note for note in writer.notes)
    with av.open(str(tmp_path / name)) as container:
        heard = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
        assert abs(heard.shape[1] / container.streams.audio[0].rate - 1.0) < 0.06 and np.abs(heard).max() > 0.1


def test_sound_of_an_unknown_codec_is_left_out_and_said(tmp_path: Path) -> None:
    """As the spatial sound of telephones, beside which the same file holds plain stereo."""
    make_clip(tmp_path / "plain.mp4", sound="aac")
    data = (tmp_path / "plain.mp4").read_bytes()
    (tmp_path / "in.mp4").write_bytes(data.replace(b"mp4a", b"apac").replace(b"esds", b"free"))
    info = probe(tmp_path / "in.mp4")
    writer = copy(info, tmp_path / "out.mp4")
    assert "Sound track 1 was left out: FFmpeg does not know its codec." in writer.notes
    result = probe(tmp_path / "out.mp4")
    assert not result.has_audio and result.frame_count == info.frame_count


def test_no_sound_unless_asked(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", sound="aac")
    copy(probe(tmp_path / "in.mp4"), tmp_path / "out.mp4", sound=False)
    assert not probe(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_same_input_same_bytes(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.mp4"
    make_clip(source, size=(160, 96), pts=tuple(range(60)), sound="aac")
    info = probe(source)
    files = []
    for run in range(3):
        out = tmp_path / f"{run}-{name}"
        copy(info, out)
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]


def test_metadata_and_part_names(tmp_path: Path) -> None:
    info = rgb_video_info(tmp_path / "out.mp4", (32, 32), (25, 1), 2)
    with atomic_path(tmp_path / "out.mp4") as part, VideoWriter(part, info, metadata={"comment": "made"}) as writer:
        for i in range(2):
            writer.write(samples("yuv420p", 32, 32, i), i, 1)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["comment"] == "made"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_missing_frames_are_noticed(tmp_path: Path) -> None:
    info = rgb_video_info(tmp_path / "out.mp4", (32, 32), (25, 1), 3)
    writer = VideoWriter(tmp_path / "out.mp4", info)
    writer.write(samples("yuv420p", 32, 32, 0), 0, 1)
    with pytest.raises(InternalError, match="Expected 3 frames"):
        writer.close()


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_full_disk_is_a_storage_error(tmp_path: Path, name: str) -> None:
    """A limit on the file's size stands in for a full disk."""
    info = replace(rgb_video_info(tmp_path / name, (64, 64), (25, 1), 0), pixel_format="yuv444p")
    rng = np.random.default_rng(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with (
            pytest.raises(StorageError),
            atomic_path(tmp_path / name) as part,
            VideoWriter(part, info, options=EncodeConfig(crf=1)) as writer,
        ):
            for i in range(60):
                writer.write(tuple(rng.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(3)), i, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_rgb_pictures_become_a_video(tmp_path: Path) -> None:
    colours = [(200, 40, 60), (20, 180, 90), (30, 60, 210)]
    frames = (np.full((33, 47, 3), colour, np.uint8) for colour in colours)
    info = encode_rgb(tmp_path / "out.mkv", frames, (30, 1))
    assert (info.width, info.height, info.frame_count) == (46, 32, 3)
    result = probe(tmp_path / "out.mkv")
    assert result.frame_rate == (30, 1) and result.color == ColorTags(1, 1, 1, 1)
    with VideoReader(result) as reader:
        for frame, colour in zip(reader.frames(), colours, strict=True):
            assert np.abs(frame.rgb.astype(int) - colour).max() <= 2
    with pytest.raises(InternalError, match="at least one frame"):
        encode_rgb(tmp_path / "none.mp4", iter(()), (30, 1))


def test_pictures_of_a_clip_keep_its_times(tmp_path: Path) -> None:
    """Else the sound that is copied beside them runs away from them."""
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_clip(source, pts=VFR, time_base=Fraction(1, 300), sound="aac", aspect=Fraction(4, 3))
    info = probe(source)
    pictures = [np.full((48, 64, 3), 20 * t, np.uint8) for t in range(len(VFR))]
    encode_rgb(out, pictures, info.frame_rate, audio_from=source, times_of=info)
    result = probe(out)
    assert [p * Fraction(*result.time_base) for p in result.pts] == [p * Fraction(*info.time_base) for p in info.pts]
    assert result.sample_aspect_ratio == (4, 3) and sound_packets(out) == sound_packets(source)
    for wrong in (pictures[1:], [*pictures, pictures[0]]):
        with pytest.raises(InternalError, match=f"Expected {len(VFR)}"):
            encode_rgb(tmp_path / "wrong.mp4", wrong, info.frame_rate, times_of=info)
    assert not (tmp_path / "wrong.mp4").exists()


def test_reading_and_writing_stay_flat_in_memory(tmp_path: Path) -> None:
    """The queue of waiting durations is the only thing that could grow; it must stay as short as the look-ahead."""
    info = rgb_video_info(tmp_path / "out.mp4", (32, 32), (25, 1), 0)
    with VideoWriter(tmp_path / "out.mp4", info, options=EncodeConfig(preset="ultrafast")) as writer:
        for i in range(300):
            writer.write(samples("yuv420p", 32, 32, i), i, 1)
            assert len(writer._durations) < 100
