from __future__ import annotations

import pytest
import torch

from gswap.field.regularise import MeshLaplacian, Neighbours
from gswap.foundation.types import Camera
from gswap.portrait.config import FitConfig
from gswap.portrait.frames import TrainingFrame
from gswap.portrait.losses import background_loss, field_losses, gradient_loss, image_losses, ssim_loss
from gswap.portrait.model import Rendering, build_portrait

SIZE = 32


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def frame() -> TrainingFrame:
    """A head in the middle, M_inp around it, a plate behind."""
    matte, gate, outside = torch.zeros(3, SIZE, SIZE)
    matte[10:20, 10:20] = 1
    gate[8:22, 8:22] = 1
    outside[:4] = outside[26:] = 1
    plate = noise(1, 3, SIZE, SIZE)
    image = matte * noise(1, 3, SIZE, SIZE, seed=1) + (1 - matte) * plate
    ones = torch.ones(SIZE, SIZE)
    return TrainingFrame(image, plate, matte, gate, ones, ones, outside, Camera(30, 16, 16, SIZE, SIZE))


def perfect(frame: TrainingFrame) -> Rendering:
    added = frame.image[0] - (1 - frame.matte) * frame.plate[0]
    return Rendering(frame.image.clone(), torch.cat([added, torch.zeros(5, SIZE, SIZE)]), frame.matte.clone())


def test_a_perfect_picture_costs_nothing(frame):
    assert float(image_losses(perfect(frame), frame).total(FitConfig())) == pytest.approx(0, abs=1e-6)


def test_the_background_loss_has_no_gradient_inside_the_inpainting_mask(frame):
    image = noise(1, 3, SIZE, SIZE, seed=2).requires_grad_()
    alpha = noise(SIZE, SIZE, seed=3).requires_grad_()
    loss = background_loss(image, frame.image, 1 - alpha * frame.gate, frame.outside)
    loss.backward()
    inside = frame.outside == 0
    assert float(image.grad[..., inside].abs().max()) == 0
    assert float(image.grad[..., ~inside].abs().min()) > 0
    assert float(alpha.grad.abs().max()) == 0


def test_clothes_do_not_tell_alpha_anything(frame):
    clothes = torch.ones(SIZE, SIZE)
    clothes[20:] = 0
    frame = TrainingFrame(**{**vars(frame), "mask_weight": clothes})
    rendering = perfect(frame)
    hidden = rendering.alpha.clone()
    hidden[25, 15] = 1
    assert float(image_losses(rendering._replace(alpha=hidden), frame).mask) == 0


def test_untrusted_pixels_weigh_less(frame):
    weight = torch.ones(SIZE, SIZE)
    weight[12:18, 12:18] = 0.25
    rendering = perfect(frame)
    wrong = rendering.image.clone()
    wrong[..., 12:18, 12:18] += 0.1
    full = image_losses(rendering._replace(image=wrong), frame)
    less = image_losses(rendering._replace(image=wrong), TrainingFrame(**{**vars(frame), "weight": weight}))
    assert float(less.reconstruction) == pytest.approx(0.25 * float(full.reconstruction), rel=1e-4)
    assert float(less.gradient) < float(full.gradient) and float(less.ssim) < float(full.ssim)


def test_gradient_loss_ignores_a_constant_and_sees_an_edge():
    a, ones = noise(1, 3, SIZE, SIZE), torch.ones(SIZE, SIZE)
    assert float(gradient_loss(a + 0.3, a, ones)) == pytest.approx(0, abs=1e-6)
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    # One column of seven has a jump of 1 across, none down; after pooling one of three.
    expected = (1 / 7 + 1 / 3) / 2
    assert float(gradient_loss(step, torch.zeros_like(step), torch.ones(8, 8), levels=2)) == pytest.approx(expected)


def test_ssim_loss_is_zero_for_equal_images_and_grows_with_noise():
    a, ones = noise(1, 3, SIZE, SIZE), torch.ones(SIZE, SIZE)
    assert float(ssim_loss(a, a, ones)) == pytest.approx(0, abs=1e-5)
    little, much = (float(ssim_loss(a + s * noise(1, 3, SIZE, SIZE, seed=9), a, ones)) for s in (0.1, 0.5))
    assert 0 < little < much < 2


def test_ssim_windows_are_eight_pixels_wide_and_four_apart():
    a, b = noise(1, 3, 27, 34, seed=2).double(), noise(1, 3, 27, 34, seed=3).double()
    weight = noise(27, 34, seed=4).double()
    mean = lambda x: torch.nn.functional.avg_pool2d(x, 8, 4)  # noqa: E731
    luminance = (2 * mean(a) * mean(b) + 1e-4) / (mean(a) ** 2 + mean(b) ** 2 + 1e-4)
    spread = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    structure = (2 * (mean(a * b) - mean(a) * mean(b)) + 9e-4) / (spread + 9e-4)
    expected = ((1 - luminance * structure) * mean(weight[None, None])).mean()
    assert float(ssim_loss(a, b, weight)) == pytest.approx(float(expected), rel=1e-12)


def test_gradients_of_the_losses_in_double_precision(frame):
    frame = TrainingFrame(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in vars(frame).items()})
    image = noise(1, 3, SIZE, SIZE, seed=4).double().requires_grad_()
    features, alpha = noise(8, SIZE, SIZE, seed=5).double(), noise(SIZE, SIZE, seed=6).double()

    def loss(image: torch.Tensor) -> torch.Tensor:
        return image_losses(Rendering(image, features, alpha), frame).total(FitConfig())

    (gradient,) = torch.autograd.grad(loss(image), image)
    direction = noise(1, 3, SIZE, SIZE, seed=7).double()
    with torch.no_grad():
        numeric = (loss(image + 1e-7 * direction) - loss(image - 1e-7 * direction)) / 2e-7
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-4, atol=1e-8)


def test_depth_costs_more_and_what_no_frame_shows_may_follow_what_is_seen(scene):
    cfg = FitConfig(texels=20)
    portrait = build_portrait(scene.model, scene.track, None, 20, cfg)
    field, millimetre = portrait.network.field, 1e-3
    laplacian, neighbours = MeshLaplacian(portrait.surface), Neighbours(portrait.surface, portrait.binding)

    def cost(axis: int) -> float:
        with torch.no_grad():
            field.delta.zero_()
            field.delta[:, axis] = millimetre  # the same everywhere: nothing is bent
            return field_losses(field, laplacian, neighbours, cfg).item()

    across, depth = cost(0), cost(2)
    assert depth - across == pytest.approx(cfg.weight_delta_depth * millimetre**2, rel=1e-3)
    field.hold.fill_(25)
    assert cost(0) < 0.2 * across
