from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from gswap.foundation.errors import UsageError
from gswap.output.config import LabelConfig, LabelPosition
from gswap.output.label import Label, PlaneLayout

SIZE = (480, 270)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance in [0, 1] (WCAG 2)."""
    linear = np.where(rgb <= 10, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("position", ["top-right", "top-left", "bottom-right", "bottom-left"])
@pytest.mark.parametrize("gray", [0, 128, 255])
def test_readable_on_any_background_and_nothing_else_changes(position: LabelPosition, gray: int) -> None:
    label = Label(SIZE, LabelConfig(position=position))
    frame = np.full((SIZE[1], SIZE[0], 3), gray, np.uint8)
    out = label.apply(frame)
    x, y, w, h = label.box
    assert 0 <= x and x + w <= SIZE[0] and 0 <= y and y + h <= SIZE[1]
    assert (x > SIZE[0] / 2) == position.endswith("right") and (y > SIZE[1] / 2) == position.startswith("bottom")
    inside = luma(out[y : y + h, x : x + w].astype(float))
    contrast = (inside.max() + 0.05) / (np.median(inside) + 0.05)
    assert contrast > 7, "WCAG AAA"
    out[y : y + h, x : x + w] = gray
    assert (out == gray).all()


def test_capitals_are_at_least_three_percent_high() -> None:
    label = Label((1920, 1080))
    x, y, w, h = label.box
    letters = label.apply(np.zeros((1080, 1920, 3), np.uint8))[y : y + h, x : x + w, 0] > 128
    rows = np.flatnonzero(letters.any(1))
    assert rows[-1] - rows[0] + 1 >= 0.03 * 1080


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("size", [SIZE, (131, 97)])
def test_planes_keep_their_bits_outside_the_box(
    bit_depth: int, subsampling: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    sx, sy = subsampling
    shapes = [size[::-1]] + [(-(-size[1] // sy), -(-size[0] // sx))] * 2
    planes = [rng.integers(0, 1 << bit_depth, shape).astype(dtype) for shape in shapes]
    label = Label(size)
    x, y, w, h = label.box
    marked = label.apply_planes(planes, PlaneLayout(bit_depth))
    for before, after, (kx, ky) in zip(planes, marked, [(1, 1), (sx, sy), (sx, sy)], strict=True):
        assert after.dtype == before.dtype
        assert (after != before).any()
        box = np.zeros(before.shape, bool)
        box[y // ky : (y + h) // ky, x // kx : (x + w) // kx] = True
        assert (after[~box] == before[~box]).all()


def test_plane_values_are_the_formats_black_and_white() -> None:
    label = Label(SIZE)
    x, y, w, h = label.box
    planes = [np.full((270, 480), 940, np.uint16), *[np.full((135, 240), 900, np.uint16)] * 2]
    luma_plane, chroma, _ = label.apply_planes(planes, PlaneLayout(10))
    box = luma_plane[y : y + h, x : x + w]
    assert box.max() == 940 and 64 < box.min() < 300
    letters = np.unravel_index(box.argmax(), box.shape)
    assert abs(int(chroma[(y + letters[0]) // 2, (x + letters[1]) // 2]) - 512) < 100
    (full,) = label.apply_planes([np.zeros((270, 480), np.uint8)], PlaneLayout(8, full_range=True))
    assert full.max() == 255 and full.min() == 0
    (red, _, _) = label.apply_planes([np.zeros((270, 480), np.uint8)] * 3, PlaneLayout(8, is_rgb=True))
    assert red.max() == 255
    (*_, alpha) = label.apply_planes([np.zeros((270, 480), np.uint8)] * 4, PlaneLayout(8, is_rgb=True))
    assert alpha.max() == 255, "the label stays visible over transparency"


def test_at_the_start_or_throughout() -> None:
    assert Label(SIZE).shown_at(1e6)
    label = Label(SIZE, LabelConfig(seconds=3))
    assert label.shown_at(2.9) and not label.shown_at(3.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LabelConfig(size=0.01), "expected 0.03 to 0.2"),
        (LabelConfig(size=0.5), "expected 0.03 to 0.2"),
        (LabelConfig(text="edited"), 'capitals "AI"'),
        (LabelConfig(position="middle"), "expected top-right"),  # type: ignore[arg-type]
    ],
)
def test_what_would_not_disclose_is_refused(config: LabelConfig, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Label(SIZE, config)


@pytest.mark.parametrize("size", [(40, 40), (32, 200), (200, 12)])
def test_a_picture_too_small_for_a_readable_label_is_refused_at_once(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        Label(size)


@pytest.mark.parametrize("position", get_args(LabelPosition))
@pytest.mark.parametrize("size", [(56, 56), (64, 64), (64, 114), (96, 54), (270, 480), (1080, 1920), (131, 97)])
@pytest.mark.parametrize("share", [0.03, 0.032, 0.1, 0.2])
def test_it_is_whole_at_every_size_of_picture_and_label(
    position: LabelPosition, size: tuple[int, int], share: float
) -> None:
    label = Label(size, LabelConfig(position, share))
    x, y, w, h = label.box
    assert x >= 0 and y >= 0 and x + w <= size[0] and y + h <= size[1]
    out = label.apply(np.zeros((size[1], size[0], 3), np.uint8))[y : y + h, x : x + w, 0]
    bright = np.argwhere(out > 128)
    assert len(bright) > 60, "there are letters"
    low, high = bright.min(0), bright.max(0)
    assert (low >= 2).all() and (high < np.array(out.shape) - 2).all(), "none is cut off"


def test_a_larger_size_gives_larger_letters() -> None:
    small, large = (Label((640, 360), LabelConfig(size=share)).box for share in (0.03, 0.06))
    assert large[2] > 1.5 * small[2] and large[3] > 1.5 * small[3]
    assert Label((640, 360), LabelConfig("bottom-left", 0.06)).box[1] > 180
