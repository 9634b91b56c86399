"""Which frames are measured, and that every one of them comes with its true predecessor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gswap.apps.evaluate.analysis import Analysis, walk
from gswap.apps.evaluate.sources import Picture
from gswap.foundation.types import Shot

COUNT = 12


def picture(t: int, level: int = 0) -> np.ndarray:
    return np.full((4, 4, 3), 10 * t + level, np.uint8)


class Brighter:
    """A result: every picture three levels brighter."""

    name, told = "brighter", ""

    def frames(self):
        return (Picture(picture(t, 3)) for t in range(COUNT))


class Known(Analysis):
    """A clip of two shots whose head is not asked for."""

    def head(self, t: int) -> np.ndarray:
        return np.zeros((4, 4), np.uint8)


def known() -> Analysis:
    seen = np.ones(COUNT, bool)
    seen[7] = False
    faces: Any = SimpleNamespace(valid=seen, bridged=np.zeros(COUNT, bool), landmarks=np.zeros((COUNT, 478, 3)))
    frames = lambda: (SimpleNamespace(rgb=picture(t), planes=()) for t in range(COUNT))  # noqa: E731
    clip: Any = SimpleNamespace(shots=(Shot(0, 6), Shot(6, COUNT)), frames=frames)
    nothing: Any = None
    return Known(nothing, {}, clip, faces, faces, nothing, "")


def test_measured_frames_are_spread_over_those_with_the_person():
    assert known().measured(3).tolist() == [0, 5, 11]
    assert known().measured(0).tolist() == [t for t in range(COUNT) if t != 7]


def test_spread_frames_come_with_their_neighbours_in_clip_and_result():
    """Flicker is that of neighbours however few frames are measured; a cut has none."""
    samples = list(walk(known(), [Brighter()], None, np.array([0, 4, 6, 8, 11])))
    assert [sample.index for sample in samples] == [0, 4, 6, 8, 11]
    for sample in samples:
        (shown,) = sample.results
        assert np.array_equal(sample.rgb, picture(sample.index)) and np.array_equal(shown.rgb, picture(sample.index, 3))
        if sample.index in (0, 6):
            assert sample.before is None and shown.before is None
        else:
            assert np.array_equal(sample.before, picture(sample.index - 1))
            assert np.array_equal(shown.before, picture(sample.index - 1, 3))
