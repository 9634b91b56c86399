"""Eq. 10-12 in one pass over the image: encoder, fusion and rerenderer without an intermediate picture.

For inference on the CPU. The same numbers as :mod:`gswap.rerender.networks` and :func:`gswap.rerender.fusion.fuse`
to 1e-5; no gradients.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gswap.rerender.networks import BackgroundEncoder, Rerenderer

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # no wheel for this platform and no compiler at install time
    _native = None


def can_fuse(features: Float[Tensor, "8 h w"]) -> bool:
    """Whether :func:`rerender` can take these features: float32 on the CPU, no gradient wanted, kernel built."""
    plain = features.dtype == torch.float32 and features.device.type == "cpu"
    return _native is not None and plain and not torch.is_grad_enabled()


def rerender(
    encoder: BackgroundEncoder,
    rerenderer: Rerenderer,
    features: Float[Tensor, "8 h w"],
    alpha: Float[Tensor, "h w"],
    plate: Float[Tensor, "1 3 h w"],
    head: Float[Tensor, "h w"],
    *,
    shares: dict[str, float] | None = None,
) -> Float[Tensor, "1 3 h w"]:
    """``rerenderer(fuse(features, alpha, encoder(plate), head))``.

    Args:
        encoder: E_bg.
        rerenderer: U.
        features: phi_fore, premultiplied by ``alpha``.
        alpha: A in [0, 1].
        plate: The background, RGB in [0, 1].
        head: M_head in [0, 1].
        shares: Receives the seconds spent in ``encoder``, ``fusion`` and ``rerenderer``, all threads together.
    """
    layers = [encoder.first, encoder.second, *rerenderer.layers]
    weights, biases = [], []
    for layer in layers:
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        weights.append(layer.weight.detach().contiguous())
        biases.append(layer.bias.detach())
    weights[0] = weights[0][:, :3].contiguous()  # paper_literal pads the plate with zeros: those weights do nothing
    planes = (x.contiguous() for x in (plate[0], features, alpha, head))
    return _native.fuse_and_rerender(*planes, weights, biases, rerenderer.paper_literal, shares)[None]  # type: ignore[union-attr]
