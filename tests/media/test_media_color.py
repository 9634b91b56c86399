"""Planes <-> RGB by the tags, and pasting that leaves every other sample alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from gswap.foundation.errors import InputError
from gswap.foundation.types import ColorTags, VideoInfo
from gswap.media.color import paste, planes_to_rgb, resolve_tags, rgb_to_planes
from gswap.media.layout import PlaneLayout, layout_of

BT709 = ColorTags(1, 1, 1, 1)
FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv440p",
    "yuv411p",
    "yuv420p10le",
    "yuv444p12le",
    "gray",
    "gbrp",
    "gbrp10le",
]


def info_of(pixel_format: str, width: int, height: int, color: ColorTags = BT709) -> VideoInfo:
    return VideoInfo(
        path=Path("clip.mp4"),
        width=width,
        height=height,
        rotation=0,
        frame_count=1,
        pts=(0,),
        durations=(1,),
        time_base=(1, 25),
        frame_rate=(25, 1),
        pixel_format=pixel_format,
        bit_depth=layout_of(pixel_format).bits,
        color=color,
        codec="h264",
        container="mp4",
        has_audio=False,
    )


@pytest.mark.parametrize(
    ("tags", "layout", "yuv", "rgb"),
    [
        # BT.709 75 % colour bars, ITU-R BT.1729: yellow, cyan, green, red (8 bits, limited range).
        (BT709, layout_of("yuv444p"), (168, 44, 136), (191, 191, 0)),
        (BT709, layout_of("yuv444p"), (145, 147, 44), (0, 191, 191)),
        (BT709, layout_of("yuv444p"), (133, 63, 52), (0, 191, 0)),
        (BT709, layout_of("yuv444p"), (51, 109, 212), (191, 0, 0)),
        (ColorTags(6, 6, 6, 1), layout_of("yuv444p"), (81, 90, 240), (255, 0, 0)),
        (ColorTags(6, 6, 6, 1), layout_of("yuv444p"), (41, 240, 110), (0, 0, 255)),
        (ColorTags(9, 14, 9, 1), layout_of("yuv444p10le"), (64, 512, 512), (0, 0, 0)),
        (ColorTags(9, 14, 9, 1), layout_of("yuv444p10le"), (940, 512, 512), (255, 255, 255)),
        (ColorTags(9, 14, 9, 1), layout_of("yuv444p10le"), (294, 387, 960), (255, 0, 0)),
        (ColorTags(1, 1, 1, 2), layout_of("yuv444p"), (255, 128, 128), (255, 255, 255)),
        (ColorTags(5, 1, 5, 2), layout_of("yuvj444p"), (76, 85, 255), (254, 0, 0)),
    ],
)
def test_known_colours(
    tags: ColorTags, layout: PlaneLayout, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    planes = tuple(np.full((2, 2), value, layout.dtype) for value in yuv)
    assert np.abs(planes_to_rgb(planes, layout, tags)[0, 0].astype(int) - rgb).max() <= 2
    back = rgb_to_planes(np.full((2, 2, 3), rgb, np.uint8), layout, tags)
    for plane, value in zip(back, yuv, strict=True):
        assert abs(int(plane[0, 0]) - value) <= 2 << (layout.bits - 8)


def test_unspecified_matrix_is_guessed_by_size_and_primaries() -> None:
    layout = layout_of("yuv420p")
    assert resolve_tags(ColorTags(), layout, 640, 480) == (6, False)
    assert resolve_tags(ColorTags(), layout, 720, 576) == (6, False)
    assert resolve_tags(ColorTags(), layout, 1280, 720) == (1, False)
    assert resolve_tags(ColorTags(), layout, 720, 1280) == (1, False)
    assert resolve_tags(ColorTags(primaries=9), layout, 640, 480) == (9, False)
    assert resolve_tags(ColorTags(range=2), layout, 640, 480) == (6, True)


def test_unusual_matrix_is_refused() -> None:
    with pytest.raises(InputError, match="matrix code 8"):
        resolve_tags(ColorTags(matrix=8), layout_of("yuv420p"), 64, 64)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_unchanged_picture_moves_nothing_by_more_than_rounding(pixel_format: str) -> None:
    layout = layout_of(pixel_format)
    rng = np.random.default_rng(3)
    rgb = rng.integers(60, 196, (33, 45, 3)).astype(np.uint8)
    if layout.family == "gray":
        rgb[:] = rgb[:, :, :1]
    planes = rgb_to_planes(rgb, layout, BT709)
    again = rgb_to_planes(planes_to_rgb(planes, layout, BT709), layout, BT709)
    for a, b in zip(planes, again, strict=True):
        assert np.abs(a.astype(int) - b.astype(int)).max() <= (3 << (layout.bits - 8)) // 2


@settings(max_examples=120, deadline=None)
@given(
    pixel_format=st.sampled_from(FORMATS),
    size=st.tuples(st.integers(5, 23), st.integers(5, 23)),
    patch=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    place=st.tuples(st.integers(-21, 24), st.integers(-21, 24)),
    seed=st.integers(0, 1000),
)
def test_paste_touches_edited_samples_only(
    pixel_format: str, size: tuple[int, int], patch: tuple[int, int], place: tuple[int, int], seed: int
) -> None:
    width, height = size
    x, y = place
    rng = np.random.default_rng(seed)
    info = info_of(pixel_format, width, height)
    layout = layout_of(pixel_format)
    planes = tuple(
        rng.integers(0, layout.maximum + 1, shape).astype(layout.dtype) for shape in layout.shapes(width, height)
    )
    kept = [plane.copy() for plane in planes]
    rgb = rng.integers(0, 256, (patch[1], patch[0], 3)).astype(np.uint8)
    edited = (rng.random((patch[1], patch[0])) < 0.3).astype(np.uint8) * 200
    result = paste(planes, rgb, edited, info, x, y)

    full = np.zeros((height, width), bool)
    for j, i in zip(*np.nonzero(edited), strict=True):
        if 0 <= y + j < height and 0 <= x + i < width:
            full[y + j, x + i] = True
    expected = rgb_to_planes(
        np.pad(rgb, ((30, 60), (30, 60), (0, 0)))[30 - y : 30 - y + height, 30 - x : 30 - x + width],
        PlaneLayout(layout.family, layout.bits),
        BT709,
    )
    for channel, (before, after) in enumerate(zip(kept, result, strict=True)):
        np.testing.assert_array_equal(planes[channel], before)  # the input is not changed
        touched = full
        if before.shape != full.shape:
            touched = np.zeros(before.shape, bool)
            rows, columns = np.nonzero(full)
            touched[rows >> layout.log2_y, columns >> layout.log2_x] = True
        else:
            np.testing.assert_array_equal(after[full], expected[channel][full])
        np.testing.assert_array_equal(after[~touched], before[~touched])


def test_shared_chroma_is_the_mean_of_new_and_old() -> None:
    info = info_of("yuv420p", 4, 4)
    planes = (np.full((4, 4), 100, np.uint8), np.full((2, 2), 80, np.uint8), np.full((2, 2), 200, np.uint8))
    edited = np.zeros((1, 1), np.uint8)
    edited[0, 0] = 255
    grey = np.full((1, 1, 3), 128, np.uint8)  # neutral: chroma 128
    y, u, v = paste(planes, grey, edited, info, 1, 1)
    assert u[0, 0] == round((3 * 80 + 128) / 4) and v[0, 0] == round((3 * 200 + 128) / 4)
    assert (u.ravel()[1:] == 80).all() and (v.ravel()[1:] == 200).all()
    assert y[1, 1] == round(16 + 219 * 128 / 255) and (np.delete(y.ravel(), 5) == 100).all()


def test_float_pictures_keep_more_than_8_bits() -> None:
    info = info_of("yuv444p10le", 64, 2)
    planes = samples("yuv444p10le", 64, 2, 0)
    ramp = np.repeat(np.linspace(100, 108, 64)[None, :, None], 3, axis=2).repeat(2, axis=0).astype(np.float32)
    y, _, _ = paste(planes, ramp, np.full((2, 64), 255, np.uint8), info, 0, 0)
    assert len(np.unique(y)) > 20
