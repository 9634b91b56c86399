"""Upscalers: the network's wiring against plain formulas, its sizes read off its weights, and seamless tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from gswap.foundation.errors import WeightsError
from gswap.rerender.upscalers import LanczosUpscaler, RrdbNet, RrdbUpscaler, enlarge_tiles


def tiny(inputs: int = 3, blocks: int = 1, seed: int = 0) -> RrdbNet:
    torch.manual_seed(seed)
    return RrdbNet(inputs, features=8, growth=4, blocks=blocks).eval()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stored(network: RrdbNet, path, prefix: str = "params_ema."):
    save_file({prefix + name: value for name, value in network.state_dict().items()}, path)
    return path


def test_the_published_checkpoint_has_these_names_and_shapes():
    """RealESRGAN_x4plus: 23 blocks of 64 features and 32 of growth; 16.7 million numbers."""
    state = RrdbNet().state_dict()
    assert len(state) == 2 * (6 + 23 * 15)
    assert sum(value.numel() for value in state.values()) == 16_697_987
    assert state["conv_first.weight"].shape == (64, 3, 3, 3)
    assert state["body.22.rdb3.conv5.weight"].shape == (64, 64 + 4 * 32, 3, 3)
    assert state["conv_last.bias"].shape == (3,)


def test_a_block_is_the_papers_formula():
    network = tiny()
    x = torch.randn(1, 8, 12, 12)
    weights = network.state_dict()

    def conv(name: str, value: torch.Tensor) -> torch.Tensor:
        return F.conv2d(value, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    y = x
    for dense in ("rdb1", "rdb2", "rdb3"):
        seen = y
        for k in range(1, 5):
            seen = torch.cat([seen, F.leaky_relu(conv(f"body.0.{dense}.conv{k}", seen), 0.2)], 1)
        y = y + 0.2 * conv(f"body.0.{dense}.conv5", seen)
    with torch.no_grad():
        torch.testing.assert_close(network.body[0](x), x + 0.2 * y)


@pytest.mark.parametrize(("inputs", "scale"), [(3, 4), (12, 2), (48, 1)])
def test_the_scale_is_read_off_the_weights(tmp_path, inputs, scale):
    upscale = RrdbUpscaler(stored(tiny(inputs, blocks=2), tmp_path / "net.safetensors"))
    assert upscale.scale == scale
    assert upscale(noise(21, 30)).shape == (21 * scale, 30 * scale, 3)


@pytest.mark.parametrize("prefix", ["params_ema.", "params.", ""])
def test_all_kinds_of_checkpoints_are_read(tmp_path, prefix):
    network = tiny()
    upscale = RrdbUpscaler(stored(network, tmp_path / "net.safetensors", prefix), tile=0)
    image = noise(12, 16)
    with torch.no_grad():
        truth = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0].clamp(0, 1)
    assert np.abs(upscale(image).astype(int) - (truth * 255).round().permute(1, 2, 0).numpy()).max() == 0


@pytest.mark.parametrize(("inputs", "reach"), [(3, 20), (12, 40)])
def test_tiles_leave_no_seams(tmp_path, inputs, reach):
    """With an overlap beyond the network's reach, tiles give the whole image's result to the last bit or one level."""
    path = stored(tiny(inputs), tmp_path / "net.safetensors")
    image = noise(34, 100)
    whole = RrdbUpscaler(path, tile=0)(image)
    tiled = RrdbUpscaler(path, tile=48, overlap=reach)(image)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    seams = RrdbUpscaler(path, tile=48, overlap=0)(image)
    assert np.abs(whole.astype(int) - seams).max() > 1, "without overlap there are seams"


def test_tiles_cover_everything_once():
    image = noise(37, 53)
    out = np.zeros((74, 106, 3), np.uint8)
    seen = []

    def enlarge(part):
        seen.append(part.shape[:2])
        return part.repeat(2, 0).repeat(2, 1)

    enlarge_tiles(image, out, enlarge, 16, 4)
    assert (out == image.repeat(2, 0).repeat(2, 1)).all()
    assert len(seen) == 3 * 4 and max(h for h, _ in seen) <= 24


def test_lanczos_keeps_the_picture():
    image = np.full((10, 12, 3), 77, np.uint8)
    assert (LanczosUpscaler(2)(image) == 77).all() and LanczosUpscaler(3)(image).shape == (30, 36, 3)


def test_other_files_are_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"x")
    network = tiny()
    state = {k: v for k, v in network.state_dict().items() if k != "conv_hr.bias"}
    save_file(state, tmp_path / "z.safetensors")
    for name in ("x", "y", "z", "missing"):
        with pytest.raises(WeightsError, match="RRDB"):
            RrdbUpscaler(tmp_path / f"{name}.safetensors")
