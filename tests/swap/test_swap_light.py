"""Light and colour: photos without colour, a hard light from one side, the target's skin at the collar."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gswap.foundation.landmarks import LIPS_INNER, LIPS_OUTER
from gswap.foundation.types import Camera
from gswap.swap.config import RelightConfig
from gswap.swap.embedded.colouring import chroma, coloured, is_colourless, skin_chroma
from gswap.swap.embedded.neck import recolour_rim
from gswap.swap.embedded.photos import ReadyPhoto
from gswap.swap.embedded.regions import LOG_FLOOR, luminance, mean_log, skin_mask
from gswap.swap.embedded.relight import (
    Complexion,
    adopted_gain,
    common_complexion,
    for_light,
    light_hardness,
    measure_complexion,
    relight,
    shading,
)
from gswap.swap.embedded.swapper import EmbeddedSwapper

GREY = (0.299, 0.587, 0.114)


def grey(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def ready(scene, i: int, rgb: np.ndarray) -> ReadyPhoto:
    points = scene.faces.landmarks[i][:, :2]
    h, w = rgb.shape[:2]
    return ReadyPhoto(rgb, scene.head[i], points, Camera(600.0, w / 2, h / 2, w, h), float(np.ptp(points[:468, 0])))


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.85, 0.6)])
def test_grey_and_sepia_have_no_colours_of_their_own(clip, people, tint):
    for scene in (clip, people):
        head = scene.head[0] > 200
        one_hue = np.round(grey(scene.rgb[0]) * np.array(tint)).astype(np.uint8)
        assert is_colourless(one_hue, head)
        assert not is_colourless(scene.rgb[0], head)
    assert not is_colourless(clip.rgb[0], np.zeros(clip.rgb[0].shape[:2], bool))


@pytest.mark.parametrize("source", ["clip", "people"])
def test_a_grey_photo_takes_the_scenes_skin_and_keeps_its_own_lightness(clip, people, source):
    scene = {"clip": clip, "people": people}[source]
    target = measure_complexion(clip.rgb[0], clip.faces.landmarks[0][:, :2])
    photo = ready(scene, 0, grey(scene.rgb[0]))
    (out,), count, guess = coloured([photo], target)
    assert count == 1 and guess
    skin = skin_mask(photo.points, *photo.alpha.shape)
    light = [luminance(p.foreground.astype(np.float32))[skin] for p in (photo, out)]
    assert np.abs(light[0] - light[1]).max() < 3
    wanted = chroma(mean_log(scene.rgb[0], skin))
    found = chroma(mean_log(out.foreground, skin))
    assert np.abs(found - wanted).max() < 0.4 * np.abs(wanted).max()


def test_lips_of_a_grey_photo_differ_from_the_skin_as_the_targets_do(clip):
    points = clip.faces.landmarks[0][:, :2]
    target = measure_complexion(clip.rgb[0], points)
    redder = replace(target, lips=target.skin + np.array([0.0, -0.3, -0.2]))
    (out,), _, _ = coloured([ready(clip, 0, grey(clip.rgb[0]))], redder)
    h, w = out.alpha.shape
    lips = np.zeros((h, w), np.uint8)
    cv2.fillPoly(lips, [np.round(points[list(LIPS_OUTER)]).astype(np.int32)], (1.0,))
    cv2.fillPoly(lips, [np.round(points[list(LIPS_INNER)]).astype(np.int32)], (0.0,))
    away = chroma(mean_log(out.foreground, cv2.erode(lips, np.ones((3, 3))) > 0))
    away -= chroma(mean_log(out.foreground, skin_mask(points, h, w)))
    assert away[0] > 0.04 and away[1] < 0


def test_a_photo_in_colour_tells_the_colour_of_the_others(people):
    photos = [ready(people, 0, people.rgb[0]), ready(people, 1, grey(people.rgb[1]))]
    green = Complexion(np.log([60.0, 120.0, 60.0]), None, np.log([60.0, 120.0, 60.0]))
    out, count, guess = coloured(photos, green)
    assert count == 1 and not guess
    assert out[0] is photos[0]
    skin = skin_mask(photos[1].points, *photos[1].alpha.shape)
    wanted = chroma(mean_log(people.rgb[1], skin))
    assert np.abs(chroma(mean_log(out[1].foreground, skin)) - wanted).max() < 0.06


def test_in_a_grey_clip_a_grey_photo_stays_grey(clip, people):
    target = measure_complexion(grey(clip.rgb[0]), clip.faces.landmarks[0][:, :2])
    (out,), _, _ = coloured([ready(people, 0, grey(people.rgb[0]))], target)
    assert np.ptp(out.foreground.astype(int), axis=2).max() <= 3


@pytest.mark.parametrize("light_known", [True, False])
def test_darker_skin_is_warmer_only_where_it_is_not_the_light(light_known):
    skin = np.log(np.array([190.0, 150.0, 130.0]))
    known = Complexion(skin, np.log([220.0, 215.0, 210.0]) if light_known else None, skin)
    level, white = float(np.log(luminance(np.exp(skin)))), known.eye_white
    same = skin_chroma(level - 0.7, None if white is None else white - 0.7, known)  # a dim photo of such skin
    np.testing.assert_allclose(same, chroma(skin), atol=1e-9)
    darker = skin_chroma(level - 0.7, white, known)
    assert (darker[0] > same[0] + 0.05 and darker[2] < same[2] - 0.05) == light_known


def test_grey_photos_are_coloured_in_a_clip_and_the_report_says_so(model, clip, people):
    plain = replace(people, rgb=[grey(rgb) for rgb in people.rgb])
    swapper = EmbeddedSwapper(clip.target(), clip.faces, clip.body, plain.photos(), plain.faces, plain.body, model)
    assert any("in colour" in line and "guess" in line for line in swapper.advice())
    frame = swapper.frame(0)
    face = skin_mask(swapper.plan.frames.image[0], *frame.head.shape) & (frame.head > 250)
    assert chroma(mean_log(frame.rgb, face))[0] > 0.08


YELLOW = np.array([1.12, 1.0, 0.8])


def test_a_cast_that_the_eyes_show_goes_and_a_complexion_stays(clip):
    cfg, points = RelightConfig(), clip.faces.landmarks[0][:, :2]
    target = measure_complexion(clip.rgb[0], points)
    yellowed = measure_complexion(np.round(clip.rgb[0] * YELLOW).clip(0, 255).astype(np.uint8), points)
    cast = np.log(YELLOW) - np.log(YELLOW).mean()
    gain = adopted_gain(target, yellowed, cfg)
    assert np.abs(gain - gain.mean() + cfg.tint_of_light * cast).max() < 0.03
    of_another = replace(target, skin=target.skin + np.log(YELLOW))  # the same light on other skin
    gain = adopted_gain(target, of_another, cfg)
    np.testing.assert_allclose(gain - gain.mean(), -cfg.tint * cast, atol=1e-6)
    unknown = adopted_gain(target, replace(yellowed, white=None), cfg)
    np.testing.assert_allclose(unknown - unknown.mean(), -cfg.tint * cast, atol=0.02)


def test_one_picture_with_open_eyes_tells_the_light_of_all():
    skin, white = np.log([190.0, 150.0, 130.0]), np.log([220.0, 200.0, 150.0])
    shut = Complexion(skin, None, skin)
    together = common_complexion([shut, replace(shut, white=white), shut])
    np.testing.assert_allclose(together.white, white)
    np.testing.assert_allclose(together.skin, skin)
    assert common_complexion([shut]).white is None


def side_lit(rgb: np.ndarray, points: np.ndarray, depth: float) -> np.ndarray:
    """One half of a face in shadow."""
    x = (np.arange(rgb.shape[1]) - points[1, 0]) / np.ptp(points[:468, 0])
    return np.clip(rgb * np.exp(-depth / (1 + np.exp(12 * x)))[None, :, None], 0, 255).astype(np.uint8)


def test_light_is_hard_where_a_face_is_half_in_shadow(clip):
    cfg, points = RelightConfig(), clip.faces.landmarks[0][:, :2]
    assert light_hardness([(clip.rgb[0], points)], cfg) < 0.2
    assert light_hardness([(side_lit(clip.rgb[0], points, 1.2), points)], cfg) == 1
    assert light_hardness([], cfg) == 0
    assert for_light(cfg, 0) == cfg


def test_a_hard_shadow_darkens_its_side_and_leaves_the_other(clip):
    points = clip.faces.landmarks[0][:, :2]
    rgb, lit = clip.rgb[0].astype(np.float32), side_lit(clip.rgb[0], points, 1.2).astype(np.float32)
    skin = skin_mask(points, *rgb.shape[:2])
    width = float(np.ptp(points[:468, 0]))
    cfg = for_light(RelightConfig(), 1)
    away = shading(lit, skin, width, cfg) - shading(rgb, skin, width, cfg)
    out = relight(rgb, np.zeros(3), away, skin.astype(np.float32), width, cfg)
    change = luminance(out + LOG_FLOOR) / luminance(rgb + LOG_FLOOR)
    columns = np.arange(rgb.shape[1])[None] - points[1, 0]
    assert np.median(change[skin & (columns < -0.25 * width)]) < 0.5
    assert 0.8 < np.median(change[skin & (columns > 0.25 * width)]) < 1.25


def test_what_is_left_of_the_skin_at_the_collar_changes_with_the_neck():
    skin, cloth, gain = np.array([200.0, 160.0, 140.0]), np.array([40.0, 90.0, 60.0]), np.log([0.4, 0.4, 0.4])
    rows = np.arange(80)
    share = np.clip((44 - rows) / 4, 0, 1)[:, None, None]  # skin ends in a soft edge at row 40 to 44
    image = (share * skin + (1 - share) * cloth) * np.ones((1, 60, 1))
    neck = np.repeat(np.clip((38 - rows) / 2, 0, 1)[:, None], 60, 1).astype(np.float32)  # its mask ends before
    torso = np.repeat((rows > 44).astype(np.float32)[:, None], 60, 1)
    out = recolour_rim(image.astype(np.float32), neck, torso, gain, 100.0)
    new = (skin + LOG_FLOOR) * np.exp(gain) - LOG_FLOOR
    wanted = (share * new + (1 - share) * cloth) * np.ones((1, 60, 1))
    inside = slice(38, 46)
    assert np.abs(out[inside, 10:50] - wanted[inside, 10:50]).max() < 12
    np.testing.assert_allclose(out[54:], image[54:], atol=0.6)
    unchanged = recolour_rim(image.astype(np.float32), neck, torso, np.zeros(3), 100.0)
    np.testing.assert_allclose(unchanged, image, atol=0.6)
