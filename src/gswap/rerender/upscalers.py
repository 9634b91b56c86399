"""Super-resolution that guides the fit: RRDB networks (ESRGAN, arXiv 1809.00219; Real-ESRGAN, 2107.10833), Lanczos.

An upscaler is applied to I_gen once; it is no part of what renders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gswap.foundation.errors import WeightsError
from gswap.foundation.types import RgbImage

TILE, OVERLAP = 256, 16
"""Pixels of the input: side of the squares that are enlarged one by one, and how far each sees around itself."""
_SLOPE, _RESIDUAL = 0.2, 0.2
_CHECKPOINTS = ("params_ema.", "params.", "")
"""Prefixes under which checkpoints hold the weights; averaged ones first."""
_UNSHUFFLED = {3: (4, 1), 12: (2, 2), 48: (1, 4)}
"""Input channels of the first convolution -> enlargement of the whole, and of the unshuffling in front of it."""


class LanczosUpscaler:
    """Plain interpolation: an :class:`~gswap.foundation.protocols.Upscaler` that adds nothing."""

    def __init__(self, scale: int = 2) -> None:
        self.scale = scale

    def __call__(self, image: RgbImage) -> RgbImage:
        """The image at ``scale`` times its size."""
        size = (image.shape[1] * self.scale, image.shape[0] * self.scale)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4))


class RrdbNet(nn.Module):
    """The network: 3x3 convolutions, residual-in-residual dense blocks, two nearest-neighbour enlargements.

    The same four-fold network serves smaller factors by unshuffling pixels into channels first.
    """

    def __init__(self, inputs: int = 3, features: int = 64, growth: int = 32, blocks: int = 23) -> None:
        super().__init__()
        self.scale, self.unshuffle = _UNSHUFFLED[inputs]
        self.conv_first = nn.Conv2d(inputs, features, 3, padding=1)
        self.body = nn.ModuleList(_Rrdb(features, growth) for _ in range(blocks))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """RGB in [0, 1] -> the same, enlarged, not clamped; sides must be multiples of ``unshuffle``."""
        x = self.conv_first(F.pixel_unshuffle(image, self.unshuffle))
        y = x
        for block in self.body:
            y = block(y)
        x = x + self.conv_body(y)
        for conv in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2, mode="nearest")), _SLOPE)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), _SLOPE))


class _Dense(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(features + k * growth, growth, 3, padding=1) for k in range(4)
        )
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), _SLOPE))
        return x + _RESIDUAL * self.conv5(torch.cat(seen, 1))


class _Rrdb(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(features, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RrdbUpscaler:
    """An :class:`~gswap.foundation.protocols.Upscaler` on an RRDB network.

    Args:
        path: The verified safetensors file; the network's size is read off its weights.
        device: ``cpu`` or ``cuda``.
        tile: See :data:`TILE`; 0 = the whole image at once.
        overlap: See :data:`OVERLAP`.

    Raises:
        WeightsError: The file holds no RRDB network.
    """

    def __init__(self, path: Path, *, device: str = "cpu", tile: int = TILE, overlap: int = OVERLAP) -> None:
        try:
            self._network = _load(load_file(path)).to(device).eval()
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise WeightsError(f"Expected an RRDB network, found something else ({error}).", path=path) from error
        self.scale = self._network.scale
        self._device, self._tile, self._overlap = device, tile, overlap

    def __call__(self, image: RgbImage) -> RgbImage:
        """The image at ``scale`` times its size."""
        step = self._network.unshuffle
        height, width = image.shape[:2]
        whole = np.pad(image, ((0, -height % step), (0, -width % step), (0, 0)), mode="reflect")
        tile = self._tile - self._tile % step or max(whole.shape[:2])
        overlap = -(-self._overlap // step) * step
        out = np.empty((whole.shape[0] * self.scale, whole.shape[1] * self.scale, 3), np.uint8)
        enlarge_tiles(whole, out, self._enlarge, tile, overlap)
        return np.ascontiguousarray(out[: height * self.scale, : width * self.scale])

    @torch.inference_mode()
    def _enlarge(self, part: RgbImage) -> RgbImage:
        tensor = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))[None].to(self._device)
        large = self._network(tensor.float() / 255)[0].clamp(0, 1) * 255
        return large.round().byte().permute(1, 2, 0).cpu().numpy()


def enlarge_tiles(
    image: RgbImage, out: RgbImage, enlarge: Callable[[RgbImage], RgbImage], tile: int, overlap: int
) -> None:
    """Enlarge an image square by square into ``out``; each sees ``overlap`` pixels around it, which are cut off."""
    height, width = image.shape[:2]
    scale = out.shape[0] // height
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y, x = max(top - overlap, 0), max(left - overlap, 0)
            large = enlarge(image[y : min(bottom + overlap, height), x : min(right + overlap, width)])
            rows = slice((top - y) * scale, (bottom - y) * scale)
            columns = slice((left - x) * scale, (right - x) * scale)
            out[top * scale : bottom * scale, left * scale : right * scale] = large[rows, columns]


def _load(weights: dict[str, Tensor]) -> RrdbNet:
    prefix = next(p for p in _CHECKPOINTS if f"{p}conv_first.weight" in weights or not p)
    own = {name.removeprefix(prefix): value.float() for name, value in weights.items() if name.startswith(prefix)}
    first = own["conv_first.weight"]
    blocks = 1 + max(int(name.split(".")[1]) for name in own if name.startswith("body."))
    network = RrdbNet(first.shape[1], first.shape[0], own["body.0.rdb1.conv1.weight"].shape[0], blocks)
    network.load_state_dict(own)
    return network
