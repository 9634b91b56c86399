import numpy as np
import pytest

from gswap.swap.embedded.neck import JAW_SLOPE, below_jaw
from gswap.swap.embedded.regions import FaceRuler

SIDE = 200
ROLLS = [0.0, 20.0]


def ruler(roll):
    """A face 100 high and 80 wide whose chin is in the middle, its up axis turned by ``roll`` degrees."""
    angle = np.radians(roll)
    return FaceRuler(np.array([100.0, 100.0]), np.array([np.sin(angle), -np.cos(angle)]), 100.0, 80.0)


def measured(r):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    height, lateral = r.measure(np.stack([columns.ravel(), rows.ravel()], 1) + 0.5)
    return height.reshape(SIDE, SIDE), lateral.reshape(SIDE, SIDE)


@pytest.mark.parametrize("roll", ROLLS)
def test_measures_agree_with_the_axes_of_the_ruler(roll):
    height, lateral = measured(ruler(roll))
    up, out = ruler(roll).axes(SIDE, SIDE)
    np.testing.assert_allclose(height, up, atol=1e-5)
    np.testing.assert_allclose(np.abs(lateral), out, atol=1e-5)


@pytest.mark.parametrize("roll", ROLLS)
def test_a_neck_wider_than_the_jaw_comes_out_from_under_it_along_a_slope(roll):
    height, lateral = measured(ruler(roll))
    head = (height > 0) & (np.abs(lateral) < 0.3)
    neck = (height < 0.25) & (np.abs(lateral) < 0.4)
    within = below_jaw(neck, head, ruler(roll))
    top = neck & (np.abs(height - 0.245) < 0.006)
    assert np.abs(lateral[top & within]).max() < 0.31
    full = 0.25 - 0.1 / (JAW_SLOPE * 100 / 80)
    low = neck & (height < full - 0.02)
    assert within[low].all()
    halfway = neck & within & (np.abs(height - (0.25 + full) / 2) < 0.01)
    assert np.abs(lateral[halfway]).max() == pytest.approx(0.35, abs=0.02)


def test_hair_or_a_wider_jaw_leaves_the_neck_alone():
    height, lateral = measured(ruler(0))
    neck = (height < 0.25) & (np.abs(lateral) < 0.4)
    assert below_jaw(neck, (np.abs(lateral) < 0.5), ruler(0))[neck].all()
    assert below_jaw(neck, np.zeros_like(neck), ruler(0))[neck].all()
