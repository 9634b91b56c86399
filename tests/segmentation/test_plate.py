"""The plate equals the frame outside the hole, shows what other frames reveal, and does not depend on chance."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_person import HEIGHT, WIDTH, draw_person, wall

from gswap.foundation.errors import InternalError
from gswap.foundation.types import Shot, Window
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.hole import head_region, hole_mask, inpaint_mask, surroundings, within
from gswap.segmentation.plate import PlateBuilder, _border_step, _continue_clothes, _exposure, sample_frames
from gswap.segmentation.registration import Scenery, camera_motion, for_opencv, resampling, translation
from gswap.segmentation.texture import _box_to_copy_within, continue_background

CFG = PlateConfig(fill_side=48)


def clip(moving_camera: bool, count: int = 14):
    """A head that wanders over a wall, with a fixed or a drifting camera."""
    wide = wall(WIDTH + 80, HEIGHT + 40)
    frames = []
    for t in range(count):
        dx, dy = (30 + 20 * np.sin(0.5 * t), 15 + 6 * np.cos(0.7 * t)) if moving_camera else (20.0, 10.0)
        view = np.array([[1.0, 0, -dx], [0, 1, -dy]])
        background = cv2.warpAffine(wide, view, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        frames.append(draw_person(background, 60 + 80 * t / (count - 1), 90))
    window = Window(np.zeros(count, int), np.zeros(count, int), WIDTH, HEIGHT)
    return frames, window


def build(frames, window):
    builder = PlateBuilder(window, Shot(0, len(frames)), CFG)
    for t in sample_frames(builder.shot, window, CFG):
        builder.observe(t, frames[t].rgb, frames[t].masks, frames[t].landmarks)
    return builder.build()


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-9))


@pytest.mark.parametrize("moving_camera", [False, True])
def test_revealed_background_is_restored(moving_camera):
    frames, window = clip(moving_camera)
    plate = build(frames, window)
    assert plate.fixed is not moving_camera
    errors = []
    for t in (0, 5, 13):
        frame = frames[t]
        hole = hole_mask(frame.masks, frame.landmarks, CFG)
        out = plate.plate(t, frame.rgb, frame.masks, frame.landmarks)
        assert np.array_equal(out[~hole], frame.rgb[~hole])
        _, seen = plate.behind(t, frame.rgb, ~within(hole | (frame.masks.person > 50), 6))
        torso = within(head_region(frame.masks, frame.landmarks, CFG).clothes, 12)
        inner = within(~hole, 3)
        revealed = hole & seen & ~torso & ~inner & (np.arange(HEIGHT)[:, None] < 110)
        assert revealed.sum() > 500
        errors.append(psnr(out[revealed], frame.clean[revealed]))
    assert min(errors) >= 28


def test_frames_between_the_samples_are_registered():
    frames, window = clip(True)
    builder = PlateBuilder(window, Shot(0, len(frames)), CFG)
    for t in range(0, len(frames), 2):
        builder.observe(t, frames[t].rgb, frames[t].masks, frames[t].landmarks)
    plate = builder.build()
    frame = frames[7]
    background = ~within(hole_mask(frame.masks, frame.landmarks, CFG) | (frame.masks.person > 50), 6)
    colour, seen = plate.behind(7, frame.rgb, background)
    assert psnr(colour[seen & background], frame.clean[seen & background]) >= 30


def test_the_same_input_gives_the_same_bytes():
    frames, window = clip(True, 6)
    one, two = (build(frames, window).plate(3, frames[3].rgb, frames[3].masks, frames[3].landmarks) for _ in range(2))
    assert np.array_equal(one, two)


def test_the_old_head_is_gone_and_the_shirt_stays():
    frames, window = clip(False)
    frame = frames[3]
    out = build(frames, window).plate(3, frame.rgb, frame.masks, frame.landmarks)
    skin = np.abs(out.astype(int) - (210, 160, 140)).max(-1) < 6
    assert skin[frame.masks.head > 200].mean() < 0.05
    shirt = (frame.masks.person == 255) & (frame.masks.head == 0) & (frame.masks.neck == 0)
    assert (out[shirt] == frame.rgb[shirt]).all(1).mean() > 0.97


def test_never_seen_background_does_not_flicker():
    frames, window = clip(False)
    still = [draw_person(f.clean, 100, 90) for f in frames[:4]]
    plate = build(still, Window(window.x[:4], window.y[:4], WIDTH, HEIGHT))
    images = [plate.plate(t, f.rgb, f.masks, f.landmarks) for t, f in enumerate(still)]
    assert all(np.array_equal(images[0], image) for image in images[1:])


def filled_by(frame, head_too: bool = False):
    """The frame, its person as large as the image: nothing of a background is seen."""
    everywhere = np.full_like(frame.masks.person, 255)
    return replace(frame, masks=replace(frame.masks, person=everywhere, **({"head": everywhere} if head_too else {})))


@pytest.mark.parametrize("inpaint", [None, lambda image, mask: np.zeros_like(image)])
def test_a_person_who_fills_every_frame_leaves_the_colours_around_the_hole(inpaint):
    green = np.full((HEIGHT, WIDTH, 3), (90, 140, 60), np.uint8)
    frame = filled_by(draw_person(green, 100, 90))
    builder = PlateBuilder(Window(np.zeros(2, int), np.zeros(2, int), WIDTH, HEIGHT), Shot(0, 2), CFG)
    for t in range(2):
        builder.observe(t, frame.rgb, frame.masks, frame.landmarks)
    plate = builder.build(inpaint)
    hole = hole_mask(frame.masks, frame.landmarks, CFG)
    out = plate.plate(1, frame.rgb, frame.masks, frame.landmarks)
    assert not plate.seen.any() and np.array_equal(out[~hole], frame.rgb[~hole])
    above_collar = hole & (np.arange(HEIGHT)[:, None] < 100)
    assert above_collar.sum() > 3000 and np.abs(out[above_collar] - np.array((90.0, 140, 60))).max() < 30
    assert out[hole].max(1).min() > 60


def test_a_hole_as_large_as_the_frames_has_their_mean_colour():
    frame = filled_by(clip(False, 2)[0][0], head_too=True)
    assert hole_mask(frame.masks, frame.landmarks, CFG).all()
    canvas = build([frame, frame], Window(np.zeros(2, int), np.zeros(2, int), WIDTH, HEIGHT)).canvas
    assert np.abs(canvas - frame.rgb.mean((0, 1))).max() <= 0.5


def test_samples_fit_into_the_memory():
    window = Window(np.zeros(500, int), np.zeros(500, int), 1024, 1024)
    some = sample_frames(Shot(100, 400), window, PlateConfig(memory_mb=40))
    assert len(some) == 10 and some[0] == 100 and some[-1] == 399
    assert sample_frames(Shot(3, 4), window, CFG) == [3]
    with pytest.raises(InternalError):
        PlateBuilder(window, Shot(0, 1), CFG).build()


def test_the_inpainting_mask_holds_both_heads_and_the_hole():
    frame = clip(False, 2)[0][0]
    new_head = np.roll(frame.masks.head, 25, 1)
    mask = inpaint_mask(new_head, frame.masks, frame.landmarks, CFG)
    inside = mask == 255
    assert set(np.unique(mask)) == {0, 255}
    assert inside[(new_head > 20) | (frame.masks.head > 20) | (frame.masks.neck > 20)].all()
    assert inside[hole_mask(frame.masks, frame.landmarks, CFG)].all()
    assert not inside[-20:].any()


def test_a_known_camera_motion_is_found():
    image = wall(300, 260, seed=3)
    angle, zoom = np.radians(1.5), 1.03
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    true = np.array([[c, -s, 6.0], [s, c, -9.0]])
    moved = cv2.warpAffine(image, for_opencv(true), (300, 260), flags=cv2.INTER_CUBIC)
    everywhere = np.ones(image.shape[:2], bool)
    found = camera_motion(Scenery.of(image, everywhere), Scenery.of(moved, everywhere))
    corners = np.array([[40.0, 40], [260, 40], [40, 220], [260, 220]])
    assert found is not None
    assert np.abs(corners @ (found - true)[:, :2].T + (found - true)[:, 2]).max() < 0.1
    flat = np.full_like(image, 90)
    assert camera_motion(Scenery.of(flat, everywhere), Scenery.of(flat, everywhere)) is None


def test_noise_at_the_border_does_not_flicker_and_light_is_followed():
    frames, window = clip(False)
    plate = build(frames, window)
    frame = frames[3]
    rng = np.random.default_rng(0)
    hole = hole_mask(frame.masks, frame.landmarks, CFG)
    inner = ~within(~hole, 3)

    def made(change):
        rgb = (frame.rgb + change).round().clip(0, 255).astype(np.uint8)
        return plate.plate(3, rgb, frame.masks, frame.landmarks)[inner & (np.arange(HEIGHT)[:, None] < 90)].astype(
            float
        )

    one, two = (made(rng.normal(0, 3, frame.rgb.shape)) for _ in range(2))
    assert np.abs(one - two).mean() < 0.3  # the surroundings' is 3.4
    assert np.mean(made(9) - made(0)) == pytest.approx(9, abs=0.5)


def test_a_fill_is_smooth_and_keeps_the_texture_of_what_is_around():
    image = wall(160, 160)
    ramp = np.linspace(-60, 60, 160)[None, :, None]
    image = (0.3 * (image.astype(float) - 120) + 120 + ramp).clip(0, 255).astype(np.uint8)
    hole = np.zeros((160, 160), bool)
    hole[50:110, 50:110] = True
    filled = continue_background(image, hole, hole, 160).astype(float)
    smooth = continue_background(image, hole, hole, 160, textured=False).astype(float)
    assert np.array_equal(filled[~hole], image[~hole])
    assert filled[80:, 50:60].mean() < filled[80:, 100:110].mean() - 15  # the light of its own place
    inside = np.s_[60:100, 60:100]
    assert filled[inside].std() > smooth[inside].std() + 1
    around = np.array([filled[k].mean() for k in (np.s_[50:52, 60:100], np.s_[48:50, 60:100])])
    assert abs(around[0] - around[1]) < 6


def test_surroundings_end_with_the_image():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 50:58] = True
    assert np.array_equal(np.argwhere(mask) - (6, 46), np.argwhere(mask[surroundings(mask, 3.2)]))
    inside = np.zeros_like(mask)
    inside[surroundings(mask, 3.2)] = True
    assert np.array_equal(np.flatnonzero(inside.any(1))[[0, -1]], [6, 23])
    assert np.array_equal(np.flatnonzero(inside.any(0))[[0, -1]], [46, 59])
    assert mask[surroundings(np.zeros_like(mask), 3)].shape == (3, 3)


def test_the_hole_holds_the_head_and_stays_near_it():
    """In the middle and at the image's corners; without a head, and with the face elsewhere, there is none."""
    for x, y in ((100, 90), (10, 30), (190, 220)):
        frame = draw_person(wall(WIDTH, HEIGHT), x, y)
        region = head_region(frame.masks, frame.landmarks, CFG)
        core = (frame.masks.head > 30) | (frame.masks.neck > 30)
        assert region.hole[core].all() and not region.hole[~within(core | region.clothes, 0.6 * region.unit)].any()
    nobody = [np.zeros_like(frame.masks.head)] * 3
    away = frame.landmarks + np.array([1000.0, 0, 0])
    region = head_region(type(frame.masks)(*nobody), away, CFG)
    assert not region.hole.any() and not region.clothes.any()


def test_whole_pixels_are_copied_and_it_is_the_same():
    image = wall(61, 47)
    turned = translation(3, 2)
    turned[0, 1] = 1e-9
    assert resampling(translation(3, -2), cv2.INTER_CUBIC) == cv2.INTER_NEAREST
    for other in (translation(3.5, -2), turned, 2 * translation(3, 2)):
        assert resampling(other, cv2.INTER_CUBIC) == cv2.INTER_CUBIC
    for flags in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
        for border in (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT):
            for inverse in (0, cv2.WARP_INVERSE_MAP):
                move = for_opencv(translation(5, -3))
                one, two = (
                    cv2.warpAffine(image, move, (50, 50), flags=f | inverse, borderMode=border)
                    for f in (flags, resampling(move, flags))
                )
                assert np.array_equal(one, two)


def test_the_step_along_the_border_is_continued_without_noise_and_without_the_exposure():
    behind = np.full((60, 80, 3), 100, np.uint8)
    exposure = np.array([4, 0, -3], np.float32)
    border = np.zeros((60, 80), bool)
    border[12:48, 12:68] = True
    border[20:40, 20:60] = False
    for step, expected in ((0, 0.0), (1, 0.0), (7, 5.5), (-7, -5.5)):
        rgb = (behind + exposure + step).astype(np.uint8)
        rgb[~border] = 255  # what is elsewhere does not count
        assert np.abs(_border_step(rgb, behind, exposure, border)[20:40, 20:60] - expected).max() < 0.1
    assert not _border_step(behind, behind, exposure, np.zeros_like(border)).any()


def test_the_exposure_is_that_of_the_background():
    rng = np.random.default_rng(0)
    behind = rng.integers(60, 180, (60, 80, 3), np.uint8)
    rgb = (behind + np.array([5, -2, 0])).astype(np.uint8)
    rgb[:12] = 255  # a lamp that was off
    background = np.ones((60, 80), bool)
    background[20:50, 30:60] = False
    rgb[~background] = 0
    assert _exposure(rgb, behind, background) == pytest.approx([5, -2, 0], abs=0.01)
    assert not _exposure(rgb, behind, np.zeros_like(background)).any()


def test_clothes_are_continued_in_their_own_colours():
    """Also in the middle of a wide hole, where no cell of a coarse picture holds anything of them."""
    rgb = np.full((90, 200, 3), (20, 200, 60), np.uint8)
    clothes = np.zeros((90, 200), bool)
    clothes[50:] = True
    rgb[clothes] = (40, 60, 150)
    hole = np.zeros_like(clothes)
    hole[:80, 20:180] = True
    needed = hole & clothes
    rgb[hole] = (180, 140, 120)
    out = _continue_clothes(rgb, clothes, hole, needed)
    assert np.abs(out[needed] - (40, 60, 150)).max() < 1
    nothing = _continue_clothes(rgb, np.zeros_like(clothes), hole, needed)
    assert np.array_equal(nothing, rgb)


def test_detail_is_copied_from_what_is_mostly_known():
    hole = np.zeros((100, 120), bool)
    hole[40:60, 50:80] = True
    assert _box_to_copy_within(hole, hole) == (slice(30, 70), slice(35, 95))
    unknown = hole.copy()
    unknown[60:, :] = True  # a torso that no frame shows the background of
    rows, columns = _box_to_copy_within(hole, unknown)
    assert rows == slice(30, 60) and columns == slice(35, 95)
    assert _box_to_copy_within(hole, np.ones_like(hole)) == (slice(40, 60), slice(50, 80))
    corner = np.roll(hole, (-40, -50), (0, 1))
    assert _box_to_copy_within(corner, corner) == (slice(0, 30), slice(0, 45))
