"""The dynamic portrait as one module: field, splatting, fusion, rerenderer (eq. 7-12 of arXiv 2603.23168)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gswap.field.binding import Binding, bind
from gswap.field.field import FEATURES, Field, Gaussians
from gswap.field.geometry import PosedSurface
from gswap.field.surface import Surface, head_surface
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyShape, BodyTrack, Camera
from gswap.portrait.config import FitConfig
from gswap.rerender.fused import can_fuse, rerender
from gswap.rerender.fusion import fuse
from gswap.rerender.networks import BackgroundEncoder, Rerenderer


class View(NamedTuple):
    """Where the portrait is seen, and over what."""

    plate: Float[Tensor, "1 3 h w"]
    gate: Float[Tensor, "h w"]
    """M_head."""
    camera: Camera


class Rendering(NamedTuple):
    """What the portrait looks like."""

    image: Float[Tensor, "1 3 h w"]
    """I_out, not clamped."""
    features: Float[Tensor, "8 h w"]
    """phi_fore, premultiplied; the first three channels are RGB."""
    alpha: Float[Tensor, "h w"]
    """A."""


class PortraitModel(nn.Module):
    """Field, background encoder and rerenderer with all their parameters."""

    def __init__(self, surface: Surface, binding: Binding, frames: int, cfg: FitConfig) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cfg.seed)
            self.field = Field(
                surface,
                binding,
                frames,
                temporal=cfg.temporal,
                opacity=cfg.opacity,
                appearance=cfg.appearance,
                after_skinning=cfg.delta_after_skinning,
                channels=cfg.splat_channels,
                expressions=cfg.expressions,
            )
            self.printed_fusion = cfg.printed_fusion
            self.encoder = self.rerenderer = None
            if cfg.rerender:
                self.encoder = BackgroundEncoder(paper_literal=cfg.paper_literal)
                noise = torch.Generator().manual_seed(cfg.seed)
                self.rerenderer = Rerenderer(paper_literal=cfg.paper_literal, generator=noise)

    def forward(
        self,
        posed: PosedSurface,
        view: View,
        rasterize: Rasterizer,
        *,
        condition: Float[Tensor, "8"] | None = None,
        correction: Float[Tensor, "6"] | None = None,
    ) -> Rendering:
        """Render one frame."""
        gaussians: Gaussians = self.field(posed, condition, correction)
        features, alpha = rasterize(*gaussians, view.camera)
        return Rendering(self.composite(features, alpha, view), features, alpha)

    def composite(
        self, features: Float[Tensor, "c h w"], alpha: Float[Tensor, "h w"], view: View
    ) -> Float[Tensor, "1 3 h w"]:
        """phi_fore over the plate, decoded to RGB (eq. 9-12); channels beyond the eighth are spare."""
        features = features[:FEATURES]
        if self.printed_fusion:  # eq. 11 multiplies by M_fore what the rasteriser has multiplied by alpha already
            features = features * alpha
        if self.encoder is None or self.rerenderer is None:
            return fuse(features[None, :3], alpha, view.plate, view.gate)
        assert features.shape[0] == FEATURES
        if can_fuse(features):
            return rerender(self.encoder, self.rerenderer, features, alpha, view.plate, view.gate)
        fused = fuse(features[None], alpha, self.encoder(view.plate), view.gate)
        return self.rerenderer(fused.contiguous(memory_format=torch.channels_last))


@dataclass(frozen=True)
class Portrait:
    """A fitted person, ready to be driven: what :mod:`gswap.portrait.io` writes to a file."""

    network: PortraitModel
    surface: Surface
    binding: Binding
    shape: BodyShape
    cfg: FitConfig
    visits: Int[np.ndarray, "t"]
    """How often the fit saw each frame of the clip it was fitted on."""
    track_digest: str
    """Of the track it was fitted on: pose corrections belong to that one alone."""


def build_portrait(
    model: BodyModel, drive: BodyTrack, binding: Binding | None, texels: int, cfg: FitConfig
) -> Portrait:
    """A portrait that has seen nothing yet.

    Args:
        model: The body.
        drive: The track it will be fitted on.
        binding: Where the Gaussians are; ``None`` = by the UV map.
        texels: Side of the UV map.
        cfg: Its configuration.
    """
    surface = head_surface(model, drive.shape, upper_body=cfg.region == "upper-body")
    if binding is None:
        binding = bind(surface, texels, samples_per_eye_face=cfg.samples_per_eye_face, seed=cfg.seed)
    network = PortraitModel(surface, binding, len(drive), cfg)
    visits = np.zeros(len(drive), np.int64)
    return Portrait(network, surface, binding, drive.shape, cfg, visits, track_digest(drive))


def track_digest(track: BodyTrack) -> str:
    """SHA-256 over shape and motion of a track; which of its frames are used does not count."""
    digest = hashlib.sha256(track.shape.model.encode())
    motion = (track.focal, track.rotation, track.translation, track.neck, track.eyes, track.actions)
    for array in (track.shape.coefficients, track.shape.offsets, *motion):
        digest.update(np.ascontiguousarray(array).tobytes())
    if track.moves is not None:
        digest.update(np.ascontiguousarray(track.moves).tobytes())
    return digest.hexdigest()
