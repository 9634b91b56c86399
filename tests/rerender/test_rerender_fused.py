"""The one-pass networks against torch."""

import pytest
import torch

from gswap.rerender.fused import can_fuse, rerender
from gswap.rerender.fusion import fuse
from gswap.rerender.networks import BackgroundEncoder, Rerenderer

pytest.importorskip("gswap.native._native", reason="the native kernels are not built")


@pytest.mark.parametrize("paper_literal", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (75, 130), (1, 7), (300, 256)])
def test_one_pass_agrees_with_torch(paper_literal, height, width):
    g = torch.Generator().manual_seed(height)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        encoder = BackgroundEncoder(paper_literal=paper_literal)
    rerenderer = Rerenderer(paper_literal=paper_literal, generator=g)
    features, alpha, gate = torch.rand(8, height, width, generator=g), *torch.rand(2, height, width, generator=g)
    plate = torch.rand(1, 3, height, width, generator=g).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = rerenderer(fuse(features[None], alpha, encoder(plate), gate))
        found = rerender(encoder, rerenderer, features, alpha, plate, gate)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_only_inference_on_the_cpu_takes_it():
    features = torch.zeros(8, 4, 4)
    assert not can_fuse(features)
    with torch.no_grad():
        assert can_fuse(features)
        assert not can_fuse(features.double())
    with torch.inference_mode():
        assert can_fuse(features)
