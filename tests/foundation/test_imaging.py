"""Shared image operations on known answers."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation import imaging


def test_polygon_is_where_its_points_are():
    mask = imaging.fill_polygon(np.array([[2.0, 2], [10, 2], [10, 8], [2, 8]]), 12, 14)
    assert abs(mask.sum() - 48) < 4
    assert mask[5, 5] == 1 and mask[0, 0] == 0
    ys, xs = np.nonzero(mask > 0)
    centre = np.average(xs + 0.5, weights=mask[ys, xs]), np.average(ys + 0.5, weights=mask[ys, xs])
    assert np.allclose(centre, (6, 5), atol=0.1)
    assert not imaging.fill_polygon(np.array([[20.0, 20], [30, 20], [30, 30]]), 12, 14).any()
    assert imaging.fill_polygon(np.array([[-9.0, -9], [40, -9], [40, 40], [-9, 40]]), 12, 14).all()


def test_smooth_fill_keeps_the_outside_and_continues_a_constant():
    image = np.full((40, 40, 3), 90, np.float32)
    hole = np.zeros((40, 40), bool)
    hole[10:30, 12:28] = True
    spoiled = image.copy()
    spoiled[hole] = 0
    filled = imaging.smooth_fill(spoiled, hole)
    assert np.array_equal(filled[~hole], image[~hole])
    assert np.abs(filled - 90).max() < 1


def test_smooth_fill_reaches_across_a_whole_empty_half():
    image = np.full((40, 40, 3), 90, np.float32)
    hole = np.zeros((40, 40), bool)
    hole[:, 8:] = True
    assert np.abs(imaging.smooth_fill(image, hole, smoothing=4, coarsest=1) - 90).max() < 1


@pytest.mark.parametrize(("known", "coarsest"), [(np.s_[:, :8], 1), (np.s_[:, :8], 3), (np.s_[:1], 3)])
def test_smooth_fill_is_never_black_far_from_what_is_known(known, coarsest):
    """In a long strip, and in the middle of a ring, cells of a small top are all hole."""
    for shape in ((8, 64), (64, 8), (96, 96)):
        hole = np.ones(shape, bool)
        hole[known] = False
        assert np.abs(imaging.smooth_fill(np.full((*shape, 3), 90, np.float32), hole, 4, coarsest) - 90).max() < 1
    hole = np.pad(np.ones((76, 76), bool), 10)
    assert np.abs(imaging.smooth_fill(np.full((96, 96, 3), 90, np.float32), hole) - 90).max() < 1


def test_smooth_fill_of_nothing_known_is_black():
    assert not imaging.smooth_fill(np.full((9, 20, 3), 90, np.float32), np.ones((9, 20), bool)).any()


def test_a_wide_blur_is_the_blur():
    image = np.zeros((90, 120, 2), np.float32)
    image[30:60, 40:80] = 1, 2
    for sigma in (0.0, 1.0, 3.9, 4.0, 9.0, 20.0):
        soft = imaging.blur_wide(image, sigma)
        assert soft.shape == image.shape and np.abs(soft - imaging.blur(image, sigma)).max() < 0.1
    for shape in ((1, 1), (1, 40), (7, 90), (33, 65)):
        flat = np.full(shape, 0.3, np.float32)
        assert np.abs(imaging.blur_wide(flat, 17.0) - 0.3).max() < 1e-6


def test_a_wide_blur_is_as_wide_as_asked_for():
    image = np.zeros((401, 401), np.float32)
    image[200, 200] = 1
    places = np.arange(401) - 200
    for sigma in (4.0, 7.3, 15.0, 30.0):
        across = imaging.blur_wide(image, sigma).sum(0)
        assert np.sqrt((across * places**2).sum() / across.sum()) == pytest.approx(sigma, rel=0.05)


def test_polygons_are_painted_as_one_area():
    square = np.array([[2.0, 2], [10, 2], [10, 8], [2, 8]])
    other = square + np.array([4, 0])
    both = imaging.fill_polygons([square, other], 12, 20)
    parts = (imaging.fill_polygon(one, 12, 20) for one in (square, other))
    assert np.allclose(both, np.maximum(*parts), atol=1e-6)
    beyond = imaging.fill_polygons([square, square + 100], 12, 20)
    assert np.array_equal(beyond > 0.3, imaging.fill_polygon(square, 12, 20) > 0.3)
    assert not imaging.fill_polygons([square + 50, square - 50], 12, 20).any()


def test_multiband_blend_at_the_extremes():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    ones = np.ones((32, 32), np.float32)
    assert np.allclose(imaging.blend_multiband(a, b, ones), b, atol=1e-3)
    assert np.allclose(imaging.blend_multiband(a, b, 0 * ones), a, atol=1e-3)


def test_over_is_linear_in_alpha():
    red, blue = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    red[..., 0], blue[..., 2] = 1, 1
    assert np.allclose(imaging.over(red, np.full((2, 2), 0.25, np.float32), blue), [0.25, 0, 0.75])


def test_largest_component():
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = True
    mask[4:8, 4:8] = True
    assert imaging.largest_component(mask).sum() == 16
    assert not imaging.largest_component(np.zeros((3, 3), bool)).any()
