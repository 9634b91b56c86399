from __future__ import annotations

import pytest
import torch

from gswap.rerender.networks import BackgroundEncoder, Rerenderer


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_are_the_papers():
    assert count(BackgroundEncoder()) == 589
    assert count(BackgroundEncoder(paper_literal=True)) == 949
    assert count(Rerenderer()) == count(Rerenderer(paper_literal=True)) == 1387


@pytest.mark.parametrize("paper_literal", [False, True])
def test_rerenderer_starts_as_the_identity_on_rgb(paper_literal):
    features = torch.rand(2, 8, 9, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = Rerenderer(paper_literal=paper_literal)(features)
    torch.testing.assert_close(out, features[:, :3], rtol=0, atol=0)


def test_noise_is_small_and_reproducible():
    features = torch.rand(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    first, second = (Rerenderer(generator=torch.Generator().manual_seed(5)) for _ in range(2))
    with torch.no_grad():
        torch.testing.assert_close(first(features), second(features), rtol=0, atol=0)
        assert 0 < float((first(features) - features[:, :3]).abs().mean()) < 0.5


def test_background_keeps_its_colours():
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = BackgroundEncoder()(rgb)
    assert encoded.shape == (1, 8, 8, 8)
    torch.testing.assert_close(encoded[:, :3], rgb)
    assert float(encoded[:, 3:].min()) >= 0


def test_padding_the_input_is_the_same_function():
    small, padded = BackgroundEncoder(), BackgroundEncoder(paper_literal=True)
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        padded.first.weight[:, :3] = small.first.weight
        padded.first.bias.copy_(small.first.bias)
        padded.second.load_state_dict(small.second.state_dict())
        torch.testing.assert_close(padded(rgb), small(rgb))


def test_paper_literal_output_is_never_negative():
    features = -torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        assert float(Rerenderer(paper_literal=True, generator=noise)(features).min()) >= 0
