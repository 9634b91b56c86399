"""The fused encoder + fusion + rerenderer against torch's convolutions."""

import pytest
import torch
import torch.nn.functional as F

native = pytest.importorskip("gswap.native._native", reason="the native kernels are not built")

LAYERS = ((3, 8), (8, 5), (8, 8), (8, 8), (8, 3))


def _layers(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(o, i, 3, 3, generator=generator) * (2 / (9 * i)) ** 0.5 for i, o in LAYERS]
    return weights, [torch.randn(o, generator=generator) * 0.1 for _, o in LAYERS]


def _expected(plate, features, alpha, head, weights, biases, last_relu):
    def conv(x, k):
        return F.conv2d(x, weights[k], biases[k], padding=1)

    latent = F.relu(conv(F.relu(conv(plate[None], 0)), 1))
    background = torch.cat([plate[None], latent], 1)
    fused = head * features + (1 - alpha * head) * background
    out = conv(F.relu(conv(F.relu(conv(fused, 2)), 3)), 4)[0]
    return F.relu(out) if last_relu else out


@pytest.fixture(params=native.instruction_sets())
def instruction_set(request):
    before = native.get_instruction_set()
    native.set_instruction_set(request.param)
    yield request.param
    native.set_instruction_set(before)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (16, 16), (65, 37), (130, 241), (64, 500)])
@pytest.mark.parametrize("last_relu", [False, True])
def test_agrees_with_torch(instruction_set, height, width, last_relu):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    plate, features = torch.rand(3, height, width, generator=generator), torch.randn(8, height, width)
    alpha, head = torch.rand(height, width, generator=generator), torch.rand(height, width, generator=generator)
    weights, biases = _layers(1)
    found = native.fuse_and_rerender(plate, features, alpha, head, weights, biases, last_relu)
    expected = _expected(plate, features, alpha, head, weights, biases, last_relu)
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_result_does_not_depend_on_threads():
    plate, features = torch.rand(3, 200, 300), torch.rand(8, 200, 300)
    alpha, head = torch.rand(200, 300), torch.rand(200, 300)
    results = []
    for threads in (1, 2, 5):
        native.set_num_threads(threads)
        results.append(native.fuse_and_rerender(plate, features, alpha, head, *_layers(2), False))
    native.set_num_threads(0)
    assert all(torch.equal(results[0], r) for r in results[1:])


def test_wrong_sizes_are_refused():
    plate, features, alpha = torch.rand(3, 8, 8), torch.rand(8, 8, 9), torch.rand(8, 8)
    with pytest.raises(ValueError, match="one size"):
        native.fuse_and_rerender(plate, features, alpha, alpha, *_layers(0), False)
