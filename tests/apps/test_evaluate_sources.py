"""Where results and truths come from: frames that fit the clip, and samples only where they mean the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gswap.apps.evaluate.sources import VideoResult, job_folders, open_result
from gswap.apps.evaluate.truth import TrueVideo
from gswap.foundation.errors import InputError
from gswap.foundation.store import PngStore, write_json
from gswap.foundation.types import ColorTags, RgbImage
from gswap.media.color import rgb_to_planes
from gswap.media.layout import display_layout
from gswap.media.probe import probe
from gswap.media.write import BT709, VideoWriter, encode_rgb, rgb_video_info
from gswap.pipeline.workspace import MARKER

SIZE = 48, 32


def pictures(count: int) -> list[RgbImage]:
    return [np.full((SIZE[1], SIZE[0], 3), (60 + t, 120, 200), np.uint8) for t in range(count)]


def written(path: Path, pixel_format: str, color: ColorTags = BT709) -> Path:
    """The same three pictures in a pixel format and with colour tags, without loss."""
    info = replace(rgb_video_info(path, SIZE, (25, 1), 3), pixel_format=pixel_format, color=color)
    with VideoWriter(path, info) as writer:
        for t, rgb in enumerate(pictures(3)):
            writer.write(rgb_to_planes(rgb, display_layout(info), color), t, 1)
    return path


@pytest.mark.parametrize(
    ("pixel_format", "color", "same"),
    [
        ("yuv444p", BT709, True),
        ("gbrp", ColorTags(1, 1, 0, 2), False),
        ("yuv444p", replace(BT709, range=2), False),
        ("yuv444p", replace(BT709, matrix=6), False),
        ("yuv420p", BT709, False),
    ],
)
def test_samples_are_compared_only_where_they_mean_the_same(tmp_path, pixel_format, color, same):
    """Green and luma, or limited and full range, have planes of one shape: the same picture has other numbers there."""
    clip = probe(written(tmp_path / "clip.mkv", "yuv444p"))
    result = VideoResult("tool", written(tmp_path / "tool.mkv", pixel_format, color), clip)
    shown = list(result.frames())
    assert [bool(picture.planes) for picture in shown] == 3 * [same]
    for picture, rgb in zip(shown, pictures(3), strict=True):
        np.testing.assert_allclose(picture.rgb.astype(int), rgb, atol=2)


def test_a_truth_may_be_a_frame_longer_than_the_clip_and_its_masks(tmp_path):
    encode_rgb(tmp_path / "clip.mkv", pictures(3), (25, 1))
    encode_rgb(tmp_path / "truth.mkv", pictures(4), (25, 1))
    masks = PngStore(tmp_path / "masks", 3)
    for t in range(3):
        masks.write(t, np.full(SIZE[::-1], 50 * t, np.uint8))
    truth = TrueVideo(tmp_path / "truth.mkv", probe(tmp_path / "clip.mkv"), tmp_path / "masks")
    assert [int(picture.matte.max()) for picture in truth.frames() if picture.matte is not None] == [0, 50, 100]


def test_a_workspace_must_be_of_the_same_part_of_the_clip(tmp_path):
    """Frames are told by their number in the part: those of another part are other frames."""
    write_json(tmp_path / MARKER, {"format": 1})
    for step in ("ingest", "segment", "render"):
        (tmp_path / step / "0123").mkdir(parents=True)
        write_json(tmp_path / step / "0123" / "done.json", {"target_sha256": "abc"})
    write_json(tmp_path / "ingest" / "0123" / "clip.json", {"first": 50, "stop": 60, "photos": 1, "picked": False})

    def clip(first: int, count: int) -> Any:
        return SimpleNamespace(first=first, info=SimpleNamespace(frame_count=count))

    for first, count in ((0, 10), (50, 9), (0, 200)):
        with pytest.raises(InputError, match=rf"frames {first} to {first + count} of the clip, found one on 50 to 60"):
            open_result("ours", tmp_path, clip(first, count), "abc")
    assert job_folders(tmp_path, clip(50, 10), "abc")["render"] == tmp_path / "render" / "0123"
