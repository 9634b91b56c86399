"""Background encoder E_bg (eq. 10) and neural rerenderer U (eq. 12). arXiv 2603.23168, Sec. III-C2 and IV-A.

Channels 0-2 of every feature map are RGB in [0, 1], so that foreground and background mean the same by them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEATURES = 8
LATENT = 5
WEIGHT_NOISE = 0.02
"""Standard deviation added to the identity that the rerenderer starts from, to break its symmetry."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class BackgroundEncoder(nn.Module):
    """RGB -> eight channels: RGB itself and five learned ones (two 3x3 convolutions, 3-8-5).

    Args:
        paper_literal: Pad RGB with zeros to the printed eight input channels: the same function, more weights.
    """

    def __init__(self, *, paper_literal: bool = False) -> None:
        super().__init__()
        self.inputs = FEATURES if paper_literal else 3
        self.first, self.second = _conv(self.inputs, FEATURES), _conv(FEATURES, LATENT)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 8 h w"]:
        """Encode an image in [0, 1]."""
        padded = F.pad(rgb, (0, 0, 0, 0, 0, self.inputs - 3)) if self.inputs > 3 else rgb
        return torch.cat([rgb, F.relu(self.second(F.relu(self.first(padded))))], 1)


class Rerenderer(nn.Module):
    """Fused features -> RGB: three 3x3 convolutions, 8-8-8-3, that start as the identity on RGB.

    The last ReLU is the paper's; without it (default) an output channel can never die. Output is not clamped.

    Args:
        paper_literal: Keep the ReLU after the last convolution.
        generator: Source of the noise on the initial weights; ``None`` = no noise, an exact identity.
    """

    def __init__(self, *, paper_literal: bool = False, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.paper_literal = paper_literal
        self.layers = nn.ModuleList([_conv(FEATURES, FEATURES), _conv(FEATURES, FEATURES), _conv(FEATURES, 3)])
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
            if generator is not None:
                with torch.no_grad():
                    layer.weight += torch.randn(layer.weight.shape, generator=generator) * WEIGHT_NOISE
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: Float[Tensor, "b 8 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Decode a fused feature map."""
        first, second, last = self.layers
        out = last(F.relu(second(F.relu(first(features)))))
        return F.relu(out) if self.paper_literal else out
