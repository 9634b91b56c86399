"""What runs into a hole on both sides is joined inside, in its own colours and with its own detail."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.imaging import blur, smooth_fill
from gswap.segmentation.texture import _Small, continue_background

SIDE = 200
DARK, LIGHT = (70.0, 40, 35), (130.0, 130, 120)


def two_walls(slope: float, detail: float = 0.0):
    """A dark wall above a light one, out of focus; the edge falls by ``slope``. Only the dark one has ``detail``."""
    y, x = np.mgrid[:SIDE, :SIDE]
    share = 1 / (1 + np.exp(-(y - 70 - slope * (x - SIDE / 2)) / 3.0))[..., None]
    noise = blur(np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32), 1.5)[..., None]
    image = (DARK + detail * noise / noise.std()) * (1 - share) + np.array(LIGHT) * share
    return image.round().clip(0, 255).astype(np.uint8)


def head_shaped_hole():
    """Its top just reaches over the edge."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (x - SIDE / 2) ** 2 / 40**2 + (y - 112) ** 2 / 55**2 < 1


@pytest.mark.parametrize("slope", [0.0, 0.25, -0.25])
def test_an_edge_is_joined_behind_the_hole(slope):
    image, hole = two_walls(slope), head_shaped_hole()
    damaged = np.where(hole[..., None], 0, image).astype(np.uint8)
    error = np.abs(continue_background(damaged, hole, hole, 160).astype(float) - image)[hole].mean()
    smooth = np.abs(smooth_fill(damaged.astype(np.float32), hole) - image)[hole].mean()
    assert error < 3 and error < smooth / 4


def test_without_any_direction_the_fill_is_the_same_on_all_sides():
    y, x = np.mgrid[:SIDE, :SIDE]
    round_ = 60 + 150 * np.exp(-((x - 100) ** 2 + (y - 112) ** 2) / (2 * 70**2))
    image, hole = np.dstack([round_] * 3).astype(np.uint8), head_shaped_hole()
    filled = continue_background(image * ~hole[..., None], hole, hole, 160, textured=False).astype(float)
    assert np.abs(filled - filled[:, ::-1])[:, 1:].max() < 12
    assert filled[hole].min() > image[~hole].min()


def test_detail_comes_from_what_looks_alike():
    """A plain wall beside a rough one stays plain."""
    image, hole = two_walls(0, detail=20), head_shaped_hole()
    below = hole & (np.arange(SIDE)[:, None] > 90)
    filled = continue_background(image * ~hole[..., None], hole, hole, 160).astype(np.float32)
    assert np.abs(filled - blur(filled, 3))[below].mean() < 1
    rough = np.roll(hole, -90, 0) & (np.arange(SIDE)[:, None] < 55)
    filled = continue_background(image * ~rough[..., None], rough, rough, 160).astype(np.float32)
    own = np.abs(image - blur(image.astype(np.float32), 3))[rough].mean()
    assert own / 2 < np.abs(filled - blur(filled, 3))[rough].mean() < 1.5 * own


def test_what_is_known_stays_and_what_nobody_sees_is_smooth():
    image, hole = two_walls(0.1, detail=20), head_shaped_hole()
    filled = continue_background(image, hole, hole, 160)
    assert np.array_equal(filled[~hole], image[~hole])
    unseen = continue_background(image, hole, np.zeros_like(hole), 160)
    assert np.array_equal(unseen[~hole], image[~hole])
    assert np.abs(unseen - smooth_fill(image.astype(np.float32), hole, 4)).max() <= 0.5


def test_hardly_anything_known_gives_a_smooth_fill():
    image, hole = two_walls(0), np.ones((SIDE, SIDE), bool)
    hole[:, :2] = False
    filled = continue_background(image, hole, hole, 160)
    assert np.array_equal(filled[:, :2], image[:, :2]) and filled[:, 2:].min() > 20


def test_a_hole_as_wide_as_the_picture_has_no_pieces():
    image = np.full((40, 40, 3), 90, np.float32)
    hole = np.ones((40, 40), bool)
    hole[:3] = False
    shifts, labels = _Small.of(image, hole, hole, 40).pieces(image)
    assert not shifts and (labels == -1).all()


@pytest.mark.parametrize("width", [1, 2, 30])
@pytest.mark.parametrize("place", [0, 230, None])
def test_a_narrow_hole_is_filled_from_its_long_sides(width, place):
    """Also where it is a sliver along the picture's border."""
    height, across = 700, 500
    place = across - width if place is None else place
    row = (128 + 60 * np.sin(np.arange(height) / 40))[:, None, None]
    image = np.broadcast_to(row, (height, across, 3)).round().astype(np.uint8)
    hole = np.zeros((height, across), bool)
    hole[80:620, place : place + width] = True
    for look, where in ((image, hole), (image.transpose(1, 0, 2), hole.T)):
        damaged = np.where(where[..., None], 0, look).astype(np.uint8)
        filled = continue_background(damaged, np.ascontiguousarray(where), np.ascontiguousarray(where), 160)
        assert np.abs(filled.astype(float) - look)[where].mean() < 4  # from its ends it would be 5 to 14
