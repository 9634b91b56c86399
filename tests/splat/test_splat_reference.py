"""The specification: closed forms, gradients by central differences, refused inputs."""

import math

import pytest
import torch

from gswap.foundation.errors import InputError
from gswap.foundation.types import Camera
from gswap.splat import reference
from gswap.splat.reference import ALPHA_MAX, ALPHA_MIN, EPS_2D, T_MIN, rasterize

CAMERA = Camera(focal=40.0, cx=11.3, cy=9.1, width=23, height=19)


def scene(n, channels, seed=0, dtype=torch.float64, spread=0.3, size=0.02, camera_distance=1.0):
    """Gaussians in front of the camera, all five tensors."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    means = (rand(n, 3) - 0.5) * spread
    means[:, 2] += camera_distance
    quats = torch.randn(n, 4, generator=g, dtype=torch.float64)
    scales = size * (0.3 + rand(n, 3))
    return [x.to(dtype) for x in (means, quats, scales, 0.2 + 0.75 * rand(n), rand(n, channels))]


def test_one_gaussian_is_the_formula():
    means = torch.tensor([[0.02, -0.01, 2.0]], dtype=torch.float64)
    quats = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    scales = torch.tensor([[0.1, 0.2, 0.0]], dtype=torch.float64)
    opacity, feature = torch.tensor([0.7], dtype=torch.float64), torch.tensor([[2.0, -3.0]], dtype=torch.float64)
    image, alpha = rasterize(means, quats, scales, opacity, feature, CAMERA)
    f = CAMERA.focal / 2.0
    x, y = 14, 7
    dx, dy = x + 0.5 - (f * 0.02 + CAMERA.cx), y + 0.5 - (f * -0.01 + CAMERA.cy)
    expected = 0.7 * math.exp(-0.5 * (dx**2 / ((f * 0.1) ** 2 + EPS_2D) + dy**2 / ((f * 0.2) ** 2 + EPS_2D)))
    assert alpha[y, x] == pytest.approx(expected, rel=1e-12)
    assert image[:, y, x].tolist() == pytest.approx([2 * expected, -3 * expected], rel=1e-12)
    lit = alpha > 0
    assert float(alpha[lit].min()) >= ALPHA_MIN
    assert not image[:, ~lit].any()


def test_nearer_gaussians_hide_farther_ones_and_the_order_given_does_not_matter():
    tensors = scene(60, 3)
    image, alpha = rasterize(*tensors, CAMERA)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(5))
    image2, alpha2 = rasterize(*(t[shuffled] for t in tensors), CAMERA)
    torch.testing.assert_close(image, image2)
    torch.testing.assert_close(alpha, alpha2)


def test_alpha_is_clamped_and_a_pixel_stops_before_it_is_opaque():
    n = 4
    means = torch.tensor([[0.0, 0.0, 1.0 + 0.1 * k] for k in range(n)], dtype=torch.float64)
    quats = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).repeat(n, 1)
    scales = torch.full((n, 3), 10.0, dtype=torch.float64)
    features = torch.eye(n, dtype=torch.float64)
    image, alpha = rasterize(means, quats, scales, torch.ones(n, dtype=torch.float64), features, CAMERA)
    # 1 - 0.999 = 1e-3 is above T_MIN, 1e-6 is not: only the first is drawn.
    assert ALPHA_MAX == 0.999 and (1 - ALPHA_MAX) ** 2 <= T_MIN
    torch.testing.assert_close(image[0], torch.full_like(alpha, ALPHA_MAX))
    assert not image[1:].any()
    torch.testing.assert_close(alpha, torch.full_like(alpha, ALPHA_MAX))


def test_what_is_behind_the_near_plane_or_too_faint_or_outside_is_not_drawn():
    tensors = scene(3, 2)
    tensors[0][0, 2] = 0.009
    tensors[3][1] = 0.0039
    tensors[0][2, 0] = 50.0
    image, alpha = rasterize(*tensors, CAMERA)
    assert not image.any() and not alpha.any()


def test_no_gaussians_give_an_empty_image():
    image, alpha = rasterize(*(t[:0] for t in scene(1, 5)), CAMERA)
    assert image.shape == (5, 19, 23) and alpha.shape == (19, 23)
    assert not image.any() and not alpha.any()


@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "features"])
def test_gradients_agree_with_central_differences(name):
    tensors = scene(40, 3, seed=2)
    # Beyond the frustum's margin the Jacobian is held: its gradient is held as well.
    tensors[0][0] = torch.tensor([0.6, 0.0, 1.0])
    tensors[2][0] = 0.2
    position = ["means", "quats", "scales", "opacities", "features"].index(name)
    g = torch.Generator().manual_seed(7)
    wi = torch.randn(3, 19, 23, generator=g, dtype=torch.float64)
    wa = torch.randn(19, 23, generator=g, dtype=torch.float64)

    def loss(x):
        image, alpha = rasterize(*tensors[:position], x, *tensors[position + 1 :], CAMERA)
        return (image * wi).sum() + (alpha * wa).sum()

    x = tensors[position].clone().requires_grad_()
    loss(x).backward()
    step = 1e-7  # small: a pixel that crosses a threshold in between would be a jump
    entries = [0, 1, 2, *torch.randint(0, x.numel(), (9,), generator=g).tolist()]
    for k in entries:
        moved = []
        for sign in (1, -1):
            y = tensors[position].clone()
            y.view(-1)[k % y.numel()] += sign * step
            moved.append(float(loss(y)))
        numeric = (moved[0] - moved[1]) / (2 * step)
        analytic = float(x.grad.view(-1)[k % x.numel()])
        assert analytic == pytest.approx(numeric, rel=2e-5, abs=2e-5)


@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "features"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(name, value):
    tensors = scene(5, 2)
    tensors[["means", "quats", "scales", "opacities", "features"].index(name)].view(-1)[3] = value
    with pytest.raises(InputError, match=name):
        rasterize(*tensors, CAMERA)


def test_shapes_types_and_cameras_that_do_not_fit_are_refused():
    means, quats, scales, opacities, features = scene(5, 2)
    with pytest.raises(InputError, match=r"quats.*\(5, 4\)"):
        rasterize(means, quats[:4], scales, opacities, features, CAMERA)
    with pytest.raises(InputError, match="features"):
        rasterize(means, quats, scales, opacities, torch.zeros(5, 33), CAMERA)
    with pytest.raises(InputError, match="scales"):
        rasterize(means, quats, scales.float(), opacities, features, CAMERA)
    with pytest.raises(InputError, match="focal"):
        rasterize(means, quats, scales, opacities, features, Camera(0.0, 1, 1, 8, 8))
    with pytest.raises(InputError, match="pixels"):
        rasterize(means, quats, scales, opacities, features, Camera(9.0, 1, 1, 0, 8))


def test_the_zero_quaternion_is_no_rotation():
    rotation = reference.rotation_matrices(torch.zeros(1, 4))
    torch.testing.assert_close(rotation[0], torch.eye(3))
