from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from gswap.foundation.types import Camera
from gswap.swap.embedded.lift import Lifted
from gswap.swap.embedded.outline import FEWEST_PHOTOS, LEAK, Head, Reach, leakage, usual_reach, without_leaks
from gswap.swap.embedded.photos import ReadyPhoto

SIDE, FOCAL, FAR, RADIUS = 240, 480.0, 1.0, 0.1
CENTRE = np.array([120.5, 130.5])
SKULL_PIXELS = FOCAL * RADIUS / FAR


def skull() -> Head:
    """A flat ring of vertices: its outline is a circle."""
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    ring = RADIUS * np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], 1)
    return Head(ring, np.zeros((0, 3), np.int32), np.zeros(3))


def people(count: int) -> Lifted:
    camera = Camera(FOCAL, *CENTRE, SIDE, SIDE)
    empty = np.zeros((count, 478, 3))
    return Lifted(
        image=empty[..., :2],
        local=empty,
        expression=empty,
        strength=np.zeros(count),
        rotation=np.tile(np.eye(3), (count, 1, 1)),
        translation=np.tile([0.0, 0.0, FAR], (count, 1)),
        cameras=(camera,) * count,
        valid=np.ones(count, bool),
    )


def photo(radius: float, tower: bool = False) -> ReadyPhoto:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(alpha, tuple(int(c) for c in CENTRE), round(radius), 255, -1)
    if tower:
        alpha[20:120, 105:135] = 255
    colours = np.full((SIDE, SIDE, 3), 90, np.uint8)
    return ReadyPhoto(colours, alpha, np.zeros((478, 2)), Camera(FOCAL, *CENTRE, SIDE, SIDE), 60.0)


def measured(photos: list[ReadyPhoto]) -> list[Reach]:
    return Reach.of_all(skull(), people(len(photos)), photos)


def test_reach_of_a_round_head():
    reach = Reach.of(skull(), people(1), 0, photo(1.3 * SKULL_PIXELS))
    assert reach.skull == pytest.approx(SKULL_PIXELS, rel=1e-3)
    assert reach.ratio == pytest.approx(1.3, rel=0.04)


def test_what_one_photo_alone_shows_above_the_head_is_cut():
    photos = [photo(1.2 * SKULL_PIXELS, tower=i == 2) for i in range(5)]
    usual = usual_reach(measured(photos), np.zeros(5, bool))
    clean = without_leaks(photos, measured(photos), usual)
    assert leakage(measured(photos), usual).argmax() == 2
    assert (leakage(measured(photos), usual) > 0).sum() == 1
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    far = np.hypot(x - CENTRE[0], y - CENTRE[1])
    beyond = (far > 1.2 * 1.04 * LEAK[1] * SKULL_PIXELS) & (y < CENTRE[1])
    assert (photos[2].alpha[beyond] == 255).sum() > 500 and not clean[2].alpha[beyond].any()
    inside = far < 1.15 * SKULL_PIXELS
    assert (clean[2].alpha[inside] == 255).all()
    assert all(np.array_equal(a.alpha, b.alpha) for i, (a, b) in enumerate(zip(clean, photos, strict=True)) if i != 2)


def test_hair_that_every_photo_shows_stays():
    photos = [photo(1.2 * SKULL_PIXELS, tower=True) for _ in range(4)]
    usual = usual_reach(measured(photos), np.zeros(4, bool))
    assert not leakage(measured(photos), usual).any()
    assert all(np.array_equal(a.alpha, photos[0].alpha) for a in without_leaks(photos, measured(photos), usual))


def test_hair_below_the_ears_falls_as_it_likes():
    hanging = photo(1.2 * SKULL_PIXELS)
    alpha = hanging.alpha.copy()
    alpha[130:230, 40:80] = 255
    photos = [photo(1.2 * SKULL_PIXELS) for _ in range(4)] + [dataclasses.replace(hanging, alpha=alpha)]
    usual = usual_reach(measured(photos), np.zeros(5, bool))
    assert np.array_equal(without_leaks(photos, measured(photos), usual)[4].alpha, alpha)


def test_few_photos_are_not_doubted():
    photos = [photo(1.2 * SKULL_PIXELS, tower=True) for _ in range(FEWEST_PHOTOS - 1)]
    assert usual_reach(measured(photos), np.zeros(len(photos), bool)) is None
    assert without_leaks(photos, measured(photos), None) == photos
    assert not leakage(measured(photos), None).any()


def test_a_mirrored_picture_is_held_against_the_mirrored_outline():
    lopsided = photo(1.2 * SKULL_PIXELS)
    alpha = lopsided.alpha.copy()
    alpha[40:120, 60:100] = 255
    photos = [dataclasses.replace(lopsided, alpha=alpha)] * 3
    plain, turned = usual_reach(measured(photos), np.array([False, True]))
    flipped = dataclasses.replace(lopsided, alpha=np.ascontiguousarray(alpha[:, ::-1]))
    seen = people(1)
    camera = dataclasses.replace(seen.cameras[0], cx=SIDE - CENTRE[0])
    ratio = Reach.of(
        skull(), dataclasses.replace(seen, cameras=(camera,)), 0, dataclasses.replace(flipped, camera=camera)
    ).ratio
    np.testing.assert_allclose(turned, ratio, rtol=0.06)
    assert np.abs(plain - turned).max() > 0.3
