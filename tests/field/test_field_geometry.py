from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gswap.field.binding import bind
from gswap.field.field import Field, Gaussians
from gswap.field.geometry import TrackGeometry, extend_mesh, turned_surface
from gswap.foundation.geometry import matrix_to_rotvec, quaternion_to_matrix, rotvec_to_matrix


@pytest.fixture(scope="module")
def binding(surface):
    return bind(surface, 48)


@pytest.fixture
def field(surface, binding) -> Field:
    """A field whose every parameter is off its initial value."""
    field = Field(surface, binding, 3, temporal="mlp")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, size in (("offset", 0.003), ("delta", 0.004), ("rotation", 0.3), ("log_scale", 0.2)):
            parameter = getattr(field, name)
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return field


def gaussians_of(field, surface, binding, track, model, t) -> Gaussians:
    geometry = TrackGeometry(surface, binding, track, model, cull=False)
    with torch.no_grad():
        return field(geometry[t])


def moved(track, rotation, translation):
    """The same motion, seen after moving everything rigidly."""
    turned = matrix_to_rotvec(rotation @ rotvec_to_matrix(track.rotation))
    return dataclasses.replace(track, rotation=turned, translation=track.translation @ rotation.T + translation)


@pytest.mark.parametrize("t", [0, 1, 2])
def test_gaussians_move_rigidly_with_the_body(field, surface, binding, track, model, t):
    rotation, translation = rotvec_to_matrix(np.array([0.3, -0.4, 0.2])), np.array([0.1, -0.05, 0.2])
    before = gaussians_of(field, surface, binding, track, model, t)
    after = gaussians_of(field, surface, binding, moved(track, rotation, translation), model, t)
    np.testing.assert_allclose(after.means.numpy(), before.means.numpy() @ rotation.T + translation, atol=2e-6)
    turned = rotation @ quaternion_to_matrix(before.quats.numpy())
    np.testing.assert_allclose(quaternion_to_matrix(after.quats.numpy()), turned, atol=2e-4)
    np.testing.assert_allclose(after.scales.numpy(), before.scales.numpy(), rtol=2e-3)
    np.testing.assert_array_equal(after.features.numpy(), before.features.numpy())


@pytest.mark.parametrize("t", [0, 1, 2])
def test_delta_is_skinned_like_an_offset_of_the_shape(surface, binding, track, model, t):
    """dM before skinning is the same as a free offset of the rest body."""
    rng = np.random.default_rng(t)
    offsets = np.zeros_like(track.shape.offsets)
    offsets[surface.body_vertices] = rng.normal(size=(len(surface.body_vertices), 3)) * 0.003
    field = Field(surface, binding, 3)
    on_body = torch.from_numpy(binding.face) < (surface.face_part < 4).sum()
    plain = TrackGeometry(surface, binding, track, model, cull=False)[t]
    with torch.no_grad():
        field.delta[: len(surface.body_vertices)] = torch.from_numpy(offsets[surface.body_vertices]).float()
        learned = field(plain).means
    shaped = dataclasses.replace(track, shape=dataclasses.replace(track.shape, offsets=offsets))
    mesh = model.pose(shaped, model.rest(shaped.shape), t)
    corners = mesh.vertices[surface.body_vertices][surface.faces[binding.face[on_body]]]
    expected = (corners * binding.bary[on_body][..., None]).sum(1)
    np.testing.assert_allclose(learned[on_body].numpy(), expected, atol=2e-5)


def test_gaussian_without_offsets_lies_on_its_triangle(surface, binding, track, model):
    gaussians = gaussians_of(Field(surface, binding, 3), surface, binding, track, model, 1)
    vertices, _ = extend_mesh(surface, model.pose(track, model.rest(track.shape), 1))
    expected = (vertices[surface.faces[binding.face]] * binding.bary[..., None]).sum(1)
    np.testing.assert_allclose(gaussians.means.numpy(), expected, atol=1e-6)


def test_teeth_are_rigid_and_the_lower_ones_follow_the_jaw(surface, track, model):
    rest = model.rest(track.shape)
    closed, _ = extend_mesh(surface, model.pose(track, rest, 0))
    opened, _ = extend_mesh(
        surface,
        model.pose(
            dataclasses.replace(track, rotation=0 * track.rotation, translation=track.translation[[0, 0, 0]]), rest, 1
        ),
    )
    upper = slice(surface.teeth_start, surface.lower_teeth_start)
    lower = slice(surface.lower_teeth_start, len(surface.vertices))
    for teeth in (upper, lower):
        spread = np.linalg.norm(closed[teeth] - closed[teeth][0], axis=1)
        np.testing.assert_allclose(np.linalg.norm(opened[teeth] - opened[teeth][0], axis=1), spread, atol=1e-9)
    assert np.abs(opened[upper] - closed[upper]).max() < 2e-3
    assert (opened[lower] - closed[lower])[:, 1].mean() > 0.01


def test_culling_drops_what_looks_away(surface, binding, track, model):
    posed = TrackGeometry(surface, binding, track, model)[0]
    assert 0.4 * len(binding) < len(posed.visible) < len(binding)
    hidden = np.setdiff1d(np.arange(len(binding)), posed.visible.numpy())
    depth = (posed.vertices[torch.from_numpy(surface.faces[binding.face])].mean(1))[:, 2].numpy()
    assert depth[hidden].mean() > depth[posed.visible.numpy()].mean()


def test_memory_does_not_grow_with_the_clip(surface, binding, track, model):
    geometry = TrackGeometry(surface, binding, track, model, capacity=2)
    first = geometry[0]
    assert geometry[0] is first
    geometry[1], geometry[2]
    assert len(geometry._kept) == 2
    torch.testing.assert_close(geometry[0].vertices, first.vertices, rtol=0, atol=0)


def test_a_turned_surface_is_the_surface_of_a_turned_body(surface, binding, track, model):
    rotation = rotvec_to_matrix(np.array([0.2, -0.5, 0.0]))
    about_the_joint = dataclasses.replace(
        track, rotation=matrix_to_rotvec(rotation @ rotvec_to_matrix(track.rotation)), translation=track.translation
    )
    expected = TrackGeometry(surface, binding, about_the_joint, model)[1]
    turned = turned_surface(surface, binding, TrackGeometry(surface, binding, track, model)[1], rotation)
    torch.testing.assert_close(turned.vertices, expected.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned.linear, expected.linear, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.pivot, expected.pivot)
    different = np.setxor1d(turned.visible.numpy(), expected.visible.numpy())
    assert len(different) <= 0.002 * len(expected.visible)  # rounding, at the very edge
