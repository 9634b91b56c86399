from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gswap.foundation.store import read_png
from gswap.foundation.types import Render, Window
from gswap.output import layers
from gswap.output.layers import LayerWriter

FRAME = (90, 120)


def smooth(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape).astype(np.uint8)


def make(window: Window, seed: int = 0) -> tuple[Render, np.ndarray]:
    """A render whose layers rebuild it to rounding, edited in a part of the window, and a frame."""
    rng = np.random.default_rng(seed)
    w, h = window.size
    foreground, plate = smooth(rng, h, w, 3), smooth(rng, h, w, 3)
    alpha = smooth(rng, h, w)
    alpha[: h // 3], alpha[h // 3 : h // 2] = 255, 0
    edited = np.full((h, w), 255, np.uint8)
    edited[:, -2:], alpha[:, -2:] = 0, 0
    a = alpha[..., None] / 255
    out = np.rint(a * foreground + (1 - a) * plate).astype(np.uint8)
    return Render(out, alpha, foreground, plate, edited), smooth(rng, *FRAME, 3)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("corner", [(30, 20), (-10, -5), (100, 70)])
def test_a_compositor_rebuilds_the_output(tmp_path: Path, corner: tuple[int, int], scale: float) -> None:
    window = Window(np.array([corner[0]]), np.array([corner[1]]), 48, 40, scale)
    render, frame = make(window)
    rgb = cv2.resize(render.rgb, (48, 40), interpolation=cv2.INTER_CUBIC)
    edited = cv2.resize(render.edited, (48, 40), interpolation=cv2.INTER_NEAREST)
    expected = frame / 255
    for j in range(40):
        for i in range(48):
            y, x = corner[1] + j, corner[0] + i
            if 0 <= y < FRAME[0] and 0 <= x < FRAME[1] and edited[j, i]:
                expected[y, x] = rgb[j, i] / 255

    writer = LayerWriter(tmp_path / "layers", 1, (FRAME[1], FRAME[0]), "job")
    assert 0 not in writer
    writer.write(0, layers.frame_layers(render, frame, window, 0))
    assert 0 in writer
    head = read_png(tmp_path / "layers/head/000000.png")
    matte = read_png(tmp_path / "layers/matte/000000.png")
    plate = read_png(tmp_path / "layers/plate/000000.png")
    assert head.dtype == matte.dtype == plate.dtype == np.uint16
    assert (head[..., 3] == matte).all()
    rgb, alpha = head[..., :3] / 65535, head[..., 3:] / 65535
    rebuilt = rgb * alpha + plate / 65535 * (1 - alpha)
    if scale == 1:
        np.testing.assert_allclose(rebuilt, expected, atol=1 / 255)
    # White noise is the worst there is to enlarge: only where it leaves the range can the layers not follow.
    assert np.quantile(np.abs(rebuilt - expected), 0.97) < 3e-5


def test_outside_the_edit_the_plate_is_the_clip(tmp_path: Path) -> None:
    window = Window(np.array([30]), np.array([20]), 48, 40)
    render, frame = make(window)
    placed = layers.frame_layers(render, frame, window, 0)
    untouched = np.ones(FRAME, bool)
    untouched[20:60, 30:78] = render.edited == 0
    np.testing.assert_array_equal(placed.plate[untouched], (frame / 255).astype(np.float32)[untouched])
    assert not placed.alpha[untouched[: FRAME[0]]].any()


def test_a_scaled_window_is_enlarged_to_its_place() -> None:
    window = Window(np.array([10]), np.array([10]), 60, 60, scale=0.5)
    size = (30, 30)
    gray = np.full((*size, 3), 100, np.uint8)
    solid = np.full(size, 255, np.uint8)
    frame = np.zeros((*FRAME, 3), np.uint8)
    placed = layers.frame_layers(Render(gray, solid, gray, gray, solid), frame, window, 0)
    assert placed.alpha.sum() == 60 * 60
    np.testing.assert_allclose(placed.over()[10:70, 10:70], 100 / 255, atol=1e-6)


def test_frames_without_the_person_are_the_clip(tmp_path: Path) -> None:
    frame = smooth(np.random.default_rng(0), *FRAME, 3)
    writer = LayerWriter(tmp_path, 1, (FRAME[1], FRAME[0]), "job")
    writer.write(0, layers.untouched_layers(frame))
    assert not read_png(tmp_path / "head/000000.png").any()
    assert (read_png(tmp_path / "plate/000000.png") == frame.astype(np.uint16) * 257).all()
    assert "Straight" in (tmp_path / "README.txt").read_text()


def test_layers_of_another_job_do_not_stay(tmp_path: Path) -> None:
    frame = smooth(np.random.default_rng(0), *FRAME, 3)
    for job, count in (("first", 3), ("second", 2)):
        writer = LayerWriter(tmp_path, count, (FRAME[1], FRAME[0]), job)
        assert layers.job_of(tmp_path) == job
        assert not any(t in writer for t in range(3))
        for t in range(count):
            writer.write(t, layers.untouched_layers(frame))
        assert layers.is_complete(tmp_path, count, job)
        (tmp_path / "head" / ".000000.png.1.part").write_bytes(b"a killed run's")
        assert all(t in LayerWriter(tmp_path, count, (FRAME[1], FRAME[0]), job) for t in range(count))
    assert sorted(p.name for p in (tmp_path / "head").iterdir()) == ["000000.png", "000001.png"]
    assert not layers.is_complete(tmp_path, 2, "first") and not layers.is_complete(tmp_path, 3, "second")


def test_it_is_known_whose_layers_lie_in_a_folder(tmp_path: Path) -> None:
    assert layers.job_of(tmp_path) is None and layers.job_of(tmp_path / "nowhere") is None
    (tmp_path / "head").mkdir()
    assert layers.job_of(tmp_path) == ""
    (tmp_path / "README.txt").write_text("somebody else's")
    assert layers.job_of(tmp_path) == ""
