"""gsplat against the reference. Needs a CUDA device and the extra ``cuda``."""

import pytest
import torch

from gswap.foundation.types import Camera
from gswap.splat import reference

pytestmark = pytest.mark.gpu

CAMERA = Camera(80.0, 31.0, 30.0, 62, 61)


def _scene(n=400, channels=9):
    g = torch.Generator().manual_seed(0)
    means = (torch.rand(n, 3, generator=g) - 0.5) * 0.8
    means[:, 2] += 1.5
    quats, scales = torch.randn(n, 4, generator=g), 0.01 + 0.03 * torch.rand(n, 3, generator=g)
    return [means, quats, scales, torch.rand(n, generator=g) * 0.9 + 0.05, torch.rand(n, channels, generator=g)]


@pytest.mark.parametrize("channels", [3, 8, 9, 32])
def test_values_and_gradients_agree_with_the_reference(channels):
    from gswap.splat.cuda import rasterize

    tensors = _scene(channels=channels)
    exact = [t.double().requires_grad_() for t in tensors]
    single = [t.cuda().requires_grad_() for t in tensors]
    expected, expected_alpha = reference.rasterize(*exact, CAMERA)
    image, alpha = rasterize(*single, CAMERA)
    assert float(((image.cpu() - expected).abs() > 1e-4).float().mean()) < 1e-3
    assert float((alpha.cpu() - expected_alpha).abs().max()) < 1e-2
    (expected.square().sum() + expected_alpha.sum()).backward()
    (image.square().sum() + alpha.sum()).backward()
    for a, b in zip(single, exact, strict=True):
        assert float((a.grad.cpu() - b.grad).norm()) <= 5e-3 * float(b.grad.norm())


def test_a_batch_is_its_frames():
    from gswap.splat.cuda import rasterize, rasterize_batch

    tensors = [t.cuda() for t in _scene()]
    cameras = [CAMERA, Camera(70.0, 31.0, 30.0, 62, 61)]
    images, _ = rasterize_batch(*(t[None] for t in tensors), cameras)
    for image, camera in zip(images, cameras, strict=True):
        torch.testing.assert_close(image, rasterize(*tensors, camera)[0])
