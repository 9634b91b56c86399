"""Fused posing of bound Gaussians (eq. 7) against the same formulas in torch, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

native = pytest.importorskip("gswap.native._native", reason="the native kernels are not built")

ROW_METRES = 0.1


def _multiply(a, b):
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def _rotate(q, v):
    twice = 2 * torch.linalg.cross(q[:, 1:], v)
    return v + q[:, :1] * twice + torch.linalg.cross(q[:, 1:], twice)


def _scene(field=300, visible=171, vertices=60, dtype=torch.float32):
    g = torch.Generator().manual_seed(3)
    rand = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(torch.float32).to(dtype)  # noqa: E731
    index = torch.randperm(field, generator=g)[:visible].sort().values
    corners = torch.randint(0, vertices, (3 * visible,), generator=g)
    bary = torch.rand(field, 3, generator=g, dtype=torch.float64).to(torch.float32).to(dtype)
    posed = (index, corners, rand(vertices, 3), F.normalize(rand(visible, 4), dim=-1), rand(visible).abs(), rand(3))
    learned = (bary, rand(field, 4), rand(field, 3) - 4, rand(field, 3) * 0.01, rand(field).abs())
    return posed, learned, rand(6) * 0.1


def _expected(posed, learned, correction):
    index, corners, vertices, face, stretch, pivot = posed
    bary, rotation, log_scale, offset, weight = (x[index] for x in learned)
    means = (vertices[corners].view(-1, 3, 3) * bary[..., None]).sum(1) + _rotate(face, offset)
    quats = _multiply(face, F.normalize(rotation, dim=-1))
    if correction is not None:
        turn = weight[:, None] * correction[:3]
        means = means + torch.linalg.cross(turn, means - pivot) + weight[:, None] * correction[3:] * ROW_METRES
        quats = _multiply(torch.cat([torch.ones_like(weight)[:, None], turn / 2], 1), quats)
    return means, quats, log_scale.exp() * stretch[:, None]


@pytest.fixture(params=native.instruction_sets())
def instruction_set(request):
    before = native.get_instruction_set()
    native.set_instruction_set(request.param)
    yield request.param
    native.set_instruction_set(before)


@pytest.mark.parametrize("corrected", [False, True])
def test_forward_and_backward_agree_with_torch(instruction_set, corrected):
    posed, learned, correction = _scene()
    correction = correction if corrected else None
    exact_posed = tuple(x.double() if x.is_floating_point() else x for x in posed)
    exact_learned = tuple(x.double() for x in learned)
    leaves = [exact_posed[2], exact_learned[1], exact_learned[2], exact_learned[3]]
    exact_correction = correction.double() if corrected else None
    if corrected:
        leaves.append(exact_correction)
    for leaf in leaves:
        leaf.requires_grad_()
    expected = _expected(exact_posed, exact_learned, exact_correction)
    found = native.bind_forward(posed, learned, correction, ROW_METRES)
    for a, b in zip(found, expected, strict=True):
        assert (a - b.detach()).abs().max() < 2e-6 * max(1.0, float(b.detach().abs().max()))

    generator = torch.Generator().manual_seed(9)
    outward = [torch.randn(x.shape, generator=generator) for x in found]
    torch.autograd.backward(expected, [x.double() for x in outward])
    gradients = native.bind_backward(posed, learned, correction, ROW_METRES, *outward)
    for a, leaf in zip(gradients, leaves, strict=False):
        assert (a - leaf.grad).norm() <= 1e-5 * leaf.grad.norm()
    if not corrected:
        assert not gradients[4].any()


def test_result_does_not_depend_on_threads():
    posed, learned, correction = _scene(field=9000, visible=7000, vertices=500)
    outward = (torch.ones(7000, 3), torch.ones(7000, 4), torch.ones(7000, 3))
    results = []
    for threads in (1, 2, 3):
        native.set_num_threads(threads)
        results.append(native.bind_backward(posed, learned, correction, ROW_METRES, *outward))
    native.set_num_threads(0)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_an_index_out_of_range_is_refused():
    posed, learned, _ = _scene()
    posed[0][-1] = 300
    with pytest.raises(IndexError):
        native.bind_forward(posed, learned, None, ROW_METRES)
