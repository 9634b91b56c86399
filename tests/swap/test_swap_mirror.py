from __future__ import annotations

import dataclasses

import numpy as np
from swap_scenes import body_track, render

from gswap.foundation.landmarks import CHIN, EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, NOSE_TIP
from gswap.swap.config import SelectConfig, SwapConfig
from gswap.swap.embedded.lift import lift, to_image
from gswap.swap.embedded.mirror import join_people, mirror_people, mirror_photos, mirrored_landmarks
from gswap.swap.embedded.swapper import EmbeddedSwapper


def test_landmarks_have_partners(model):
    partner = mirrored_landmarks(model)
    assert np.array_equal(partner[partner], np.arange(478))
    assert partner[NOSE_TIP] == NOSE_TIP and partner[CHIN] == CHIN
    assert set(partner[list(EYE_RIGHT)]) == set(EYE_LEFT)
    assert partner[IRIS_RIGHT[0]] == IRIS_LEFT[0]


def test_a_mirrored_face_still_projects_onto_its_picture(model, people):
    lifted = lift(people.faces, people.body, model)
    partner = mirrored_landmarks(model)
    flipped = mirror_people(lifted, partner)
    for i in range(3):
        assert np.isclose(np.linalg.det(flipped.rotation[i]), 1)
        pixels, _ = to_image(flipped.local[i], flipped.rotation[i], flipped.translation[i], flipped.cameras[i])
        assert np.abs(pixels - flipped.image[i]).max() < 1e-6
    twice = mirror_people(flipped, partner)
    for field in dataclasses.fields(lifted):
        if isinstance(a := getattr(lifted, field.name), np.ndarray):
            assert np.allclose(a, getattr(twice, field.name))
    both = join_people(lifted, flipped)
    assert len(both.valid) == 6 and len(both.cameras) == 6


def test_mirrored_photos_are_flipped(people):
    photos = people.photos()
    assert np.array_equal(mirror_photos(photos).alpha[1], photos.alpha[1][:, ::-1])


def test_a_head_turned_the_other_way_takes_the_mirrored_photo(model, people):
    target = render(model, body_track(model, np.full(4, 0.45), np.zeros(4), np.zeros(4)))
    photo = render(model, body_track(model, np.full(1, -0.4), np.zeros(1), np.zeros(1), people.body.shape))

    def make(mirror: bool) -> EmbeddedSwapper:
        cfg = SwapConfig(select=SelectConfig(mirror=mirror))
        args = (target.target(), target.faces, target.body, photo.photos(), photo.faces, photo.body, model)
        return EmbeddedSwapper(*args, cfg)

    swapper = make(True)
    choice = swapper.choice(0)
    assert choice["mirrored"] and choice["base"] == 0 and choice["angle"] < 10
    assert swapper.frame(0).confidence[swapper.frame(0).head > 250].mean() > 150
    assert any("turned to the person's" in line for line in swapper.advice())
    plain = make(False).choice(0)
    assert not plain["mirrored"] and plain["angle"] > 30
