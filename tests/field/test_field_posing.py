"""The native posing of Gaussians and faces against plain torch and numpy."""

import pytest
import torch

from gswap.field import geometry, posing
from gswap.field.binding import bind
from gswap.field.field import Field
from gswap.field.geometry import TrackGeometry, pose_surface
from gswap.field.posing import Attributes, place, place_in_torch

pytest.importorskip("gswap.native._native", reason="the native kernels are not built")


@pytest.fixture(scope="module")
def binding(surface):
    return bind(surface, 64)


@pytest.fixture
def field(surface, binding) -> Field:
    field = Field(surface, binding, 3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, size in (("offset", 0.003), ("delta", 0.004), ("rotation", 0.3), ("log_scale", 0.2)):
            parameter = getattr(field, name)
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return field


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("t", [0, 1, 2])
def test_placing_agrees_with_torch(field, surface, binding, track, model, t, corrected):
    posed = TrackGeometry(surface, binding, track, model)[t]
    generator = torch.Generator().manual_seed(t)
    correction = 0.05 * torch.randn(6, generator=generator) if corrected else None
    results, outward = [], None
    for function in (place_in_torch, place):
        double = function is place_in_torch
        as_leaf = lambda x: (x.detach().double() if double else x.detach().clone()).requires_grad_()  # noqa: B023, E731
        leaves = [as_leaf(x) for x in (field.rotation, field.log_scale, field.offset, posed.vertices)]
        row = as_leaf(correction) if corrected else None
        exact = posed if not double else _double(posed)
        bary, weight = (x.double() if double else x for x in (field.bary, field.head_weight))
        placed = function(exact, leaves[3], Attributes(bary, *leaves[:3], weight), row)
        if outward is None:
            outward = [torch.randn(x.shape, generator=generator) for x in placed]
        torch.autograd.backward(placed, [g.to(placed.means) for g in outward])
        results.append((placed, [leaf.grad for leaf in leaves] + ([row.grad] if corrected else [])))
    (expected, exact_gradients), (found, gradients) = results
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.detach(), b.detach().float(), atol=1e-5, rtol=1e-5)
    for a, b in zip(gradients, exact_gradients, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def _double(posed):
    values = {k: v.double() if v.is_floating_point() else v for k, v in vars(posed).items()}
    return geometry.PosedSurface(**values)


@pytest.mark.parametrize("t", [0, 1, 2])
@pytest.mark.parametrize("cull", [True, False])
def test_posed_faces_agree_with_numpy(monkeypatch, surface, binding, track, model, t, cull):
    mesh = model.pose(track, model.rest(track.shape), t)
    native = pose_surface(surface, binding, mesh, track.translation[t], cull=cull)
    monkeypatch.setattr(geometry, "_native", None)
    plain = pose_surface(surface, binding, mesh, track.translation[t], cull=cull)
    assert torch.equal(native.visible, plain.visible) and torch.equal(native.corners, plain.corners)
    assert len(native.visible) == len(binding) or cull
    torch.testing.assert_close(native.stretch, plain.stretch, atol=1e-6, rtol=1e-6)
    same = (native.quats * plain.quats).sum(1).abs()
    assert float((same - 1).abs().max()) < 1e-6


def test_a_collapsed_face_has_the_identity_frame(monkeypatch, surface, binding):
    vertices = surface.vertices.copy()
    vertices[surface.faces[7]] = vertices[surface.faces[7, 0]]
    arguments = (vertices, surface.faces, surface.face_area, binding.face, (0.5, 2.0), geometry.NEVER)
    _, _, quats, stretch = geometry._native.pose_faces(*arguments)
    expected = geometry._pose_faces(*arguments)
    hit = torch.from_numpy(binding.face == 7)
    assert bool(hit.any())
    assert torch.equal(quats[hit], torch.tensor([1.0, 0, 0, 0]).expand(int(hit.sum()), 4))
    torch.testing.assert_close(stretch, expected[3])


def test_a_face_that_is_not_there_is_refused(surface, binding):
    owners = binding.face.copy()
    owners[0] = len(surface.faces)
    with pytest.raises(IndexError):
        geometry._native.pose_faces(
            surface.vertices, surface.faces, surface.face_area, owners, (0.5, 2.0), geometry.NEVER
        )


def test_double_precision_takes_torch(field, surface, binding, track, model):
    posed = _double(TrackGeometry(surface, binding, track, model)[1])
    attributes = Attributes(
        *(x.double() for x in (field.bary, field.rotation, field.log_scale, field.offset)), field.head_weight.double()
    )
    placed = place(posed, posed.vertices, attributes)
    assert placed.means.dtype == torch.float64
    for a, b in zip(placed, posing.place_in_torch(posed, posed.vertices, attributes), strict=True):
        assert torch.equal(a, b)
