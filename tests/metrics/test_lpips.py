"""LPIPS on VGG-16: its constants, its layers and its arithmetic, against plain formulas on random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from gswap.foundation.errors import WeightsError
from gswap.metrics.lpips import SCALE, SHIFT, STAGES, LpipsVgg, load_lpips

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Configuration D of arXiv 1409.1556."""


def torchvision_features(width: int = 1) -> nn.Sequential:
    """``torchvision.models.vgg16().features`` with narrower layers (``width`` divides the channels)."""
    layers: list[nn.Module] = []
    channels = 3
    for entry in VGG16:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, entry // width, 3, padding=1), nn.ReLU(inplace=False)]
            channels = entry // width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    features = torchvision_features(16)
    vgg = {f"features.{name}": value for name, value in features.state_dict().items()}
    lin = {f"lin{k}.model.1.weight": torch.rand(1, c // 16, 1, 1) for k, c in enumerate((64, 128, 256, 512, 512))}
    return features, vgg, lin


def images(seed: int = 0, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, side, side, generator=generator), torch.rand(1, 3, side, side, generator=generator)


def test_the_constants_are_the_published_ones():
    assert SHIFT == (-0.030, -0.088, -0.188) and SCALE == (0.458, 0.448, 0.450)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(SHIFT, 2 * mean - 1, atol=1e-9)
    np.testing.assert_allclose(SCALE, 2 * deviation, atol=1e-9)


def test_the_stages_end_where_the_paper_looks():
    """relu1_2, relu2_2, relu3_3, relu4_3, relu5_3: the last convolution before every pooling."""
    features = torchvision_features(64)
    places = [k for k, layer in enumerate(features) if isinstance(layer, nn.Conv2d)]
    assert [k for stage in STAGES for k in stage] == places
    for stage in STAGES:
        assert isinstance(features[stage[-1] + 2], nn.MaxPool2d)


def test_the_distance_is_the_papers_formula(weights):
    features, vgg, lin = weights
    a, b = images()
    truth = 0.0
    x, y = ((t * 2 - 1 - torch.tensor(SHIFT).view(1, 3, 1, 1)) / torch.tensor(SCALE).view(1, 3, 1, 1) for t in (a, b))
    with torch.no_grad():
        depth = 0
        for k, layer in enumerate(features):
            x, y = layer(x), layer(y)
            if k + 1 < len(features) and isinstance(features[k + 1], nn.MaxPool2d):
                unit_x, unit_y = F.normalize(x, dim=1), F.normalize(y, dim=1)
                weight = lin[f"lin{depth}.model.1.weight"]
                truth += float(((unit_x - unit_y) ** 2 * weight).sum(1).mean())
                depth += 1
        found = float(LpipsVgg(vgg, lin)(a, b))
    assert depth == 5 and found == pytest.approx(truth, rel=1e-5)


def test_equal_pictures_have_no_distance_and_the_order_does_not_matter(weights):
    _, vgg, lin = weights
    model = LpipsVgg(vgg, lin)
    a, b = images()
    assert float(model(a, a)) == 0.0
    assert float(model(a, b)) == pytest.approx(float(model(b, a)), rel=1e-6)
    assert float(model(a, 0.9 * a + 0.1 * b)) < float(model(a, b))


def test_gradients_reach_the_picture_and_nothing_else(weights):
    _, vgg, lin = weights
    model = LpipsVgg(vgg, lin).double()
    a, b = (t[..., :16, :16].double() for t in images())
    a.requires_grad_()
    model(a, b).backward()
    assert not list(model.parameters()) and a.grad is not None
    step = torch.zeros_like(a)
    step[0, 1, 5, 7] = 1e-6
    with torch.no_grad():
        numeric = float(model(a + step, b) - model(a - step, b)) / 2e-6
    assert float(a.grad[0, 1, 5, 7]) == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_it_loads_from_the_part_and_refuses_others(weights, tmp_path):
    _, vgg, lin = weights
    with pytest.raises(WeightsError, match="VGG-16"):
        load_lpips(tmp_path)
    save_file({**vgg, "classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg16.safetensors")
    save_file(lin, tmp_path / "lin.safetensors")
    a, b = images()
    assert float(load_lpips(tmp_path)(a, b)) == pytest.approx(float(LpipsVgg(vgg, lin)(a, b)))
    save_file({"x": torch.zeros(1)}, tmp_path / "lin.safetensors")
    with pytest.raises(WeightsError, match="lin0"):
        load_lpips(tmp_path)
