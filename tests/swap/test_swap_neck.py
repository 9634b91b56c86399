import dataclasses

import cv2
import numpy as np
import pytest
from swap_scenes import body_track, render

from gswap.swap.config import SwapConfig
from gswap.swap.embedded.neck import EAR_LOBE, JAW_SLOPE, SPREAD, below_jaw, upright
from gswap.swap.embedded.regions import FaceRuler, Turn
from gswap.swap.embedded.swapper import EmbeddedSwapper

SIDE = 200
ROLLS = [0.0, 20.0]
FRONTAL = Turn(0, 0.0, 0.0, 0.4)


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
    within = below_jaw(neck, head, ruler(roll), FRONTAL)
    top = neck & (np.abs(height - 0.245) < 0.006)
    assert np.abs(lateral[top & within]).max() < 0.31
    full = 0.25 - 0.1 / (JAW_SLOPE * 100 / 80)
    low = neck & (height < full - 0.02)
    assert within[low].all()
    halfway = neck & within & (np.abs(height - (0.25 + full) / 2) < 0.01)
    assert np.abs(lateral[halfway]).max() == pytest.approx(0.35, abs=0.02)


@pytest.mark.parametrize("roll", ROLLS)
def test_above_its_waist_a_neck_goes_straight_up_and_the_old_jaws_sides_go(roll):
    height, lateral = measured(ruler(roll))
    core = (height < 0.05) & (np.abs(lateral) < 0.3 - 0.5 * height)
    jaw = (height >= 0.05) & (height < 0.25) & (np.abs(lateral) < 0.2 + 1.2 * height)
    within, column = upright(core, core | jaw, ruler(roll))
    assert within[core].all()
    waist = 0.27
    limit = waist + SPREAD * 100 / 80 * np.maximum(height, 0)
    assert not within[(height > 0.1) & (np.abs(lateral) > limit + 0.03)].any()
    sure = (height > 0.1) & (height < EAR_LOBE - 0.02)
    assert column[sure & (np.abs(lateral) < waist - 0.03)].all()
    assert not column[(height > EAR_LOBE + 0.02) | (np.abs(lateral) > limit + 0.03) & (height > 0.1)].any()


def test_a_side_of_the_neck_that_is_not_seen_is_left_as_it_is():
    height, lateral = measured(ruler(0))
    core = (height < 0.05) & (lateral > 0) & (lateral < 0.3)
    within, column = upright(core, core, ruler(0))
    assert within[lateral < 0].all() and not column.any()


def test_the_back_of_a_turned_neck_is_let_out_little_by_little():
    height, lateral = measured(ruler(0))
    head = (height > 0) & (np.abs(lateral) < 0.3)
    neck = (height < 0.25) & (np.abs(lateral) < 0.4)
    sizes = [below_jaw(neck, head, ruler(0), Turn(1, amount, 0.0, 0.4))[neck].sum() for amount in (0, 0.03, 0.06, 1)]
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3] < neck.sum()
    assert below_jaw(neck, head, ruler(0), Turn(1, 1.0, 0.0, 0.4))[neck & (lateral > 0)].all()


def test_hair_or_a_wider_jaw_leaves_the_neck_alone():
    height, lateral = measured(ruler(0))
    neck = (height < 0.25) & (np.abs(lateral) < 0.4)
    assert below_jaw(neck, (np.abs(lateral) < 0.5), ruler(0), FRONTAL)[neck].all()
    assert below_jaw(neck, np.zeros_like(neck), ruler(0), FRONTAL)[neck].all()


TURNED = np.radians([50.0, -50.0])


@pytest.fixture(scope="module")
def turned(model):
    """A head turned far to both sides, and the head swapper with photos of somebody else turned nearly as far."""
    still = np.zeros(2)
    clip = render(model, body_track(model, TURNED, still, still))
    shape = model.coefficients(local={"chin-width-incr": -0.2, "nose-scale-horiz-incr": 0.2})
    other = dataclasses.replace(model.neutral_shape(), coefficients=shape)
    track = body_track(model, np.radians([0.0, 42.0, -42.0]), np.zeros(3), np.zeros(3), other)
    photos = render(model, track, skin=(120, 82, 60), backdrop=(60, 160, 80))
    cfg = SwapConfig()
    return clip, EmbeddedSwapper(
        clip.target(), clip.faces, clip.body, photos.photos(), photos.faces, photos.body, model, cfg
    )


@pytest.mark.parametrize("t", [0, 1])
def test_a_turned_head_has_no_gap_between_jaw_and_neck_and_keeps_its_lips(turned, t):
    clip, swapper = turned
    frame = swapper.frame(t)
    was = cv2.erode(np.maximum(clip.head[t], clip.neck[t]), np.ones((9, 9), np.uint8)) > 0
    covered = np.maximum(frame.head, frame.neck)[was] > 128
    assert covered.mean() > 0.97
    lips = np.rint(clip.faces.landmarks[t, [0, 13, 14, 17], :2] - 0.5).astype(int)
    inwards = np.sign(clip.faces.landmarks[t, 234, 0] + clip.faces.landmarks[t, 454, 0] - 2 * lips[:, 0]).astype(int)
    assert (frame.head[lips[:, 1], lips[:, 0] + 4 * inwards] > 200).all()


def test_the_shown_side_of_a_turned_head_is_that_of_its_near_ear(turned):
    clip, _ = turned
    sides = []
    for points in clip.faces.landmarks[:, :, :2]:
        r = FaceRuler.of(points)
        turn = Turn.of(points, r)
        ears = r.measure(points[[234, 454]])[1]
        assert turn.side == np.sign(ears[np.abs(ears).argmax()]) and turn.amount > 0.9
        sides.append(turn.side)
    assert sides[0] == -sides[1]
