"""The camera is followed before walls out of focus too, without drift, and never before plain ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.foundation.imaging import blur
from gswap.segmentation.registration import Scenery, camera_motion, for_opencv, refined_motion, translation

SHAPE = (360, 400)


def moved(image, motion):
    return cv2.warpAffine(image, for_opencv(motion), image.shape[1::-1], flags=cv2.INTER_CUBIC)


def blurred_wall(sigma: float, contrast: float = 12.0):
    """Smooth blotches of some levels: a wall out of focus."""
    noise = blur(np.random.default_rng(0).normal(0, 1, (500, 540)).astype(np.float32), sigma)
    return np.dstack([100 + contrast * noise / noise.std()] * 3)


def film(image, motion, seed: int, noise: float = 2.0):
    """What a camera sees after a motion, with its sensor's noise."""
    view = moved(image, motion)[60 : 60 + SHAPE[0], 60 : 60 + SHAPE[1]]
    view = view + np.random.default_rng(seed).normal(0, noise, view.shape)
    return view.round().clip(0, 255).astype(np.uint8)


def distance(a, b):
    """Largest distance between where two motions take the picture's corners, pixels."""
    corners = np.array([[0.0, 0], [SHAPE[1], 0], [0, SHAPE[0]], [SHAPE[1], SHAPE[0]]])
    return np.linalg.norm(corners @ (a - b)[:, :2].T + (a - b)[:, 2], axis=1).max()


def similarity(degrees: float, zoom: float, x: float, y: float):
    c, s = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    turned = np.array([[c, -s, 0.0], [s, c, 0.0]])
    turned[:, 2] = np.array([x + 200, y + 180]) - turned[:, :2] @ (200, 180)
    return turned


@pytest.mark.parametrize(("sigma", "contrast", "noise"), [(3, 12, 2), (12, 3.6, 8)])
def test_a_pan_before_a_blurred_wall_is_followed(sigma, contrast, noise):
    """Far out of focus and noisy, hardly a point of the full images comes back to where it was."""
    wall, true = blurred_wall(sigma, contrast), translation(14, -6)
    images = (film(wall, motion, k, noise) for k, motion in enumerate((translation(0, 0), true)))
    here, there = (Scenery.of(image, np.ones(SHAPE, bool)) for image in images)
    found = camera_motion(here, there)
    assert found is not None and distance(found, true) < 1


def test_a_motion_is_refined_past_people():
    wall = blurred_wall(4)
    true = similarity(1.0, 1.01, 5, -3)
    outer = similarity(1.0, 1.01, 5, -3)
    outer[:, 2] += np.array([60, 60]) - outer[:, :2] @ (60, 60)
    one, two = film(wall, translation(0, 0), 1), film(wall, outer, 2)
    people = []
    for image, x in ((one, 120), (two, 170)):
        image[120:, x : x + 140] = 230
        seen = np.ones(SHAPE, bool)
        seen[115:, x - 5 : x + 145] = False
        people.append(seen)
    here, there = Scenery.of(one, people[0]), Scenery.of(two, people[1])
    rough = true + np.array([[0, 0, 4.0], [0, 0, 3.0]])
    assert distance(rough, true) > 4 and distance(refined_motion(here, there, rough), true) < 0.5


def test_light_that_changes_does_not_move_the_camera():
    wall = blurred_wall(4)
    everywhere = np.ones(SHAPE, bool)
    here = Scenery.of(film(wall, translation(0, 0), 1), everywhere)
    there = Scenery.of(film(wall + 9, translation(0, 0), 2), everywhere)
    assert distance(refined_motion(here, there, translation(2, 1)), translation(0, 0)) < 0.5


def test_a_plain_wall_does_not_move():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.dstack([120 + 0.1 * x + 0.05 * y] * 3)
    images = [(light + np.random.default_rng(k).normal(0, 1, light.shape)).astype(np.uint8) for k in range(2)]
    here, there = (Scenery.of(image, np.ones(SHAPE, bool)) for image in images)
    assert here.plain and np.array_equal(refined_motion(here, there, translation(3, 2)), translation(3, 2))
    assert camera_motion(here, there) is None
    assert Scenery.of(images[0], np.zeros(SHAPE, bool)).plain


def test_without_a_common_background_a_motion_stays():
    image = film(blurred_wall(4), translation(0, 0), 1)
    left = np.zeros(SHAPE, bool)
    left[:, :100] = True
    here, there = Scenery.of(image, left), Scenery.of(image, left[:, ::-1].copy())
    assert np.array_equal(refined_motion(here, there, translation(1, 1)), translation(1, 1))
