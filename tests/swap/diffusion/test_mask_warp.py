"""The mask warp by five points, M_inp, and the square that the generator sees."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.swap.framing import Framing, frame_head
from gswap.swap.mask_warp import FIVE_POINTS, Reenactment, apply, five_point_warp, inpaint_area, place, vote

TURN = 0.3
MATRIX = np.array([[1.3 * np.cos(TURN), -1.3 * np.sin(TURN), 20.0], [1.3 * np.sin(TURN), 1.3 * np.cos(TURN), -15.0]])


def ellipse(x, y, rx, ry, size=200):
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    return (((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1).astype(np.uint8) * 255


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(60, 140, (478, 2))


def test_five_points_meet(points):
    """A similarity is recovered exactly; five points that are not similar meet in the least-squares sense."""
    warp = five_point_warp(points, apply(MATRIX, points))
    assert np.allclose(warp, MATRIX)
    noisy = apply(MATRIX, points) + np.random.default_rng(1).normal(0, 0.3, points.shape)
    error = apply(five_point_warp(points, noisy), points)[list(FIVE_POINTS)] - noisy[list(FIVE_POINTS)]
    assert np.abs(error).max() < 0.6
    assert np.abs(error.mean(0)).max() < 1e-9


def test_a_reenactment_is_moved_onto_the_target(points):
    head = ellipse(100, 100, 30, 40)
    rgb = np.repeat(head[..., None], 3, 2)
    placed = place(Reenactment(rgb, head, points), apply(MATRIX, points), 200, 200)
    x, y = apply(MATRIX, np.array([[100.0, 100.0]]))[0]
    rows, columns = np.nonzero(placed.head > 127)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.1)
    assert (placed.head > 127).sum() == pytest.approx(1.3**2 * (head > 127).sum(), rel=0.01)
    assert np.allclose(placed.landmarks, apply(MATRIX, points))


def test_a_mask_that_differs_from_its_neighbours_is_outvoted(points):
    good, bad = ellipse(100, 100, 30, 40), ellipse(100, 100, 60, 70)
    moved = [points + np.array([4.0 * k, 0]) for k in (-2, -1, 0, 1, 2)]
    heads = [np.roll(good, 4 * k, 1) for k in (-2, -1)] + [bad] + [np.roll(good, 4 * k, 1) for k in (1, 2)]
    assert np.array_equal(vote(heads, moved, 2), good > 127)


def test_the_area_covers_both_heads_and_the_neck_but_no_clothes():
    old, new = ellipse(100, 80, 25, 35), ellipse(100, 75, 40, 30)
    neck = np.zeros((200, 200), np.uint8)
    neck[110:135, 88:112] = 255
    cloth = np.zeros((200, 200), np.uint8)
    cloth[118:] = 255
    cloth[neck > 0] = 0
    person = np.maximum(np.maximum(old, neck), cloth)
    area = inpaint_area(new > 127, old, neck, person, 6)
    assert area[(old > 127) | (new > 127) | (neck > 127)].all()
    assert not area[cloth > 127].any()
    assert area[75, 143] and not area[75, 150], "six pixels of room"
    hand = person.copy()
    hand[90:100, 130:140] = 255
    assert not inpaint_area(old > 127, old, neck, hand, 6)[90:100, 130:140].any(), "what is beside the head stays"


def test_pictures_of_a_head_are_framed_alike(points):
    points[CHIN], points[FOREHEAD_TOP] = (100, 130), (100, 70)
    short, long = ellipse(100, 95, 30, 38), ellipse(100, 95, 30, 38)
    long[120:190, 75:125] = 255
    framing = frame_head(short, points, 1.7)
    assert (framing.x, framing.y) == pytest.approx((100, 95), abs=0.6)
    assert framing.side == pytest.approx(1.7 * 76, rel=0.02)
    assert frame_head(long, points, 1.7).side == pytest.approx(framing.side, rel=0.08), "long hair does not shrink it"
    with pytest.raises(InputError, match="empty"):
        frame_head(np.zeros_like(short), points, 1.7)


def test_a_picture_returns_to_its_place():
    y, x = np.mgrid[:120, :140] / 20
    image = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1) * 100 + 127
    image = image.astype(np.uint8)
    framing = Framing(70.3, 61.7, 96.4)
    back = framing.put_back(framing.cut(image, 256), 140, 120)
    inside = np.s_[20:105, 28:112]
    assert np.abs(back[inside].astype(int) - image[inside]).max() <= 3
    points = np.array([[70.3, 61.7], [70.3 - 48.2, 61.7 - 48.2]])
    assert np.allclose(framing.to_picture(points, 256), [[128, 128], [0, 0]])


def test_a_square_grows_until_the_mask_is_inside():
    mask = ellipse(120, 100, 70, 50)
    grown = Framing(100, 100, 60).grown_to(mask, 0.05)
    inside = grown.cut(mask, 200)
    assert not inside[:8].any() and not inside[:, -8:].any() and not inside[:, :8].any()
    assert Framing(100, 100, 500).grown_to(mask, 0.05).side == 500
