"""The portrait seen from sides that no frame shows, against the outline of its surface."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.field.geometry import TrackGeometry
from gswap.portrait.config import FitConfig
from gswap.portrait.model import build_portrait
from gswap.portrait.orbit import HEAD, framing_camera
from gswap.portrait.outline import hair_zone
from gswap.portrait.sides import HAIR, SKIN, STANDING, Outline, Sides


@pytest.fixture
def fresh(scene):
    """A portrait that lies on its surface, the surface in one frame, and what looks at it from the sides."""
    portrait = build_portrait(scene.model, scene.track, None, 40, FitConfig(texels=40, opacity=0.95))
    posed = TrackGeometry(portrait.surface, portrait.binding, scene.track, scene.model)[1]
    return portrait, posed, Sides(portrait, scene.model, scene.track)


def look(fresh, rasterize, seed: int = 4) -> torch.Tensor:
    return fresh[2].loss(fresh[1], np.random.default_rng(seed), rasterize)


def cost(fresh, rasterize) -> float:
    return look(fresh, rasterize).item()


def test_a_head_on_its_surface_costs_little_and_open_or_flying_ones_much(fresh, rasterize):
    field = fresh[0].network.field
    sound = cost(fresh, rasterize)
    with torch.no_grad():
        field.opacity_logit -= 5
        thin = cost(fresh, rasterize)
        field.opacity_logit += 5
        field.offset[:, 1] = 0.9 * STANDING
        swollen = cost(fresh, rasterize)
    assert thin > sound + 0.1
    assert swollen > sound + 0.01


def test_the_gradient_closes_what_is_open_and_draws_in_what_stands_off(fresh, rasterize):
    field = fresh[0].network.field
    on_face = torch.from_numpy(fresh[0].surface.face_part[fresh[0].binding.face] == 0)
    with torch.no_grad():
        field.opacity_logit -= 2
        field.offset[:, 1] = 0.6 * STANDING
    look(fresh, rasterize).backward()
    assert field.opacity_logit.grad is not None and field.offset.grad is not None
    assert float(field.offset.grad[on_face][:, 1].sum()) > 0  # down the gradient: inwards
    assert float(field.opacity_logit.grad.sum()) < 0  # up
    assert field.features.grad is None  # there is nothing to compare colours with


def test_what_the_pictures_hold_far_off_the_surface_may_stay(fresh, rasterize):
    field = fresh[0].network.field
    with torch.no_grad():
        field.offset[:, 1] = 0.9 * STANDING
        near = cost(fresh, rasterize)
        field.offset[:, 1] = 2 * STANDING
    assert cost(fresh, rasterize) < 0.6 * near


def test_the_side_is_a_function_of_the_seed(fresh, rasterize):
    assert torch.equal(look(fresh, rasterize), look(fresh, rasterize))
    assert not torch.equal(look(fresh, rasterize), look(fresh, rasterize, seed=5))


def test_hair_may_stand_off_farther_than_skin(scene):
    portrait = build_portrait(scene.model, scene.track, None, 20, FitConfig(texels=20))
    surface, side = portrait.surface, 400
    hair = hair_zone(surface, scene.model, scene.track)
    posed = TrackGeometry(surface, portrait.binding, scene.track, scene.model)[0].vertices.double().numpy()
    camera = framing_camera(posed[surface.head_weight > HEAD], side)
    outline = Outline(surface, hair)
    within, beyond = outline.within(posed, camera), outline.beyond(posed, camera)
    assert not (within & beyond).any() and 0.1 < within.mean() < 0.6
    column = int(np.nonzero(within.any(0))[0].mean())
    top = int(np.flatnonzero(within[:, column])[0])
    above = top - int(np.flatnonzero(beyond[:top, column])[-1])
    assert HAIR * side < above < HAIR * side + 8
    bald = Outline(surface, np.zeros(len(hair))).beyond(posed, camera)
    assert SKIN * side < top - int(np.flatnonzero(bald[:top, column])[-1]) < above - 2
