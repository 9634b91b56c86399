"""Cuts are found; motion, flashes and exposure jumps are not cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.foundation.types import Shot
from gswap.media.scenes import ShotDetector, is_duplicate, scan


def scene(seed: int, hue: tuple[int, int, int]) -> np.ndarray:
    """A large blurred random picture with a colour cast, to move a window over."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((400, 600, 3)), (0, 0), 18)
    noise = (noise - noise.min()) / np.ptp(noise)
    return np.clip(noise * 160 + np.array(hue) * 0.5, 0, 255).astype(np.uint8)


FIRST, SECOND = scene(1, (180, 120, 60)), scene(2, (40, 90, 190))


def window(picture: np.ndarray, x: float, y: float = 40, size: int = 160) -> np.ndarray:
    return np.ascontiguousarray(picture[int(y) : int(y) + size, int(x) : int(x) + size])


def shots(frames: list[np.ndarray]) -> tuple[Shot, ...]:
    detector = ShotDetector()
    for frame in frames:
        detector.feed(frame)
    return detector.shots()


@pytest.mark.parametrize("cut", [1, 2, 5, 12, 22, 23])
def test_cut_is_found_anywhere(cut: int) -> None:
    frames = [window(FIRST, 2 * i) for i in range(cut)] + [window(SECOND, 2 * i) for i in range(24 - cut)]
    assert shots(frames) == (Shot(0, cut), Shot(cut, 24))


def test_several_cuts() -> None:
    frames = []
    for part in range(4):
        frames += [window((FIRST, SECOND)[part % 2], 60 * part + i, 10 * part) for i in range(15)]
    assert shots(frames) == (Shot(0, 15), Shot(15, 30), Shot(30, 45), Shot(45, 60))


def test_jump_cut_within_a_scene() -> None:
    frames = [window(FIRST, i) for i in range(15)] + [window(FIRST, 250 + i, 180) for i in range(15)]
    assert shots(frames) == (Shot(0, 15), Shot(15, 30))


def test_fast_motion_is_no_cut() -> None:
    frames = [window(FIRST, 14 * i) for i in range(30)]
    assert shots(frames) == (Shot(0, 30),)


def test_sudden_start_of_motion_is_no_cut() -> None:
    frames = [window(FIRST, 5)] * 12 + [window(FIRST, 5 + 18 * i) for i in range(20)]
    assert shots(frames) == (Shot(0, 32),)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_flash_is_no_cut(length: int) -> None:
    frames = [window(FIRST, i) for i in range(30)]
    for i in range(12, 12 + length):
        frames[i] = np.full_like(frames[i], 250)
    assert shots(frames) == (Shot(0, 30),)


def test_exposure_jump_is_no_cut() -> None:
    frames = [window(FIRST, i) for i in range(30)]
    for i in range(15, 30):
        frames[i] = np.clip(frames[i].astype(int) * 1.35 + 10, 0, 255).astype(np.uint8)
    assert shots(frames) == (Shot(0, 30),)


def test_noise_on_a_flat_picture_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    frames = [np.clip(rng.normal(128, 3, (120, 160, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    assert shots(frames) == (Shot(0, 20),)


def test_no_frames_and_one_frame() -> None:
    assert shots([]) == ()
    assert shots([window(FIRST, 0)]) == (Shot(0, 1),)


def test_memory_does_not_grow() -> None:
    detector = ShotDetector()
    for i in range(200):
        detector.feed(window(FIRST, i))
    assert len(detector._looks) < 10 and len(detector._changes) < 20


def test_duplicates() -> None:
    a = window(FIRST, 3)
    b = a.copy()
    assert is_duplicate(a, b)
    b[5, 5, 1] ^= 1  # coding noise
    assert is_duplicate(a, b)
    b[20:26, 20:26] = np.clip(b[20:26, 20:26].astype(int) + 25, 0, 255)  # a blink far away
    assert not is_duplicate(a, b)
    assert not is_duplicate(a, window(FIRST, 4))
    assert not is_duplicate(a, a[:50])


def test_a_scan_finds_cuts_and_repeats_in_one_pass() -> None:
    frames = [window(FIRST, i // 2) for i in range(20)] + [window(SECOND, i) for i in range(12)]
    found, duplicate = scan(iter(frames))
    assert found == (Shot(0, 20), Shot(20, 32))
    np.testing.assert_array_equal(np.flatnonzero(duplicate), np.arange(1, 20, 2))
    assert scan([])[0] == () and scan([])[1].shape == (0,)
