"""The native kernel against the float64 reference, on every instruction set that this processor has."""

import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gswap.foundation.errors import DeviceError, InputError, UsageError
from gswap.foundation.types import Camera
from gswap.splat import cpu, get_rasterizer, reference, registry
from gswap.splat.reference import ALPHA_MIN, T_MIN

native = pytest.importorskip("gswap.native._native", reason="the native kernels are not built")

VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
MAX_BORDERLINE = 1e-3
"""Share of pixels that may differ because they lie within a rounding of a threshold; all others must agree."""
NAMES = ("means", "quats", "scales", "opacities", "features")


def random_scene(seed, n, channels, size, opaque):
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g)  # noqa: E731
    means = (rand(n, 3) - 0.5) * torch.tensor([1.6, 1.6, 0.8])
    means[:, 2] += 1.2
    quats, scales = torch.randn(n, 4, generator=g), size * torch.exp(1.5 * (rand(n, 3) - 0.5))
    return [means, quats, scales, 1 - (1 - opaque) * rand(n), rand(n, channels) * 2 - 1]


def borderline(tensors, camera, near):
    """Pixels where float32 may decide otherwise than float64 whether a Gaussian is skipped or a pixel has stopped."""
    splats = reference.project(*tensors[:4], camera, near)
    opacity = tensors[3][splats.source]
    flagged = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    if len(opacity) == 0:
        return flagged
    dx = torch.arange(camera.width) + 0.5 - splats.mean[:, :1]
    dy = torch.arange(camera.height) + 0.5 - splats.mean[:, 1:]
    xx, xy, yy = (splats.conic[:, k, None, None] for k in range(3))
    dx, dy = dx[:, None, :], dy[:, :, None]
    alpha = opacity[:, None, None] * torch.exp(-0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy)
    flagged |= ((alpha / ALPHA_MIN - 1).abs() < 1e-4).any(0)
    alpha = alpha.clamp_max(0.999) * (alpha >= ALPHA_MIN)
    behind = torch.cumprod(1 - alpha, 0)
    return flagged | ((behind / T_MIN - 1).abs() < 1e-3).any(0)


def compare(tensors, camera, near=0.01, seed=0, gradient_tolerance=GRADIENT_TOLERANCE):
    exact = [t.double().requires_grad_() for t in tensors]
    single = [t.clone().requires_grad_() for t in tensors]
    expected_image, expected_alpha = reference.rasterize(*exact, camera, near=near)
    image, alpha = cpu.rasterize(*single, camera, near=near)
    with torch.no_grad():
        sure = ~borderline([t.detach() for t in exact], camera, near)
        wrong = (image - expected_image).abs().amax(0).maximum((alpha - expected_alpha).abs()) > VALUE_TOLERANCE
        assert not bool((wrong & sure).any())
        assert int(wrong.sum()) <= max(MAX_BORDERLINE * wrong.numel(), 2)
    g = torch.Generator().manual_seed(seed)
    wi, wa = torch.randn(image.shape, generator=g) * sure, torch.randn(alpha.shape, generator=g) * sure
    torch.autograd.backward([image, alpha], [wi, wa])
    torch.autograd.backward([expected_image, expected_alpha], [wi.double(), wa.double()])
    for name, a, b in zip(NAMES, single, exact, strict=True):
        error, norm = float((a.grad - b.grad).norm()), float(b.grad.norm())
        assert error <= gradient_tolerance * norm + 1e-6, name


@pytest.fixture(params=native.instruction_sets())
def instruction_set(request):
    before = native.get_instruction_set()
    native.set_instruction_set(request.param)
    yield request.param
    native.set_instruction_set(before)


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 9, 10, 16, 17, 24, 31, 32])
def test_every_number_of_channels(instruction_set, channels):
    compare(random_scene(channels, 250, channels, 0.03, 0.3), Camera(40.0, 18.7, 15.2, 37, 30))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 70), (16, 16), (33, 17), (48, 48)])
def test_every_size_of_image(instruction_set, width, height):
    compare(random_scene(3, 200, 8, 0.03, 0.3), Camera(40.0, width / 2, height / 2, width, height))


def test_gaussians_larger_than_a_tile(instruction_set):
    compare(random_scene(5, 60, 8, 0.5, 0.1), Camera(60.0, 30.0, 20.0, 61, 45))


def test_long_thin_gaussians(instruction_set):
    tensors = random_scene(5, 60, 8, 0.5, 0.1)
    tensors[2][::3, 0] = 0.4
    tensors[2][::3, 1:] = 0.004
    compare(tensors, Camera(60.0, 30.0, 20.0, 61, 45))


def test_opacity_at_the_clamp(instruction_set):
    tensors = random_scene(6, 200, 8, 0.05, 0.9)
    tensors[3][::2] = 1.0
    compare(tensors, Camera(50.0, 20.0, 20.0, 40, 40))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 300),
    channels=st.integers(1, 32),
    size=st.sampled_from([0.003, 0.02, 0.1, 0.6]),
    opaque=st.sampled_from([0.0, 0.5, 0.99]),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    near=st.sampled_from([0.01, 1.1]),
)
def test_random_scenes(seed, n, channels, size, opaque, width, height, near):
    compare(random_scene(seed, n, channels, size, opaque), Camera(45.0, 31.0, 24.0, width, height), near, seed)


def test_a_mean_far_from_the_origin_keeps_its_digits():
    tensors = random_scene(8, 150, 4, 0.004, 0.2)
    tensors[0][:, :2] = tensors[0][:, :2] * 0.02 + torch.tensor([1.9, 1.4])
    tensors[0][:, 2] = 1.0
    compare(tensors, Camera(1000.0, 0.0, -1380.0, 2000, 40))


@pytest.mark.parametrize("depths", [None, 3, 1], ids=["all-differ", "three", "one"])
def test_same_bits_for_any_number_of_threads(depths):
    tensors = random_scene(1, 9000, 9, 0.02, 0.2)
    if depths:  # the ranges of depth that threads sort cannot be cut anywhere
        tensors[0][:, 2] = 1.0 + torch.arange(9000) % depths / 8
    camera = Camera(150.0, 70.0, 60.0, 141, 123)
    results = []
    for threads in (1, 2, 3, 7):
        native.set_num_threads(threads)
        leaves = [t.clone().requires_grad_() for t in tensors]
        image, alpha = cpu.rasterize(*leaves, camera)
        (image.square().sum() + alpha.square().sum()).backward()
        results.append([image.detach(), alpha.detach(), *(x.grad for x in leaves)])
    native.set_num_threads(0)
    assert results[0][0].any()
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_empty_scenes_have_no_gradient():
    leaves = [t[:0].requires_grad_() for t in random_scene(0, 1, 4, 0.1, 0.5)]
    image, alpha = cpu.rasterize(*leaves, Camera(30.0, 10.0, 10.0, 21, 20))
    assert not image.any() and not alpha.any()
    (image.sum() + alpha.sum()).backward()
    assert all(leaf.grad is not None and leaf.grad.shape == leaf.shape for leaf in leaves)


def test_only_what_is_asked_for_needs_a_gradient():
    tensors = random_scene(0, 50, 4, 0.1, 0.5)
    tensors[4].requires_grad_()
    image, _ = cpu.rasterize(*tensors, Camera(30.0, 10.0, 10.0, 21, 20))
    image.sum().backward()
    assert tensors[4].grad is not None and tensors[0].grad is None


def test_a_batch_is_its_frames():
    frames = [random_scene(k, 80, 5, 0.05, 0.4) for k in range(3)]
    cameras = [Camera(30.0 + k, 10.0, 9.0, 22, 18) for k in range(3)]
    stacked = [torch.stack([frame[i] for frame in frames]) for i in range(4)]
    images, alphas = cpu.rasterize_batch(*stacked, frames[0][4][None], cameras)
    for k in range(3):
        image, alpha = cpu.rasterize(*frames[k][:4], frames[0][4], cameras[k])
        assert torch.equal(images[k], image) and torch.equal(alphas[k], alpha)
    with pytest.raises(InputError, match="one image size"):
        cpu.rasterize_batch(*stacked, frames[0][4][None], [*cameras[:2], Camera(30.0, 1, 1, 5, 5)])
    with pytest.raises(InputError, match="leading dimension"):
        cpu.rasterize_batch(*stacked, frames[0][4][None], cameras[:2])


@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_not_finite_are_refused_by_name(instruction_set, name):
    tensors = random_scene(0, 50, 5, 0.1, 0.5)
    tensors[NAMES.index(name)].view(-1)[-1] = float("nan")
    with pytest.raises(InputError, match=name):
        cpu.rasterize(*tensors, Camera(30.0, 10.0, 10.0, 21, 20))


def test_extreme_but_finite_values_do_no_harm(instruction_set):
    tensors = random_scene(0, 64, 4, 0.1, 0.5)
    tensors[0][:8] *= 1e30
    tensors[2][8:16] *= 1e15
    tensors[1][16:24] = 0
    tensors[2][24:32] = 0
    tensors[3][32:40] = torch.tensor([-1.0, 0.0, 1e-30, 2.0, 1e30, 0.5, 1.0, 1.0])
    image, alpha = cpu.rasterize(*tensors, Camera(30.0, 10.0, 10.0, 21, 20))
    assert bool(alpha.isfinite().all()) and bool(image.isfinite().all())


def test_double_precision_is_refused_with_advice():
    with pytest.raises(InputError, match="reference"):
        cpu.rasterize(*(t.double() for t in random_scene(0, 5, 2, 0.1, 0.5)), Camera(30.0, 10.0, 10.0, 21, 20))


def test_rasterisers_by_name(monkeypatch):
    assert get_rasterizer("cpu") is cpu.rasterize
    assert get_rasterizer("auto") is cpu.rasterize
    assert get_rasterizer("reference") is reference.rasterize
    with pytest.raises(UsageError, match=r"'cuda'.*Known: auto, cpu, reference, cuda"):
        get_rasterizer("cude")
    monkeypatch.setattr(cpu, "_native", None)
    monkeypatch.setattr(registry, "_warned", False)
    with pytest.raises(DeviceError, match="not built"):
        get_rasterizer("cpu")
    with pytest.warns(RuntimeWarning, match="times slower"):
        assert get_rasterizer("auto") is reference.rasterize
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_rasterizer("auto")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_an_error():
    with pytest.raises(DeviceError, match="CUDA"):
        get_rasterizer("cuda")
