"""Footage for the watermark benchmark: synthetic people, rendered once and kept as lossless files; and users' clips."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.types import Progress, no_progress
from gswap.media.read import luma_planes
from gswap.media.write import encode_rgb
from gswap.output.watermark_bench import BenchClip
from gswap.people.clips import render_motion
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.scene import make_scene

FPS = 25
SIZES = ((512, 512), (480, 270), (320, 384), (360, 360), (270, 480))
"""Width and height of the synthetic clips, in turn."""
RENDERED_FRAMES = 60
"""Rendered per clip; a clip plays them to and fro, each frame with grain of its own."""
FIRST_PERSON = 5000
"""Seed of the first clip's person, motion and scene; the following clips take the following seeds."""
GRAIN = 1.2
"""Standard deviation of the sensor noise, 8-bit levels."""
VIEW_SECONDS = 3.0
MIN_VIEW = 0.5
"""Smallest side of an unmarked view, as a share of the clip's."""
VIEW_SIDES = (192, 256, 360, 512)
"""Short sides of the unmarked views, pixels."""


def render_clips(folder: Path, count: int, progress: Progress = no_progress) -> list[Path]:
    """Render what is not in ``folder`` yet: one lossless video a person, without grain.

    Args:
        folder: Where the videos are kept; made if missing.
        count: How many people.
        progress: Told of every clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        path = clip_path(folder, i)
        if not path.exists():
            seed, size = FIRST_PERSON + i, SIZES[i % len(SIZES)]
            scene = make_scene(seed, head_fraction=0.36 + 0.04 * (i % 6), noise=0.0)
            motion = make_motion(seed, RENDERED_FRAMES, FPS, MotionConfig(yaw=6.0 + 3 * (i % 7)))
            frames = render_motion(make_person(seed), motion, scene, size)
            encode_rgb(path, (frame.rgb for frame in frames), (FPS, 1))
        paths.append(path)
        progress(i + 1, count, "rendering people")
    return paths


def clip_path(folder: Path, index: int) -> Path:
    """Where the rendered video of a person is kept."""
    width, height = SIZES[index % len(SIZES)]
    return folder / f"person{FIRST_PERSON + index}-{width}x{height}.mkv"


def synthetic_clip(path: Path, seconds: float) -> BenchClip:
    """A rendered video played to and fro for ``seconds``, with fresh grain in every frame."""
    rendered = [luma for _, luma in luma_planes(path)]
    return BenchClip(path.stem, *_played(rendered, path.stem, range(round(seconds * FPS))))


def file_clip(path: Path, seconds: float) -> BenchClip:
    """The first ``seconds`` of a video file."""
    frames, times = [], []
    for time, luma in luma_planes(path):
        if time >= seconds:
            break
        frames.append(luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2])
        times.append(time)
    return BenchClip(path.stem, frames, times)


def unmarked_views(clips: Sequence[Path], count: int, *, seed: int = 0) -> Iterator[BenchClip]:
    """Views that were never marked: a window of time, a crop, a mirroring, a gain and a size of a synthetic clip.

    The views are spread evenly over the clips; no two are the same.
    """
    rng = np.random.default_rng(seed)
    opened, rendered = None, list[np.ndarray]()
    for n in range(count):
        path = clips[n * len(clips) // count]
        if path != opened:
            opened, rendered = path, [luma for _, luma in luma_planes(path)]
        first = int(rng.integers(2 * len(rendered)))
        frames, times = _played(rendered, path.stem, range(first, first + round(VIEW_SECONDS * FPS)))
        yield BenchClip(f"{path.stem} view {n}", _looked_at(frames, rng), times)


def _looked_at(frames: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """A random crop, size, gain and mirroring of frames."""
    height, width = frames[0].shape
    share, gain, mirrored = rng.uniform(MIN_VIEW, 1), rng.uniform(0.7, 1.25), bool(rng.integers(2))
    h, w = int(height * share), int(width * share)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    scale = rng.choice(VIEW_SIDES) / min(w, h)
    seen = []
    for luma in frames:
        part = luma[top : top + h, left : left + w]
        part = cv2.flip(part, 1) if mirrored else part
        part = cv2.resize(part, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
        seen.append(_eight_bit(part.astype(np.float32) * gain))
    return seen


def _played(rendered: Sequence[np.ndarray], name: str, span: range) -> tuple[list[np.ndarray], list[float]]:
    """Frames ``span`` of the endless playback to and fro, with grain, and their times from the first one (seconds)."""
    frames = []
    for i in span:
        position = i % (2 * len(rendered) - 2)
        luma = rendered[min(position, 2 * len(rendered) - 2 - position)]
        rng = np.random.default_rng([i, zlib.crc32(name.encode())])
        frames.append(_eight_bit(luma + GRAIN * rng.standard_normal(luma.shape, np.float32)))
    return frames, [i / FPS for i in range(len(frames))]


def _eight_bit(luma: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(luma, 0, 255)).astype(np.uint8)
