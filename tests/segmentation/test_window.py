"""The window stays in the frame, stays even, and covers the face."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_person import landmarks_at

from gswap.foundation.errors import InputError
from gswap.foundation.types import FaceTrack, Shot
from gswap.segmentation.config import WindowConfig
from gswap.segmentation.window import choose_window


def track(centres, size, scale=1.0, shots=(), lost=()):
    points = np.stack([landmarks_at(x, y, scale) for x, y in centres])
    valid = np.ones(len(points), bool)
    valid[list(lost)] = False
    points[~valid] = np.nan
    n = len(points)
    return FaceTrack(
        landmarks=points, valid=valid, confidence=np.ones(n), bridged=np.zeros(n, bool), duplicate=np.zeros(n, bool),
        shoulders=np.zeros((n, 2, 3)), embedding=np.full((n, 128), np.nan), sharpness=np.ones(n), size=size,
        shots=tuple(shots),
    )  # fmt: skip


def check(window, faces, size):
    assert window.width % 2 == 0 and window.height % 2 == 0
    for offset, side, length in ((window.x, window.width, size[0]), (window.y, window.height, size[1])):
        assert (offset % 2 == 0).all()
        assert offset.min() >= 0 and offset.max() + side <= length
    for t in np.flatnonzero(faces.valid):
        points = faces.landmarks[t, :, :2].clip((0, 0), (size[0] // 2 * 2, size[1] // 2 * 2))
        assert (points >= (window.x[t], window.y[t])).all()
        assert (points <= (window.x[t] + window.width, window.y[t] + window.height)).all()


def test_small_travel_gets_a_window_that_stands_still():
    centres = [(400 + 20 * np.sin(t), 300 + 10 * np.cos(t)) for t in range(20)]
    faces = track(centres, (1281, 721))
    window = choose_window(faces, None, faces.size)
    check(window, faces, faces.size)
    assert len(np.unique(window.x)) == 1 and len(np.unique(window.y)) == 1
    assert window.scale == 1.0


def test_a_walk_through_the_frame_is_followed_smoothly():
    centres = [(100 + 8 * t + (-1) ** t, 300) for t in range(130)]
    faces = track(centres, (1280, 720))
    window = choose_window(faces, None, faces.size)
    check(window, faces, faces.size)
    assert window.width < 400
    steps = np.diff(window.x)
    assert steps.max() <= 12 and steps.min() >= 0


@pytest.mark.parametrize("seed", range(8))
def test_any_motion_is_covered_and_inside(seed):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(200, 900)), int(rng.integers(200, 900)))
    centres = rng.uniform(0, 1, (15, 2)) * size
    faces = track(centres, size, scale=float(rng.uniform(0.4, 3)), lost=(3, 4))
    check(choose_window(faces, None, size), faces, size)


def test_a_close_up_takes_the_whole_frame():
    faces = track([(256, 256)] * 3, (512, 512), scale=3.2)
    window = choose_window(faces, None, (512, 512))
    assert (window.width, window.height) == (512, 512)


def test_large_windows_are_worked_on_at_a_reduced_scale():
    faces = track([(2000, 1000)] * 3, (4096, 2160), scale=10)
    window = choose_window(faces, None, faces.size, WindowConfig(max_side=512))
    assert max(window.size) == 512
    check(window, faces, faces.size)


def test_shots_have_their_own_places_but_one_size():
    faces = track([(200, 300)] * 5 + [(1000, 300)] * 5, (1280, 720), shots=(Shot(0, 5), Shot(5, 10)))
    window = choose_window(faces, None, faces.size)
    check(window, faces, faces.size)
    assert len(np.unique(window.x)) == 2
    assert window.width < 400


def test_gaps_are_bridged_and_no_face_is_an_error():
    faces = track([(300 + t, 300) for t in range(9)], (1280, 720), lost=(4,))
    assert np.isfinite(choose_window(faces, None, faces.size).x).all()
    with pytest.raises(InputError, match="found none"):
        choose_window(track([(300, 300)], (1280, 720), lost=(0,)), None, (1280, 720))
