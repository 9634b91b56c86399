"""LPIPS on VGG-16, version 0.1 (Zhang et al., arXiv 1801.03924), from two safetensors files; no other package needed.

Both pictures go through VGG-16; at five depths the features of every pixel are scaled to length 1, their squared
differences weighted per channel by the learned ``lin`` weights, averaged over the picture and summed.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gswap.foundation.errors import WeightsError

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Places of the convolutions in torchvision's VGG-16; every stage but the first begins with a pooling."""
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation for pictures in [-1, 1]."""
_EPSILON = 1e-10


class LpipsVgg(nn.Module):
    """Distance of two pictures: a :class:`~gswap.portrait.losses.PerceptualLoss`. Its weights do not learn.

    Args:
        vgg: VGG-16's convolutions as torchvision names them, ``features.N.weight`` and ``features.N.bias``.
        lin: The learned weights, ``linN.model.1.weight``.

    Raises:
        KeyError: A weight is missing.
    """

    def __init__(self, vgg: dict[str, Tensor], lin: dict[str, Tensor]) -> None:
        super().__init__()
        for place in (k for stage in STAGES for k in stage):
            for kind in ("weight", "bias"):
                value = vgg[f"features.{place}.{kind}"].detach().float()
                self.register_buffer(
                    f"{kind}{place}", value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
                )
        for depth in range(len(STAGES)):
            self.register_buffer(f"lin{depth}", lin[f"lin{depth}.model.1.weight"].detach().float())
        self.shift = nn.Buffer(torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.scale = nn.Buffer(torch.tensor(SCALE).view(1, 3, 1, 1))

    def forward(self, image: Float[Tensor, "1 3 h w"], reference: Float[Tensor, "1 3 h w"]) -> Float[Tensor, ""]:
        """Distance of two pictures in [0, 1], at least 16 pixels wide and high; 0 = equal."""
        total = image.new_zeros(())
        for depth in self._depths(image, reference):
            total = total + depth.mean()
        return total

    def _depths(self, image: Tensor, reference: Tensor) -> list[Tensor]:
        """Weighted squared differences at the five depths, each ``(1, 1, h, w)`` in its own size."""
        x = (torch.cat([image, reference]) * 2 - 1 - self.shift) / self.scale
        found = []
        for depth, stage in enumerate(STAGES):
            if depth:
                x = F.max_pool2d(x, 2, 2)
            for place in stage:
                x = F.relu(F.conv2d(x, getattr(self, f"weight{place}"), getattr(self, f"bias{place}"), padding=1))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON)
            difference = (unit[:1] - unit[1:]).square()
            found.append(F.conv2d(difference, getattr(self, f"lin{depth}")))
        return found


def load_lpips(folder: Path, *, device: str = "cpu") -> LpipsVgg:
    """LPIPS from the verified part ``lpips-vgg``.

    Raises:
        WeightsError: The files do not hold its weights.
    """
    try:
        model = LpipsVgg(load_file(folder / "vgg16.safetensors"), load_file(folder / "lin.safetensors"))
    except (SafetensorError, OSError, KeyError) as error:
        raise WeightsError(
            f"Expected VGG-16 and its LPIPS weights, found something else ({error}).", path=folder
        ) from error
    return model.to(device).eval()
