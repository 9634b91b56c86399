"""Training losses (eq. 13-16 of arXiv 2603.23168), with a cheap stand-in for LPIPS and per-pixel confidence."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gswap.field.field import Field
from gswap.field.regularise import (
    MeshLaplacian,
    Neighbours,
    feature_tether,
    offset_unseen,
    opacity_tether,
    scale_tether,
    squared_norm,
)
from gswap.portrait.config import FitConfig
from gswap.portrait.frames import TrainingFrame
from gswap.portrait.model import Rendering

Image = Float[Tensor, "1 3 h w"]
Map = Float[Tensor, "h w"]


class PerceptualLoss(Protocol):
    """LPIPS or a relative: two images in [0, 1] -> a number."""

    def __call__(self, image: Tensor, reference: Tensor, /) -> Tensor:
        """Distance of ``image`` from ``reference``."""
        ...


class Losses(NamedTuple):
    """The terms of one step, not yet weighted."""

    reconstruction: Tensor
    mask: Tensor
    gradient: Tensor
    ssim: Tensor
    background: Tensor
    auxiliary: Tensor

    def total(self, cfg: FitConfig) -> Float[Tensor, ""]:
        """Eq. 16."""
        return (
            self.reconstruction
            + cfg.weight_mask * self.mask
            + cfg.weight_gradient * self.gradient
            + cfg.weight_ssim * self.ssim
            + cfg.weight_background * self.background
            + cfg.weight_auxiliary * self.auxiliary
        )


def image_losses(rendering: Rendering, frame: TrainingFrame) -> Losses:
    """All terms that look at pixels."""
    image = rendering.image.contiguous()
    truth = frame.image.contiguous()
    visible = 1 - rendering.alpha * frame.gate
    # I_gen was composited over the plate, so what the head added to it is known exactly: M F = I - (1 - M) plate.
    added = truth[0] - (1 - frame.matte) * frame.plate[0].contiguous()
    trusted = frame.weight * frame.mask_weight
    return Losses(
        reconstruction=((image - truth).abs() * frame.weight).mean(),
        mask=((rendering.alpha - frame.matte).abs() * frame.mask_weight).mean(),
        gradient=gradient_loss(image, truth, frame.weight),
        ssim=ssim_loss(image, truth, frame.weight),
        background=background_loss(image, truth, visible, frame.outside),
        auxiliary=((rendering.features[:3] - added).abs() * trusted).mean(),
    )


def background_loss(image: Image, target: Image, visible: Map, outside: Map) -> Float[Tensor, ""]:
    """Eq. 15, restricted to where I_gen and I_tgt are the same picture.

    As printed it would pull the old head back in wherever the new one is smaller.

    Args:
        image: I_out.
        target: I_tgt (outside M_inp).
        visible: 1 - M_fore.
        outside: 1 outside M_inp and a margin, 0 inside.
    """
    return ((image - target).abs() * (visible * outside)).mean()


def gradient_loss(image: Image, reference: Image, weight: Map, levels: int = 3) -> Float[Tensor, ""]:
    """L1 distance of image gradients, at ``levels`` octaves."""
    difference, weight = image - reference, weight[None, None]
    total = image.new_zeros(())
    for level in range(levels):
        if level:
            difference, weight = F.avg_pool2d(difference, 2), F.avg_pool2d(weight, 2)
        across = (difference[..., 1:] - difference[..., :-1]).abs() * weight[..., 1:]
        down = (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weight[..., 1:, :]
        total = total + across.mean() + down.mean()
    return total / levels


def ssim_loss(image: Image, reference: Image, weight: Map) -> Float[Tensor, ""]:
    """1 - SSIM of windows of 8x8 pixels, four pixels apart (far cheaper than dense ones)."""
    a, b = image, reference
    mean_a, aa, ab = _windows(torch.cat([a, a * a, a * b], 1)).split(3, 1)
    mean_b, bb = _windows(torch.cat([b, b * b], 1)).split(3, 1)
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
    return ((1 - luminance * structure) * _windows(weight[None, None])).mean()


def _windows(image: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c y x"]:
    """Means of windows of 8x8 pixels, four pixels apart: each is four of the 4x4 blocks that share no pixel."""
    return F.avg_pool2d(F.avg_pool2d(image, 4), 2, 1)


def field_losses(field: Field, laplacian: MeshLaplacian, neighbours: Neighbours, cfg: FitConfig) -> Float[Tensor, ""]:
    """The weighted regularisers."""
    total = cfg.weight_scale * scale_tether(field) + cfg.weight_condition * field.condition.square().mean()
    total = total + cfg.weight_features * feature_tether(field) + cfg.weight_opacity * opacity_tether(field)
    if cfg.vertex_offsets:
        # What no frame shows goes on from what is seen: very smooth, and hardly drawn back to where it began.
        learned, hold = field.delta - field.initial_delta, neighbours.vertex_hold(field).sqrt()
        total = total + cfg.weight_delta_laplacian * squared_norm(hold * laplacian(learned))
        total = total + cfg.weight_delta * squared_norm(learned / hold)
        total = total + cfg.weight_delta_depth * learned[:, 2].square().mean()
    if cfg.offsets:
        total = total + cfg.weight_offset * squared_norm(field.offset)
        total = total + cfg.weight_offset_unseen * offset_unseen(field)
        total = total + cfg.weight_offset_roughness * neighbours.roughness(field)
    if cfg.correct_pose:
        total = total + cfg.weight_correction * squared_norm(field.correction)
    return total


def mode_losses(field: Field, laplacian: MeshLaplacian, cfg: FitConfig) -> Float[Tensor, ""]:
    """The weighted regularisers of what changes with the expression: as dM's own, and small features."""
    shapes = field.delta_modes.transpose(0, 1).flatten(1)
    total = cfg.weight_delta_laplacian * squared_norm(laplacian(shapes)) + cfg.weight_delta * squared_norm(shapes)
    return total + cfg.weight_feature_modes * (field.hold * field.feature_modes.square()).mean()
