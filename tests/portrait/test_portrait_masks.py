from __future__ import annotations

import numpy as np
import pytest

from gswap.portrait import masks


@pytest.fixture
def square():
    """A head of 20 x 20 pixels in the middle of a 100 x 100 image."""
    head = np.zeros((100, 100), np.uint8)
    head[40:60, 40:60] = 255
    return head


@pytest.fixture
def pictures():
    rgb = np.full((100, 100, 3), 90, np.uint8)
    return {"rgb": rgb, "plate": rgb.copy()}


def test_inpaint_mask_holds_every_matte_and_a_margin(square, pictures):
    other = np.roll(square, 10, axis=1)
    hole = masks.inpaint_mask(square, other, **pictures)
    assert set(np.unique(hole)) == {0, 255}
    assert (hole[(square > 0) | (other > 0)] == 255).all()
    assert hole[50, 38] == 255 and hole[50, 36] == 0  # the margin is 0.021 * 100 pixels
    assert hole[50, 71] == 255 and hole[50, 73] == 0


def test_inpaint_mask_holds_what_the_plate_replaced(square, pictures):
    pictures["plate"][10, 10] += 50
    pictures["plate"][90, 90] += 3  # rounding
    hole = masks.inpaint_mask(square, **pictures)
    assert hole[10, 10] == 255 and hole[90, 90] == 0


def test_feather_is_one_inside_and_exactly_zero_outside(square, pictures):
    hole = masks.inpaint_mask(square, **pictures)
    weight = masks.feather(hole)
    assert (weight[hole == 0] == 0).all()
    assert weight[50, 50] == pytest.approx(1)
    assert 0 < weight[50, 38] < 1


def test_the_gate_follows_the_neck_at_the_collar_and_lets_hair_lie_on_clothes():
    hole = np.full((60, 60), 255, np.uint8)
    body = np.zeros((60, 60), np.float32)
    body[30:] = 1
    head, neck = np.zeros((2, 60, 60), np.uint8)
    head[:40, 5:10] = 255  # long hair over the shoulder
    neck[:35, 30:40] = np.uint8(128)
    gate = masks.head_gate(hole, body, head, neck)
    assert (gate[:30] == 1).all()
    assert gate[38, 7] == 1 and gate[39, 11] == 1  # hair, and two pixels beside it
    assert gate[34, 35] == pytest.approx(128 / 255)  # neck: its own matte
    assert gate[50, 35] == 0  # clothes
    assert (masks.head_gate(np.zeros_like(hole), body, head, neck) == 0).all()


def test_weights():
    matte = np.array([[0, 100, 255]], np.uint8)
    np.testing.assert_array_equal(masks.mask_weight(np.ones((1, 3)), matte), [[0, 0, 1]])
    np.testing.assert_array_equal(masks.mask_weight(np.zeros((1, 3)), matte), [[1, 1, 1]])
    unsure = masks.pixel_weight(matte, np.zeros((1, 3), np.uint8), 0.25)
    np.testing.assert_allclose(unsure, [[1, 1 - 0.75 * 100 / 255, 0.25]])
    np.testing.assert_allclose(masks.pixel_weight(matte, np.full((1, 3), 255, np.uint8), 0.25), 1)


def test_torso_is_the_person_without_head_and_neck():
    person, head, neck = (np.array([[v, w]], np.uint8) for v, w in ((255, 255), (255, 0), (0, 0)))
    np.testing.assert_allclose(masks.torso(person, head, neck), [[0, 1]])


def test_union_does_not_wrap_around():
    a = np.array([[200]], np.uint8)
    assert masks.union_matte(a, a)[0, 0] == 255
