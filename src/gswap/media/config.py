"""Options of reading and writing pictures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """What is refused before anything is decoded."""

    max_width: int = 8192
    """Widest video frame that is opened, in pixels."""
    max_height: int = 8192
    """Tallest video frame that is opened, in pixels."""
    allow_truncated: bool = False
    """Use the readable part of a video that was cut off, instead of refusing it."""


@dataclass(frozen=True)
class EncodeConfig:
    """How the output video is compressed. Matroska (.mkv) outputs are FFV1: lossless, these options do not apply."""

    crf: int = 16
    """Quality of H.264 and H.265 (mp4, mov): 0 = lossless, 16 = visually lossless, 23 = small."""
    preset: str = "medium"
    """Effort of H.264 and H.265: ultrafast, superfast, veryfast, faster, fast, medium, slow, slower or veryslow."""
    vp9_crf: int = 18
    """Quality of VP9 (webm): 0 = best, 63 = smallest."""
    audio_bitrate: int = 192_000
    """Bits per second of sound that has to be transcoded because the container cannot hold the original."""
    threads: int = 2
    """Encoder threads. Part of the result: H.264 bytes depend on it, so it does not follow the machine."""
