from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

from gswap.field.binding import Binding, bind
from gswap.field.field import Field
from gswap.field.geometry import TrackGeometry
from gswap.field.harmonics import harmonics
from gswap.field.posing import multiply, rotate
from gswap.field.regularise import (
    MOST_GROWTH,
    MOST_THICKNESS,
    MeshLaplacian,
    limit_growth,
    offset_unseen,
    scale_tether,
    squared_norm,
)
from gswap.field.surface import EYE_LEFT, EYE_RIGHT, face_frames
from gswap.foundation.geometry import matrix_to_quaternion, quaternion_to_matrix, rotvec_to_matrix


@pytest.fixture(scope="module")
def few(surface) -> Binding:
    """Some Gaussians from everywhere."""
    everything = bind(surface, 32)
    index = np.linspace(0, len(everything) - 1, 7).astype(int)
    return Binding(everything.face[index], everything.bary[index], everything.spacing[index])


@pytest.fixture
def posed(surface, few, track, model):
    return TrackGeometry(surface, few, track, model, cull=False)[1]


def in_double(posed):
    values = {k: v.double() if v.is_floating_point() else v for k, v in vars(posed).items()}
    return type(posed)(**values)


@pytest.mark.parametrize("temporal", ["none", "add", "mlp"])
def test_gradients_against_finite_differences(surface, few, posed, temporal):
    field = Field(surface, few, 3, temporal=temporal).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    posed = in_double(posed)
    names = ["features", "opacity_logit", "log_scale", "rotation", "offset"]
    values = [getattr(field, name).detach().clone().requires_grad_() for name in names]
    condition = torch.randn(8, generator=generator, dtype=torch.float64).requires_grad_()
    correction = (0.1 * torch.randn(6, generator=generator, dtype=torch.float64)).requires_grad_()

    def forward(condition, correction, *parameters):
        overridden = dict(zip(names, parameters, strict=True))
        return tuple(functional_call(field, overridden, (posed, condition, correction)))

    inputs = (condition, correction, *values)
    assert torch.autograd.gradcheck(forward, inputs, check_undefined_grad=False)


def test_harmonics_are_orthonormal_and_move_no_other_attribute(surface, few, posed):
    points = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    values = harmonics(torch.nn.functional.normalize(points, dim=-1))
    gram = 4 * np.pi * (values.T @ values) / len(points)
    np.testing.assert_allclose(gram, np.eye(8), atol=0.02)
    assert values.mean(0).abs().max() < 5e-3, "each is orthogonal to the constant"
    plain, seen = Field(surface, few, 3), Field(surface, few, 3, appearance="harmonics")
    for name, value in zip(("means", "quats", "scales"), plain(posed)[:3], strict=True):
        torch.testing.assert_close(getattr(seen(posed), name), value)
    torch.testing.assert_close(seen(posed).features, plain(posed).features)


def test_harmonic_colour_turns_with_the_head_not_with_the_camera(surface, few, track, model):
    field = Field(surface, few, 3, appearance="harmonics")
    with torch.no_grad():
        field.harmonics += 0.1 * torch.randn(field.harmonics.shape, generator=torch.Generator().manual_seed(6))
    poses = TrackGeometry(surface, few, track, model, cull=False)
    colours = [field(poses[t]).features for t in (0, 1)]
    assert (colours[0] - colours[1])[:, :3].abs().max() > 1e-3
    assert not colours[0][:, 3:].any()
    turn = torch.from_numpy(rotvec_to_matrix(np.array([0.0, 0.4, 0.0]))).float()
    still = poses[0]
    quat = torch.from_numpy(matrix_to_quaternion(turn.numpy().astype(np.float64))).float().expand(len(few), 4)
    moved = replace(
        still,
        vertices=still.vertices @ turn.T,
        linear=turn @ still.linear,
        quats=multiply(quat, still.quats),
    )
    torch.testing.assert_close(field(moved).features, colours[0], atol=1e-5, rtol=0)


def test_gradient_of_delta_along_a_direction(surface, few, posed):
    field, posed = Field(surface, few, 3).double(), in_double(posed)
    direction = torch.randn(field.delta.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weight = torch.randn(len(few), 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(step: float) -> torch.Tensor:
        return (functional_call(field, {"delta": field.delta + step * direction}, (posed,)).means * weight).sum()

    (gradient,) = torch.autograd.grad(value(0.0), field.delta)
    numeric = (value(1e-4) - value(-1e-4)) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), numeric.detach(), rtol=1e-7, atol=1e-9)


def test_a_correction_turns_the_head_about_its_joint(surface, few, posed):
    field = Field(surface, few, 3)
    row = torch.tensor([0.0, 0.01, 0.0, 0.02, 0.0, 0.0])
    with torch.no_grad():
        before, after = field(posed).means, field(posed, None, row).means
    weight = field.head_weight
    arm = before - posed.pivot
    expected = weight * (torch.linalg.cross(row[:3].expand_as(arm), arm) + row[3:] * 0.1)
    torch.testing.assert_close(after - before, expected, atol=1e-6, rtol=1e-3)
    assert weight.max() > 0.99 and weight.min() < 0.5


def test_eyeballs_keep_their_shape(surface, track, model):
    binding = bind(surface, 32)
    posed = TrackGeometry(surface, binding, track, model, cull=False)[0]
    field = Field(surface, binding, 3)
    with torch.no_grad():
        before = field(posed).means
        field.offset += 0.01
        moved = (field(posed).means - before).norm(dim=1).numpy() > 1e-6
    np.testing.assert_array_equal(moved, ~np.isin(surface.face_part[binding.face], (EYE_LEFT, EYE_RIGHT)))


def test_zero_correction_changes_nothing(surface, few, posed):
    field = Field(surface, few, 3)
    with torch.no_grad():
        for a, b in zip(field(posed), field(posed, None, torch.zeros(6)), strict=True):
            torch.testing.assert_close(a, b)


def test_temporal_condition_starts_neutral(surface, few, posed):
    with torch.no_grad():
        plain = Field(surface, few, 3)(posed).features
        for temporal in ("none", "mlp"):
            conditioned = Field(surface, few, 3, temporal=temporal)(posed, torch.ones(8)).features
            torch.testing.assert_close(conditioned, plain)
        added = Field(surface, few, 3, temporal="add")(posed, torch.ones(8)).features
        torch.testing.assert_close(added, plain + 1)


def test_initial_attributes(surface, few, posed):
    field = Field(surface, few, 3, opacity=0.6)
    with torch.no_grad():
        gaussians = field(posed)
    torch.testing.assert_close(gaussians.opacities, torch.full((7,), 0.6))
    np.testing.assert_allclose(
        gaussians.scales.numpy(), few.spacing[:, None] * [[0.7, 0.25, 0.7]] * posed.stretch.numpy(), rtol=1e-5
    )


def test_quaternions_agree_with_matrices():
    rng = np.random.default_rng(0)
    a, b = (q / np.linalg.norm(q, axis=1, keepdims=True) for q in rng.normal(size=(2, 20, 4)))
    v = rng.normal(size=(20, 3))
    product = multiply(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(
        quaternion_to_matrix(product), quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-12
    )
    turned = rotate(torch.from_numpy(a), torch.from_numpy(v)).numpy()
    np.testing.assert_allclose(turned, (quaternion_to_matrix(a) @ v[..., None])[..., 0], atol=1e-12)


def test_laplacian_is_zero_on_constants_and_the_mean_difference_elsewhere(surface):
    laplacian = MeshLaplacian(surface)
    constant = torch.ones(len(surface.vertices), 3)
    torch.testing.assert_close(laplacian(constant), torch.zeros_like(constant), atol=1e-6, rtol=0)
    values = torch.randn(len(surface.vertices), 1, generator=torch.Generator().manual_seed(0))
    vertex = 100
    neighbours = {int(j) for e in surface.edges for i, j in (e, e[::-1]) if i == vertex}
    expected = values[vertex] - values[sorted(neighbours)].mean(0)
    torch.testing.assert_close(laplacian(values)[vertex], expected)


def test_hair_is_penalised_for_depth_and_skin_for_leaving_the_surface(surface, few):
    field = Field(surface, few, 3)
    rng = np.random.default_rng(0)
    frames, _ = face_frames(surface.vertices, surface.faces[few.face])
    at_rest = rng.normal(size=(len(few), 3))
    with torch.no_grad():
        field.offset.copy_(torch.from_numpy((frames.transpose(0, 2, 1) @ at_rest[..., None])[..., 0]))
        off_skin = (at_rest * frames[:, :, 1]).sum(1)
        assert float(offset_unseen(field)) == pytest.approx(
            (off_skin**2 * field.movable[:, 0].numpy()).mean(), rel=1e-4
        )
        field.hair.fill_(1.0)
        depth = at_rest[:, 2] ** 2 * field.movable[:, 0].numpy()
        assert float(offset_unseen(field)) == pytest.approx(depth.mean(), rel=1e-4)


def test_axes_that_grew_too_long_are_cut_and_the_others_left(surface, few):
    field = Field(surface, few, 3)
    field.hair[::2] = 1.0
    with torch.no_grad():
        field.log_scale += torch.tensor([2.0, 0.5, 0.3])
        limit_growth(field)
    grown = (field.log_scale - field.initial_log_scale).detach().exp()
    torch.testing.assert_close(grown[:, 0], torch.full((len(few),), MOST_GROWTH))
    torch.testing.assert_close(grown[1::2, 1], torch.full((len(grown[1::2]),), MOST_THICKNESS))
    torch.testing.assert_close(grown[::2, 1:].log(), torch.tensor([0.5, 0.3]).expand(len(grown[::2]), 2))


def test_tethers_are_zero_at_the_start(surface, few):
    field = Field(surface, few, 3)
    with torch.no_grad():
        assert float(scale_tether(field)) == 0 == float(squared_norm(field.offset))
        field.log_scale += 1.0
        assert float(scale_tether(field)) == pytest.approx(1.0)
