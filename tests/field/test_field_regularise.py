"""What holds Gaussians in place where no pixel does."""

from __future__ import annotations

import pytest
import torch

from gswap.field.binding import bind
from gswap.field.field import Field
from gswap.field.regularise import Neighbours, feature_tether, opacity_tether


@pytest.fixture(scope="module")
def binding(surface):
    return bind(surface, 24)


@pytest.fixture
def field(surface, binding) -> Field:
    return Field(surface, binding, 1, opacity=0.6)


def test_tethers_are_zero_where_nothing_has_moved(field):
    assert feature_tether(field).item() == 0
    assert opacity_tether(field).item() == pytest.approx(0, abs=1e-12)


def test_the_less_a_gaussian_shows_the_more_firmly_it_is_held(field):
    with torch.no_grad():
        field.features[0] += 1
        field.opacity_logit[0] += 2
    n = len(field.features)
    assert feature_tether(field).item() == pytest.approx(1 / n, rel=1e-5)
    assert opacity_tether(field).item() == pytest.approx(4 / n, rel=1e-5)
    field.hold[0] = 30
    assert feature_tether(field).item() == pytest.approx(30 / n, rel=1e-5)
    assert opacity_tether(field).item() == pytest.approx(120 / n, rel=1e-5)


def test_a_surface_that_moves_as_one_is_not_rough(field, surface, binding):
    neighbours = Neighbours(surface, binding)
    field.movable.fill_(1)
    shift = torch.tensor([0.01, -0.02, 0.03])
    with torch.no_grad():  # the same shift of everything, written in the frame of every face
        field.offset.copy_((neighbours.frames.transpose(1, 2) @ shift[:, None])[..., 0])
    assert neighbours.roughness(field).item() == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        field.offset[0] += 0.01
    assert neighbours.roughness(field).item() > 1e-8


def test_a_vertex_is_held_as_the_gaussians_around_it(field, surface, binding):
    neighbours = Neighbours(surface, binding)
    torch.testing.assert_close(neighbours.vertex_hold(field), torch.ones(len(surface.vertices), 1))
    field.hold[:] = torch.linspace(1, 30, len(field.hold))[:, None]
    hold = neighbours.vertex_hold(field)[:, 0]
    corner = int(surface.faces[binding.face[-1], 0])
    touching = (surface.faces[binding.face] == corner).any(1)
    assert field.hold[touching].min() - 0.1 <= hold[corner] <= field.hold[touching].max()
    lonely = sorted(set(range(len(surface.vertices))) - set(surface.faces[binding.face].ravel().tolist()))
    torch.testing.assert_close(hold[lonely], torch.ones(len(lonely)))
