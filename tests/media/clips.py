"""Tiny clips with known samples, made with PyAV alone so that they do not depend on the code under test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from gswap.media.layout import frame_of, layout_of


def samples(pixel_format: str, width: int, height: int, index: int) -> tuple[np.ndarray, ...]:
    """Smooth moving planes of a format, different in every frame and plane."""
    layout = layout_of(pixel_format)
    planes = []
    for p, (h, w) in enumerate(layout.shapes(width, height)):
        y, x = np.mgrid[0:h, 0:w]
        wave = np.sin(0.21 * x + 0.13 * y * (p + 1) + 0.4 * index + p)
        planes.append(np.rint((0.5 + 0.4 * wave) * layout.maximum).astype(layout.dtype))
    return tuple(planes)


def make_clip(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    pts: tuple[int, ...] = tuple(range(12)),
    time_base: Fraction = Fraction(1, 25),
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    rotation: int = 0,
    tags: tuple[int, int, int, int] = (2, 2, 2, 0),
    sound: str | None = None,
    sound_seconds: float | None = None,
    sound_layout: str = "mono",
    sound_rate: int = 48000,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    aspect: Fraction = Fraction(1),
    offset: int = 0,
) -> list[tuple[np.ndarray, ...]]:
    """Write a clip and return the planes that went in (lossless for ``ffv1`` and for x264 with ``qp=0``)."""
    layout = layout_of(pixel_format)
    pictures = [samples(pixel_format, *size, i) for i in range(len(pts))]
    with av.open(str(path), "w", container_options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = *size, pixel_format
        context.time_base = stream.time_base = time_base
        context.thread_count = 1
        context.sample_aspect_ratio = aspect
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if rotation:
            stream.set_display_rotation(rotation)
        voice = container.add_stream(sound, rate=sound_rate, layout=sound_layout) if sound else None
        if sound == "tta":
            voice.codec_context.format = "s16"  # its first choice would be 8 bits
        for planes, stamp in zip(pictures, pts, strict=True):
            frame = frame_of(planes, layout, pixel_format)
            if pixel_format.startswith("yuvj"):
                frame = _renamed(frame, pixel_format)
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = tags
            frame.pts, frame.time_base = stamp + offset, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            seconds = sound_seconds or float((pts[-1] + 1) * time_base)
            voice_format = voice.codec_context.format.name
            resampler = av.AudioResampler(voice_format, sound_layout, sound_rate)
            for block in _beep(seconds, voice_format):
                for part in resampler.resample(block):
                    container.mux(voice.encode(part))
            for part in resampler.resample(None):
                container.mux(voice.encode(part))
            container.mux(voice.encode(None))
    return pictures


def _renamed(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """The same bytes under another format's name (yuv420p as yuvj420p), without conversion."""
    other = av.VideoFrame(frame.width, frame.height, pixel_format)
    for source, target in zip(frame.planes, other.planes, strict=True):
        target.update(bytes(source))
    return other


def _beep(seconds: float, sample_format: str) -> list[av.AudioFrame]:
    """A 440 Hz tone at 48 kHz in blocks of 1024 samples."""
    total = round(seconds * 48000)
    blocks = []
    for start in range(0, total, 1024):
        t = np.arange(start, min(start + 1024, total)) / 48000
        wave = 0.3 * np.sin(2 * np.pi * 440 * t)
        data = (wave * 32767).astype(np.int16) if sample_format.startswith("s16") else wave.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(data[None], format=sample_format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        blocks.append(frame)
    return blocks


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and bytes of every sound packet of a file."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(container.streams.audio[0]) if p.size]
