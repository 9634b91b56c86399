"""A short, small copy of a pair: the middle frames at a low resolution, without loss. Ablations run on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2

from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.sources import check_length
from gswap.foundation.store import hash_file, make_folder
from gswap.foundation.types import RgbImage, VideoInfo
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.write import encode_rgb
from gswap.pipeline.steps.ingest import trim

SIDE, FRAMES = 256, 60


def reduce_pair(pair: Pair, folder: Path, *, side: int = SIDE, frames: int = FRAMES) -> Pair:
    """Write the copy of the pair's clips into ``folder`` unless it is there.

    The shorter side becomes ``side`` pixels. The frames are the middle ones of the part between ``start`` and ``end``;
    the truth, which shows that part, is cut alike. A clip that is small already is used as it is.
    Consent stays the pair's, so a record that is bound to one clip does not cover it: bind the photos only.

    Raises:
        InputError: The part holds no frame, or the truth does not show it.
    """
    info, true = probe(pair.target), None if pair.truth is None else probe(pair.truth)
    start, stop = trim(info, pair.start, pair.end)
    if true is not None:
        check_length(true, stop - start)
    make_folder(folder)
    first = max((stop - start - frames) // 2, 0)
    last = min(first + frames, stop - start)
    target = _copy(info, folder, "target", side, (start + first, start + last))
    truth = None if true is None else _copy(true, folder, "truth", side, (first, last))
    small = dataclasses.replace(pair, target=target, truth=truth, methods={}, start=None, end=None)
    return dataclasses.replace(small, truth_masks=pair.truth_masks if target == pair.target else None)


def _copy(info: VideoInfo, folder: Path, name: str, side: int, span: tuple[int, int]) -> Path:
    """Frames ``span`` of a video, at most ``side`` pixels on the shorter side; the video itself where it is that."""
    first, stop = span[0], min(span[1], info.frame_count)
    if (first, stop) == (0, info.frame_count) and min(info.width, info.height) <= side:
        return info.path
    out = folder / f"{name}_{side}_{first}-{stop}_{hash_file(info.path)[:12]}.mkv"
    if out.exists():
        return out
    size = reduced_size(info, side)

    def images() -> Iterator[RgbImage]:
        with VideoReader(info) as reader:
            for frame in reader.frames(first, stop):
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
