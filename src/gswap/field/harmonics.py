"""Real spherical harmonics up to degree two: colour by direction, as explicit Gaussian splatting has it.

For the ablation of neural features (Fig. 14): a Gaussian is coloured by 9 coefficients per channel instead of carrying
features that a network decodes. The constant term is the colour itself, so fields of both kinds start alike.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

TERMS = 8
"""Functions of degree one and two; the constant one is not among them."""
_FIRST = 0.4886025119
_SECOND = (1.0925484306, 0.3153915653, 0.5462742153)


def harmonics(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 8"]:
    """The orthonormal functions of degree one and two at unit vectors."""
    x, y, z = directions.unbind(-1)
    xy, bare, half = _SECOND
    return torch.stack(
        [
            _FIRST * y,
            _FIRST * z,
            _FIRST * x,
            xy * x * y,
            xy * y * z,
            bare * (3 * z * z - 1),
            xy * x * z,
            half * (x * x - y * y),
        ],
        -1,
    )
