"""Fusion of head and background in the feature domain (eq. 9-11 of arXiv 2603.23168)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def fuse(
    foreground: Float[Tensor, "c h w"],
    alpha: Float[Tensor, "h w"],
    background: Float[Tensor, "c h w"],
    head: Float[Tensor, "h w"],
) -> Float[Tensor, "c h w"]:
    """Put the splatted head over the background, inside the head mask.

    A rasteriser returns features already multiplied by alpha, so eq. 11 as printed would multiply twice and leave a
    dark halo of fg * A * (1 - A). With M_fore = A * M_head (eq. 9; a product lets gradients flow) the composite is::

        M_head * foreground + (1 - A * M_head) * background

    which is eq. 11 for the un-premultiplied foreground.

    Args:
        foreground: phi_fore, premultiplied by ``alpha``.
        alpha: A in [0, 1].
        background: phi_bg.
        head: M_head in [0, 1]: where the head may appear.
    """
    return head * foreground + (1 - alpha * head) * background
