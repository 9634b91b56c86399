from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from gswap.foundation.errors import InputError
from gswap.foundation.types import Shot
from gswap.portrait import drive
from gswap.portrait.drive import assemble, render_portrait, smooth_rows


@pytest.fixture(scope="module")
def renders(scene, fitted, rasterize):
    return dict(
        render_portrait(
            fitted[0], scene.target, scene.swap, scene.track, scene.model, rasterize=rasterize, detail=False
        )
    )


def psnr(a, b, mask):
    return -10 * np.log10(((a.astype(float) - b)[mask] ** 2).mean() / 255**2)


def test_the_new_head_is_in_the_picture(scene, renders):
    for t, render in renders.items():
        head = scene.swap.head[t] > 127
        assert psnr(render.rgb, scene.swap.rgb[t], head) > 30


def test_the_target_is_untouched_outside_the_edited_region(scene, renders):
    for t, render in renders.items():
        assert set(np.unique(render.edited)) == {0, 255}
        kept = render.edited == 0
        assert kept.mean() > 0.3
        np.testing.assert_array_equal(render.rgb[kept], scene.target.rgb[t][kept])
        assert (render.alpha[kept] == 0).all()


def test_layers_rebuild_the_picture(renders):
    for render in renders.values():
        alpha = render.alpha[..., None] / 255
        rebuilt = alpha * render.foreground + (1 - alpha) * render.plate
        assert np.abs(rebuilt - render.rgb).max() < 1.01


def test_the_layers_mean_what_they_say(scene, renders):
    render = renders[2]
    solid = scene.swap.head[2] > 250
    assert np.median(render.alpha[solid]) > 250
    below = (render.alpha == 0) & (render.edited > 0)
    assert np.abs(render.plate[below].astype(int) - scene.swap.plate[2][below]).mean() < 4


def test_a_frame_without_the_person_is_passed_through(scene, fitted, rasterize):
    track = dataclasses.replace(scene.track, valid=np.array([1, 0, 1, 1, 1, 1], bool))
    ((t, render),) = render_portrait(
        fitted[0], scene.target, scene.swap, track, scene.model, rasterize=rasterize, frames=[1]
    )
    assert t == 1 and not render.edited.any()
    np.testing.assert_array_equal(render.rgb, scene.target.rgb[1])


def test_a_hand_before_the_face_stays_in_front_of_the_portrait(scene, fitted, rasterize):
    t = 2
    ys, xs = np.nonzero(scene.swap.head[t] > 250)
    hand = np.zeros(scene.target.rgb[t].shape[:2], bool)
    hand[int(np.median(ys)) - 4 : int(np.median(ys)) + 8, int(xs.mean()) - 4 : int(xs.mean()) + 6] = True

    def covered(store, colour):
        images = [np.array(image) for image in store]
        images[t][hand] = colour
        return images

    green = (60, 200, 40)  # as the swapper leaves it: in no matte, and in the plate that the head is put over
    target = dataclasses.replace(
        scene.target,
        rgb=covered(scene.target.rgb, green),
        head=covered(scene.target.head, 0),
        neck=covered(scene.target.neck, 0),
    )
    swap = dataclasses.replace(
        scene.swap,
        rgb=covered(scene.swap.rgb, green),
        head=covered(scene.swap.head, 0),
        neck=covered(scene.swap.neck, 0),
        plate=covered(scene.swap.plate, green),
    )
    ((_, render),) = render_portrait(
        fitted[0], target, swap, scene.track, scene.model, rasterize=rasterize, detail=False, frames=[t]
    )
    inside = cv2.erode(hand.astype(np.uint8), np.ones((7, 7))) > 0  # the gate leaves the new head a rim of 2 pixels
    assert inside.sum() >= 20
    assert np.abs(render.rgb[inside].astype(int) - green).max() < 12
    assert render.alpha[inside].max() < 12
    beside = (scene.swap.head[t] > 250) & (cv2.dilate(hand.astype(np.uint8), np.ones((9, 9))) == 0)
    assert psnr(render.rgb, scene.swap.rgb[t], beside) > 28


def test_a_clip_without_generated_frames_can_be_driven(scene, fitted, rasterize):
    ((_, render),) = render_portrait(
        fitted[0], scene.target, None, scene.track, scene.model, rasterize=rasterize, frames=[3]
    )
    head = scene.swap.head[3] > 250
    assert psnr(render.rgb, scene.swap.rgb[3], head) > 28
    clothes = (scene.target.person[3] > 250) & (scene.swap.head[3] == 0) & (scene.swap.neck[3] == 0)
    assert np.abs(render.rgb[clothes].astype(int) - scene.target.rgb[3][clothes]).mean() < 6


def test_detail_comes_from_the_generated_frame(scene, fitted, rasterize):
    rng = np.random.default_rng(0)
    grain = rng.integers(-6, 7, scene.swap.rgb[2].shape)
    grainy = [np.clip(rgb.astype(int) + grain, 0, 255).astype(np.uint8) for rgb in scene.swap.rgb]
    swap = dataclasses.replace(scene.swap, rgb=grainy)
    arguments = (fitted[0], scene.target, swap, scene.track, scene.model)
    ((_, plain),) = render_portrait(*arguments, rasterize=rasterize, detail=False, frames=[2])
    ((_, detailed),) = render_portrait(*arguments, rasterize=rasterize, detail=True, frames=[2])
    solid = scene.swap.head[2] > 250
    assert psnr(detailed.rgb, grainy[2], solid) > psnr(plain.rgb, grainy[2], solid) + 1
    np.testing.assert_array_equal(detailed.rgb[plain.edited == 0], scene.target.rgb[2][plain.edited == 0])


def test_another_length_or_body_is_refused(scene, fitted, rasterize):
    short = dataclasses.replace(scene.target, rgb=scene.target.rgb[:3])
    with pytest.raises(InputError, match="track of 3 frames"):
        next(render_portrait(fitted[0], short, scene.swap, scene.track, scene.model, rasterize=rasterize))
    other = dataclasses.replace(scene.track, shape=dataclasses.replace(scene.track.shape, model="other"))
    with pytest.raises(InputError, match="body model"):
        next(render_portrait(fitted[0], scene.target, scene.swap, other, scene.model, rasterize=rasterize))


def test_pose_corrections_belong_to_one_track(scene, fitted):
    assert drive.driving_corrections(fitted[0], scene.track, ()) is not None
    other = dataclasses.replace(scene.track, translation=scene.track.translation + 0.01)
    assert drive.driving_corrections(fitted[0], other, ()) is None


def test_frames_that_were_left_out_of_the_fit_are_driven_with_its_corrections(scene, fitted):
    fewer = dataclasses.replace(scene.track, valid=np.array([1, 1, 0, 1, 1, 1], bool))
    np.testing.assert_array_equal(
        drive.driving_corrections(fitted[0], fewer, ()), drive.driving_corrections(fitted[0], scene.track, ())
    )


# ---------------------------------------------------------------- smoothing
def test_smoothing_stops_at_a_cut():
    rows = np.concatenate([np.zeros((10, 2)), np.ones((10, 2))])
    shots = (Shot(0, 10), Shot(10, 20))
    np.testing.assert_allclose(smooth_rows(rows, np.ones(20), shots, 3.0), rows, atol=1e-12)
    assert 0.2 < smooth_rows(rows, np.ones(20), (), 3.0)[9, 0] < 0.5


def test_frames_never_visited_are_filled_from_their_neighbours():
    rows = np.linspace(0, 1, 41)[:, None].repeat(2, 1)
    weights = np.ones(41)
    weights[18:23] = 0
    broken = np.where(weights[:, None] > 0, rows, 99.0)
    np.testing.assert_allclose(smooth_rows(broken, weights, (), 2.0)[10:31], rows[10:31], atol=0.05)
    lone = np.zeros(41)
    lone[3] = 1
    np.testing.assert_allclose(smooth_rows(np.full((41, 1), 0.5), lone, (), 2.0), 0.5, atol=1e-6)
    np.testing.assert_array_equal(smooth_rows(rows, np.zeros(41), (), 2.0), 0)


def test_no_smoothing_returns_the_rows():
    rows = np.random.default_rng(0).normal(size=(7, 6))
    np.testing.assert_array_equal(smooth_rows(rows, np.ones(7), (), 0), rows)


# ---------------------------------------------------------------- layers
def test_assembly_is_exact_for_a_plain_composite():
    hole = np.zeros((80, 80), np.uint8)
    hole[20:60, 20:60] = 255
    rgb, plate = np.full((2, 80, 80, 3), 100, np.uint8)
    plate = np.where(hole[..., None] > 0, np.uint8(40), plate)
    matte = np.zeros((80, 80), np.float32)
    matte[30:50, 30:50] = 1
    straight = np.full((80, 80, 3), 220.0, np.float32)
    image = matte[..., None] * straight + (1 - matte[..., None]) * plate
    render = assemble(rgb, image, plate, hole, matte, straight)
    assert (render.rgb[40, 40] == 220).all() and (render.foreground[40, 40] == 220).all()
    assert (render.rgb[25, 40] == 40).all() and (render.rgb[5, 5] == 100).all()
    np.testing.assert_array_equal(render.plate[5, 5], rgb[5, 5])
