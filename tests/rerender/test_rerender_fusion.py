from __future__ import annotations

import pytest
import torch

from gswap.rerender.fusion import fuse


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_fusion_is_alpha_over(alpha):
    generator = torch.Generator().manual_seed(0)
    straight, background = torch.rand(2, 8, 5, 6, generator=generator)
    matte = torch.full((5, 6), alpha)
    fused = fuse(straight * matte, matte, background, torch.ones(5, 6))
    torch.testing.assert_close(fused, straight * alpha + background * (1 - alpha))


def test_the_head_mask_limits_the_head():
    generator = torch.Generator().manual_seed(0)
    straight, background = torch.rand(2, 8, 5, 6, generator=generator)
    matte, head = torch.rand(2, 5, 6, generator=generator)
    fused = fuse(straight * matte, matte, background, head)
    torch.testing.assert_close(fused, straight * matte * head + background * (1 - matte * head))
    torch.testing.assert_close(fuse(straight * matte, matte, background, torch.zeros(5, 6)), background)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    foreground, background = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    alpha, head = torch.rand(2, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(fuse, (foreground, alpha, background, head))
