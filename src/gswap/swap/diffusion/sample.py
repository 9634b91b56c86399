"""Inpaint heads with Stable Diffusion and a ControlNet (Sec. III-B), in batches and with one noise for all frames.

The known part of the picture is put back at every step with the noise of that step (RePaint-like, as diffusers'
inpainting with a four-channel UNet does), and the untouched pixels are never the decoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gswap.foundation.imaging import blur
from gswap.foundation.types import RgbImage
from gswap.swap.diffusion.config import SampleConfig, Sampler
from gswap.swap.diffusion.models import Generator, library
from gswap.swap.framing import Framing

SAMPLERS: dict[Sampler, str] = {
    "dpm": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
}
SEED_STRIDE = 1_000_003
"""Attempts of one frame use seeds this far apart."""


@dataclass(frozen=True)
class Canvas:
    """One picture to paint: what is there, where to paint, and the wanted face. All ``side`` pixels square."""

    scene: RgbImage
    """The frame; inside the mask, what to begin with where the painting does not begin with pure noise."""
    area: Bool[np.ndarray, "s s"]
    hint: RgbImage


def make_sampler(schedule: Any, kind: Sampler) -> Any:
    """A sampler with the generator's noise schedule."""
    return getattr(library("diffusers"), SAMPLERS[kind]).from_config(schedule.config)


def frame_noise(generator: Generator, side: int, seed: int) -> Float[Tensor, "1 c h w"]:
    """The noise that all frames of a clip begin with; made on the CPU, so that every device begins alike."""
    latent = side // generator.latent_factor
    shape = (1, generator.unet.config.in_channels, latent, latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(generator.device)


@torch.no_grad()
def paint(
    generator: Generator,
    canvases: Sequence[Canvas],
    identity: Float[np.ndarray, "d"],
    cfg: SampleConfig,
    seed: int,
) -> list[RgbImage]:
    """Paint a batch. Each result is a function of its canvas, the seed and the size of the batch.

    Args:
        generator: The networks.
        canvases: The pictures.
        identity: Whose head.
        cfg: How.
        seed: Of the noise, the same for every picture.

    Returns:
        The whole pictures as decoded; :func:`put_back` takes what is inside the area.
    """
    known = generator.encode(generator.to_tensor([c.scene for c in canvases]) * 2 - 1)
    areas = np.stack([c.area for c in canvases])
    hints = generator.encode_hints(generator.to_tensor([c.hint for c in canvases]))
    wish = Wish(generator.prompt(identity), generator.null_prompt(), hints)
    return generator.pictures(denoise(generator, known, areas, wish, cfg, seed))


@dataclass(frozen=True)
class Wish:
    """What a batch is to show."""

    prompt: Float[Tensor, "1 n c"]
    against: Float[Tensor, "1 n c"]
    """The prompt that guidance leads away from."""
    hints: Float[Tensor, "b c h w"] | None = None
    """Drawings, encoded (``Generator.encode_hints``); ``None`` = the UNet alone."""


@torch.no_grad()
def denoise(
    generator: Generator,
    known: Float[Tensor, "b c h w"],
    areas: Bool[np.ndarray, "b s s"],
    wish: Wish,
    cfg: SampleConfig,
    seed: int,
) -> Float[Tensor, "b c h w"]:
    """Paint inside some areas of known latents, with one noise for the whole batch.

    Args:
        generator: The networks.
        known: The scenes.
        areas: Where to paint, in pixels.
        wish: What to paint.
        cfg: How.
        seed: Of the noise.
    """
    count = len(known)
    mask = torch.from_numpy(areas).to(generator.device)
    area = F.interpolate(mask[:, None].float(), size=known.shape[-2:])
    noise = frame_noise(generator, areas.shape[-1], seed).expand_as(known)
    sampler = make_sampler(generator.schedule, cfg.sampler)
    sampler.set_timesteps(cfg.step_count(), device=generator.device)
    steps, latents = _begin(sampler, known, noise, cfg)
    guided = cfg.scale_of_guidance() > 1
    prompts = [wish.against, wish.prompt] if guided else [wish.prompt]
    prompt = torch.cat([p.expand(count, -1, -1) for p in prompts]).to(generator.dtype)
    hints = None if wish.hints is None else wish.hints.repeat(len(prompts), 1, 1, 1)
    for i, step in enumerate(steps):
        doubled = sampler.scale_model_input(latents.repeat(len(prompts), 1, 1, 1), step)
        predicted = predict(generator, doubled, step, prompt, hints, cfg.hint_scale)
        if guided:
            without, wished = predicted.chunk(2)
            predicted = without + cfg.guidance * (wished - without)
        latents = sampler.step(predicted, step, latents, **_same_noise(cfg.sampler, seed, i, count, known.device))[0]
        behind = known
        if i < len(steps) - 1:
            behind = sampler.add_noise(known, noise, steps[i + 1 : i + 2])
        latents = (1 - area) * behind + area * latents
    return latents


def predict(
    generator: Generator, latents: Tensor, step: Tensor, prompt: Tensor, hints: Tensor | None, hint_scale: float = 1.0
) -> Float[Tensor, "b c h w"]:
    """The noise in the latents, with or without a face drawing (encoded by ``Generator.encode_hints``)."""
    latents = latents.to(generator.dtype)
    residuals: dict[str, Any] = {}
    if hints is not None:
        down, mid = generator.controlnet(
            latents,
            step,
            encoder_hidden_states=prompt,
            controlnet_cond=hints,
            conditioning_scale=hint_scale,
            return_dict=False,
        )
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    # A UNet that is trained as a whole is float32, whatever the precision of the others.
    in_training = generator.unet.dtype != generator.dtype
    with torch.autocast(generator.device.type, generator.dtype) if in_training else nullcontext():
        return generator.unet(latents, step, encoder_hidden_states=prompt, return_dict=False, **residuals)[0].float()


def _begin(sampler: Any, known: Tensor, noise: Tensor, cfg: SampleConfig) -> tuple[Tensor, Tensor]:
    """Time steps and first latents: pure noise, or the scene under the noise of the first step."""
    if cfg.start == "noise":
        return sampler.timesteps, noise * sampler.init_noise_sigma
    run = max(1, round(cfg.step_count() * min(cfg.strength, 1.0)))
    first = len(sampler.timesteps) - run
    sampler.set_begin_index(first)
    steps = sampler.timesteps[first:]
    return steps, sampler.add_noise(known, noise, steps[:1])


def _same_noise(kind: Sampler, seed: int, step: int, count: int, device: torch.device) -> dict[str, Any]:
    """LCM adds noise at every step: the same for all frames."""
    if kind != "lcm":
        return {}
    return {"generator": [torch.Generator(device).manual_seed(seed + 1 + step) for _ in range(count)]}


def put_back(
    frame: RgbImage, picture: RgbImage, framing: Framing, area: Bool[np.ndarray, "h w"], feather: float
) -> RgbImage:
    """The painted picture in its frame. Outside ``area`` the frame keeps its bits.

    Args:
        frame: The target's frame (its window).
        picture: What was painted.
        framing: Where the picture lies in the frame.
        area: M_inp in the frame.
        feather: Gaussian edge inside the area, pixels of the frame.
    """
    height, width = area.shape
    painted = framing.put_back(picture, width, height).astype(np.float32)
    weight = edge_weight(area, feather)[..., None]
    mixed = np.round(weight * painted + (1 - weight) * frame).clip(0, 255).astype(np.uint8)
    return np.where(area[..., None], mixed, frame)


def edge_weight(area: Bool[np.ndarray, "h w"], feather: float) -> Float[np.ndarray, "h w"]:
    """1 deep inside an area, falling to 0 at its border and exactly 0 outside."""
    soft = blur(area.astype(np.float32), feather)
    return np.where(area, np.clip(2 * soft - 1, 0, 1), 0).astype(np.float32)
