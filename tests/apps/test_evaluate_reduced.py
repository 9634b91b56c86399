"""The small copies of clips that ablations run on show the right frames of the right clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.reduced import reduce_pair
from gswap.foundation.errors import InputError
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.write import encode_rgb


def video(path: Path, levels: range) -> Path:
    """Grey frames of three times these levels, ten a second."""
    encode_rgb(path, (np.full((48, 32, 3), 3 * level, np.uint8) for level in levels), (10, 1))
    return path


def levels(path: Path) -> list[int]:
    with VideoReader(probe(path)) as reader:
        return [round(float(frame.rgb.mean()) / 3) for frame in reader.frames()]


def test_the_middle_of_a_clip_is_copied_once(tmp_path):
    pair = Pair("x", (), video(tmp_path / "clip.mkv", range(20, 40)), truth=video(tmp_path / "true.mkv", range(50, 70)))
    small = reduce_pair(pair, tmp_path / "small", side=16, frames=4)
    assert small.truth is not None and (small.target.parent, small.truth.parent) == (tmp_path / "small",) * 2
    assert levels(small.target) == [28, 29, 30, 31] and levels(small.truth) == [58, 59, 60, 61]
    assert (probe(small.target).width, probe(small.target).height) == (16, 24)
    written = small.target.stat().st_mtime_ns
    assert reduce_pair(pair, tmp_path / "small", side=16, frames=4) == small
    assert small.target.stat().st_mtime_ns == written


def test_a_small_clip_is_used_as_it_is(tmp_path):
    pair = Pair("x", (), video(tmp_path / "clip.mkv", range(20, 24)))
    assert reduce_pair(pair, tmp_path / "small").target == pair.target


def test_another_clip_of_the_same_name_is_copied_anew(tmp_path):
    """A pair is named after its clip's file: another clip of that name must not meet the copy of the first."""
    path = tmp_path / "clip.mkv"
    for first in (10, 70):
        small = reduce_pair(Pair("clip", (), video(path, range(first, first + 8))), tmp_path / "small", frames=2)
        assert levels(small.target) == [first + 3, first + 4]


def test_the_part_between_start_and_end_is_reduced(tmp_path):
    """The truth shows that part only."""
    clip, true = video(tmp_path / "clip.mkv", range(20, 40)), video(tmp_path / "true.mkv", range(62, 70))
    pair = Pair("x", (), clip, truth=true, start=1.2)
    for frames, expected in ((4, [34, 35, 36, 37]), (60, list(range(32, 40)))):
        small = reduce_pair(pair, tmp_path / "small", frames=frames)
        assert small.truth is not None and (small.start, small.end) == (None, None)
        assert levels(small.target) == expected and levels(small.truth) == [30 + x for x in expected]


def test_a_truth_of_another_part_is_refused(tmp_path):
    """The middle of a whole clip is not the middle of its part."""
    clip = video(tmp_path / "clip.mkv", range(20, 40))
    with pytest.raises(InputError, match="Expected 8 frames, as in the clip, found 20"):
        reduce_pair(Pair("x", (), clip, truth=clip, start=1.2), tmp_path / "small", frames=4)
    assert not (tmp_path / "small").exists()
