"""The plate equals the frame outside the hole, shows what other frames reveal, and does not depend on chance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_person import HEIGHT, WIDTH, draw_person, wall

from gswap.foundation.errors import InternalError
from gswap.foundation.types import Shot, Window
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.hole import head_region, hole_mask, inpaint_mask, within
from gswap.segmentation.plate import PlateBuilder, sample_frames
from gswap.segmentation.registration import Scenery, camera_motion, for_opencv
from gswap.segmentation.texture import continue_texture

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
    filled = continue_texture(image, hole, hole, 160).astype(float)
    smooth = continue_texture(image, hole, np.zeros_like(hole), 160).astype(float)
    assert np.array_equal(filled[~hole], image[~hole])
    assert filled[80:, 50:60].mean() < filled[80:, 100:110].mean() - 15  # the light of its own place
    inside = np.s_[60:100, 60:100]
    assert filled[inside].std() > smooth[inside].std() + 1
    around = np.array([filled[k].mean() for k in (np.s_[50:52, 60:100], np.s_[48:50, 60:100])])
    assert abs(around[0] - around[1]) < 6
