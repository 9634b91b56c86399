"""A short, small copy of a pair: the middle frames at a low resolution, without loss. Ablations run on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2

from gswap.apps.evaluate.layout import Pair
from gswap.foundation.types import RgbImage, VideoInfo
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.write import encode_rgb

SIDE, FRAMES = 256, 60


def reduce_pair(pair: Pair, folder: Path, *, side: int = SIDE, frames: int = FRAMES) -> Pair:
    """Write the copy of the pair's clips into ``folder`` unless it is there.

    The shorter side becomes ``side`` pixels; the truth is cut alike. A clip that is small already is used as it is.
    Consent stays the pair's, so a record that is bound to one clip does not cover it: bind the photos only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = _copy(pair.target, folder / f"target_{side}_{frames}.mkv", side, frames)
    truth = None if pair.truth is None else _copy(pair.truth, folder / f"truth_{side}_{frames}.mkv", side, frames)
    small = dataclasses.replace(pair, target=target, truth=truth, methods={}, start=None, end=None)
    return dataclasses.replace(small, truth_masks=pair.truth_masks if target == pair.target else None)


def _copy(path: Path, out: Path, side: int, frames: int) -> Path:
    info = probe(path)
    if info.frame_count <= frames and min(info.width, info.height) <= side:
        return path
    if out.exists():
        return out
    first = max((info.frame_count - frames) // 2, 0)
    size = reduced_size(info, side)

    def images() -> Iterator[RgbImage]:
        with VideoReader(info) as reader:
            for frame in reader.frames(first, min(first + frames, info.frame_count)):
                if frame.rgb.shape[1::-1] == size:
                    yield frame.rgb
                else:
                    yield cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA).astype("uint8")

    encode_rgb(out, images(), info.frame_rate)
    return out


def reduced_size(info: VideoInfo, side: int) -> tuple[int, int]:
    """Width and height, even."""
    scale = min(side / min(info.width, info.height), 1.0)
    return 2 * round(info.width * scale / 2), 2 * round(info.height * scale / 2)
