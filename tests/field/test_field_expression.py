from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call

from gswap.field.binding import Binding, bind
from gswap.field.expression import ROOM, VIEW, Expression
from gswap.field.field import Field
from gswap.field.geometry import TrackGeometry
from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.portrait.orbit import repeat_frame

COUNT = 5


@pytest.fixture(scope="module")
def few(surface) -> Binding:
    """Some Gaussians from everywhere."""
    everything = bind(surface, 32)
    index = np.linspace(0, len(everything) - 1, 7).astype(int)
    return Binding(everything.face[index], everything.bary[index], everything.spacing[index])


def sweep(track, model, **changes):
    """Nine frames of the first one, with some actions and the head's rotation replaced."""
    held = repeat_frame(track, 0, 9)
    actions = held.actions.copy()
    rotation = changes.pop("rotation", held.rotation)
    for name, values in changes.items():
        actions[:, model.action_names.index(name)] = values
    return dataclasses.replace(held, actions=actions, rotation=rotation)


@pytest.fixture
def frames(surface, few, track, model):
    return lambda **changes: list(TrackGeometry(surface, few, sweep(track, model, **changes), model, cull=False))


def learned(surface, frames) -> Expression:
    expression = Expression(surface, COUNT)
    expression.learn(frames)
    return expression


def test_one_action_is_one_component_of_unit_spread(surface, frames):
    jaw = np.linspace(0, 0.8, 9)
    posed = frames(jawOpen=jaw)
    numbers = torch.stack([learned(surface, posed)(p) for p in posed]).numpy()
    wanted = (jaw - jaw.mean()) / jaw.std()
    np.testing.assert_allclose(np.abs(numbers[:, 0]), np.abs(wanted), atol=2e-3)
    assert abs(numbers[:, 0] @ wanted) > 8.99, "up to its sign"
    np.testing.assert_allclose(numbers[:, 1:], 0, atol=2e-3)


def test_a_turned_and_moved_head_has_the_same_expression(surface, frames, track, model, few):
    jaw = np.linspace(0, 0.8, 9)
    expression = learned(surface, frames(jawOpen=jaw))
    turned = sweep(track, model, jawOpen=jaw, rotation=np.tile([0.2, 0.4, -0.1], (9, 1)))
    moved = dataclasses.replace(turned, translation=turned.translation + np.array([0.1, -0.05, 0.3]))
    still = [expression(p) for p in frames(jawOpen=jaw)]
    for a, b in zip(still, TrackGeometry(surface, few, moved, model, cull=False), strict=True):
        torch.testing.assert_close(a[:-VIEW], expression(b)[:-VIEW], atol=2e-3, rtol=0)


def test_the_view_is_the_turn_from_the_mean_rotation(surface, frames):
    mean = np.array([0.1, -0.3, 0.05])
    turns = np.linspace(-0.3, 0.3, 9)[:, None] * [0, 1, 0]
    rotation = matrix_to_rotvec(rotvec_to_matrix(mean) @ rotvec_to_matrix(turns))
    posed = frames(rotation=rotation)
    numbers = torch.stack([learned(surface, posed)(p) for p in posed]).numpy()[:, -VIEW:]
    np.testing.assert_allclose(numbers[:, 1], turns[:, 1] / turns[:, 1].std(), atol=1e-3)
    np.testing.assert_allclose(numbers[:, [0, 2]], 0, atol=1e-3)


def test_what_the_clip_never_showed_is_clamped(surface, frames):
    expression = learned(surface, frames(jawOpen=np.linspace(0.2, 0.4, 9)))
    wide, edge = frames(jawOpen=np.full(9, 1.0))[0], frames(jawOpen=np.full(9, 0.4))[0]
    torch.testing.assert_close(expression(wide)[0].abs(), ROOM * expression(edge)[0].abs(), atol=1e-3, rtol=0)


def test_a_turn_far_beyond_the_clips_no_longer_counts(surface, frames):
    turns = np.linspace(-0.1, 0.1, 9)[:, None] * [0, 1, 0]
    expression = learned(surface, frames(rotation=turns))
    on = np.linspace(0, 0.4, 9)[:, None] * [0, 1, 0]
    numbers = torch.stack([expression(posed) for posed in frames(rotation=on)])[:, -2]
    edge = float(expression.high[-2])
    torch.testing.assert_close(numbers[3], torch.tensor(edge), atol=1e-4, rtol=0)  # just outside: as at the edge
    assert 0.1 * edge < float(numbers[5]) < float(numbers[4]) < edge  # it fades
    torch.testing.assert_close(numbers[-2:], torch.zeros(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [1, 9])
def test_a_clip_that_stands_still_says_nothing(surface, frames, count):
    posed = frames()[:count]
    expression = learned(surface, posed)
    torch.testing.assert_close(expression(posed[0]), torch.zeros(COUNT), atol=1e-2, rtol=0)
    assert all(torch.isfinite(buffer).all() for buffer in expression.buffers())


def test_modes_begin_without_effect(surface, few, frames):
    posed = frames(jawOpen=np.linspace(0, 0.8, 9))
    plain, lively = Field(surface, few, 1), Field(surface, few, 1, expressions=COUNT)
    lively.expression.learn(posed)
    for a, b in zip(plain(posed[8]), lively(posed[8]), strict=True):
        torch.testing.assert_close(a, b)


def test_modes_move_vertices_and_features_with_the_expression(surface, few, frames):
    posed = frames(jawOpen=np.linspace(0, 0.8, 9))
    field = Field(surface, few, 1, expressions=COUNT)
    field.expression.learn(posed)
    with torch.no_grad():
        field.delta_modes[0] = torch.tensor([0.01, 0, 0])
        field.feature_modes[0, :, 2] = 0.1
    plain = Field(surface, few, 1)
    number = field.expression(posed[8])[0]
    torch.testing.assert_close(field(posed[8]).features[:, 2], 0.5 + 0.1 * number.expand(7))
    shift = field.moved_vertices(posed[8]) - plain.moved_vertices(posed[8])
    on_skull = torch.from_numpy(surface.upper_anchors)
    torch.testing.assert_close(shift[on_skull], torch.tensor([0.01, 0, 0]).expand(len(on_skull), 3) * number)


def test_gradients_of_the_modes_against_finite_differences(surface, few, frames):
    posed = frames(jawOpen=np.linspace(0, 0.8, 9))
    field = Field(surface, few, 1, expressions=COUNT)
    field.expression.learn(posed)
    field = field.double()
    chosen = type(posed[8])(**{k: v.double() if v.is_floating_point() else v for k, v in vars(posed[8]).items()})
    used = torch.unique(chosen.corners)[:4]
    delta = (0.01 * torch.randn(COUNT, 4, 3, dtype=torch.float64)).requires_grad_()
    features = (0.1 * torch.randn(COUNT, 7, 8, dtype=torch.float64)).requires_grad_()

    def forward(delta, features):
        modes = torch.zeros_like(field.delta_modes).index_copy(1, used, delta)
        return tuple(functional_call(field, {"delta_modes": modes, "feature_modes": features}, (chosen,)))

    assert torch.autograd.gradcheck(forward, (delta, features), check_undefined_grad=False)
