"""Learn a head from a few photos: DreamBooth on the generator's UNet, with the ControlNet frozen in the loop.

The photo's own face drawing explains its pose and expression to the ControlNet, so that the trained weights have to
explain only what the drawing does not: identity, hair, skin. The prompt is the mean identity vector of the photos.

Every step's randomness is a function of the seed and the step's number, and a checkpoint holds every trained tensor
with its optimiser state: a training that is stopped and continued gives the same bytes as one that is not.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from gswap.foundation.errors import InputError
from gswap.foundation.store import read_arrays, write_arrays, write_bytes, write_json
from gswap.foundation.types import Progress, RgbImage, no_progress
from gswap.swap.diffusion.config import MOST_PHOTOS, AdaptConfig
from gswap.swap.diffusion.drawings import DrawHint, draw_mediapipe_face
from gswap.swap.diffusion.models import ADAPTER, ADAPTER_FORMAT, Generator, add_adapter, library
from gswap.swap.diffusion.sample import predict
from gswap.swap.framing import Framing
from gswap.swap.sources import LossWeights, SourcePicture, loss_weight, training_picture

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
CURVE = "curve.json"
CURVE_POINTS = 50
"""The loss is reported as the mean over this many equal stretches of the training."""
GRADIENT_LIMIT = 1.0
"""Longest gradient, as in diffusers' DreamBooth."""

Validate = Callable[[], float]
"""Identity (cosine to the photos) of a few pictures painted with the UNet as it is now."""


@dataclass(frozen=True)
class Variants:
    """The encoded versions of the photos that the training draws from."""

    latents: Float[Tensor, "n c h w"]
    hints: Float[Tensor, "n c2 h w"]
    weight: Float[Tensor, "n 1 h w"]
    """Mean 1 over each picture."""


@dataclass(frozen=True)
class AdaptResult:
    """What the training did."""

    steps: int
    """Steps that were taken; less than planned after an early stop."""
    losses: tuple[float, ...]
    """Mean loss over equal stretches of the planned training, for the report."""
    identities: tuple[float, ...]
    """One per validation."""
    optimizer: str = ""
    """Which one it was: the 8-bit one is not installed everywhere."""


@dataclass
class _State:
    """Where a training stands."""

    step: int
    losses: list[float]
    identities: list[float]
    best: int = -1
    """Validation with the best identity."""

    @property
    def waited(self) -> int:
        return len(self.identities) - 1 - self.best


def encode_variants(
    generator: Generator,
    sources: Sequence[SourcePicture],
    background: RgbImage,
    cfg: AdaptConfig,
    seed: int,
    draw: DrawHint = draw_mediapipe_face,
) -> Variants:
    """Encode shifted, scaled and tinted versions of the photos once; the VAE is not in the training loop.

    The first version of every photo is the photo as it is.

    Args:
        generator: The networks.
        sources: The photos, at most twelve.
        background: The target's background in the generator's size.
        cfg: How much the versions differ.
        seed: Of the versions.
        draw: Makes the ControlNet's picture of a face.

    Raises:
        InputError: There is no photo, or there are too many.
    """
    if not 1 <= len(sources) <= MOST_PHOTOS:
        raise InputError(f"Expected 1 to {MOST_PHOTOS} photos to learn from, found {len(sources)}.")
    random = np.random.default_rng(seed)
    size = background.shape[0]
    weights = LossWeights(cfg.weight_background, cfg.weight_clothes)
    latents, hints, masks = [], [], []
    for source in sources:
        for version in range(max(1, cfg.variants)):
            framing, tint = source.framing, np.ones(3, np.float32)
            if version:
                framing, tint = _jitter(framing, random, cfg)
            behind = background if cfg.paste_background else None
            picture = training_picture(source, framing, size, behind).astype(np.float32) * tint
            hint = draw(framing.to_picture(source.landmarks, size), size)
            image = generator.to_tensor([np.round(picture).clip(0, 255).astype(np.uint8)])
            latents.append(generator.encode(image * 2 - 1))
            hints.append(generator.encode_hints(generator.to_tensor([hint])))
            masks.append(loss_weight(source, framing, size, weights))
    stacked = torch.cat(latents)
    weight = F.interpolate(torch.from_numpy(np.stack(masks))[:, None], size=stacked.shape[-2:], mode="area")
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    return Variants(stacked, torch.cat(hints), weight.to(generator.device))


def _jitter(framing: Framing, random: np.random.Generator, cfg: AdaptConfig) -> tuple[Framing, np.ndarray]:
    dx, dy, grow = random.uniform(-cfg.scale, cfg.scale, 3)
    tint = (1 + random.uniform(-cfg.tint, cfg.tint, 3)).astype(np.float32)
    side = framing.side
    return Framing(framing.x + dx * side, framing.y + dy * side, side * (1 + grow)), tint


def adapt(
    generator: Generator,
    variants: Variants,
    identity: Float[np.ndarray, "d"],
    cfg: AdaptConfig,
    *,
    steps: int,
    seed: int,
    folder: Path,
    validate: Validate | None = None,
    progress: Progress = no_progress,
) -> AdaptResult:
    """Train, or continue to train, and leave the best state in ``folder / BEST``.

    Args:
        generator: The networks; the UNet is changed.
        variants: The encoded photos.
        identity: Mean identity vector of the photos.
        cfg: The training.
        steps: How many steps.
        seed: Of the weights' start, the noise and the order of the pictures.
        folder: Where checkpoints are kept and found again.
        validate: Measures the identity; without it the last state is the best.
        progress: Told after every step.
    """
    trained = _make_trainable(generator, cfg, seed)
    optimizer = _optimizer(trained, cfg)
    state = _resume(folder / CHECKPOINT, trained, optimizer)
    prompts = torch.cat([generator.null_prompt(), generator.prompt(identity)])
    generator.unet.train()
    while state.step < steps and state.waited < cfg.patience:
        state.losses.append(_step(generator, variants, prompts, optimizer, cfg, seed, state.step))
        state.step += 1
        if validate is not None and cfg.validate_every and state.step % cfg.validate_every == 0:
            generator.unet.eval()
            _judge(generator, trained, cfg, state, validate(), folder)
            generator.unet.train()
        if state.step % cfg.checkpoint_every == 0:
            _write_checkpoint(folder / CHECKPOINT, trained, optimizer, state)
        progress(state.step, steps, f"loss {np.mean(state.losses[-50:]):.4f}")
    generator.unet.eval()
    if state.best < 0:
        _write_adapter(generator, trained, cfg, folder / BEST)
    name = type(optimizer).__name__
    result = AdaptResult(state.step, _curve(state.losses, steps), tuple(state.identities), name)
    told = {"loss": result.losses, "identity": result.identities, "steps": result.steps, "optimizer": name}
    write_json(folder / CURVE, told)
    return result


# ---------------------------------------------------------------- one step
def _step(
    generator: Generator, data: Variants, prompts: Tensor, optimizer: Any, cfg: AdaptConfig, seed: int, step: int
) -> float:
    """One optimiser step; returns its loss."""
    random = torch.Generator().manual_seed(seed * 7_919 + step)
    picked = torch.randint(len(data.latents), (cfg.batch,), generator=random)
    levels = torch.randint(generator.schedule.config.num_train_timesteps, (cfg.batch,), generator=random)
    noise = torch.randn((cfg.batch, *data.latents.shape[1:]), generator=random).to(generator.device)
    drop_hint, drop_identity = torch.rand(2, generator=random).tolist()

    latents, weight = data.latents[picked], data.weight[picked]
    noisy = generator.schedule.add_noise(latents, noise, levels.to(generator.device))
    hints = None if drop_hint < cfg.drop_hint else data.hints[picked]
    prompt = prompts[0 if drop_identity < cfg.drop_identity else 1].expand(cfg.batch, -1, -1)
    with torch.autocast(generator.device.type, torch.bfloat16, enabled=generator.device.type == "cuda"):
        found = predict(generator, noisy, levels.to(generator.device), prompt.to(generator.dtype), hints)
    error = (weight * (found - noise) ** 2).mean((1, 2, 3))
    loss = (error * _level_weight(generator.schedule, levels, cfg.snr_gamma).to(error.device)).mean()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_LIMIT)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _level_weight(schedule: Any, levels: Tensor, gamma: float) -> Float[Tensor, "b"]:
    """min(SNR, gamma) / SNR: noise prediction overweights the faint noise levels (arXiv 2303.09556, Sec. 3.4)."""
    if gamma <= 0:
        return torch.ones(len(levels))
    kept = schedule.alphas_cumprod[levels]
    snr = kept / (1 - kept)
    return snr.clamp(max=gamma) / snr


# ---------------------------------------------------------------- what is trained
def _make_trainable(generator: Generator, cfg: AdaptConfig, seed: int) -> dict[str, torch.nn.Parameter]:
    """Switch on the gradients of what is trained, in float32; returns it by name."""
    unet = generator.unet
    if cfg.method == "full":
        unet.requires_grad_(True)
        if cfg.low_memory:
            unet.enable_gradient_checkpointing()
    else:
        add_adapter(unet, cfg.rank, seed)
    trained = {name: p for name, p in unet.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.data = parameter.data.float()
    return trained


def _optimizer(trained: dict[str, torch.nn.Parameter], cfg: AdaptConfig) -> Any:
    parameters = list(trained.values())
    return optimizer_class(cfg, cuda=parameters[0].is_cuda)(parameters, lr=cfg.learning_rate())


def optimizer_class(cfg: AdaptConfig, *, cuda: bool) -> Any:
    """AdamW; its 8-bit form for a whole UNet on CUDA where bitsandbytes is installed. The report names it."""
    if cfg.method == "full" and cfg.low_memory and cuda:
        try:
            return importlib.import_module("bitsandbytes.optim").AdamW8bit
        except ImportError:
            pass
    return torch.optim.AdamW


# ---------------------------------------------------------------- validation, checkpoints
def _judge(
    generator: Generator,
    trained: dict[str, torch.nn.Parameter],
    cfg: AdaptConfig,
    state: _State,
    identity: float,
    folder: Path,
) -> None:
    """Note a validation; keep the state if it is the best so far."""
    state.identities.append(identity)
    so_far = state.identities[state.best] if state.best >= 0 else -math.inf
    if identity > so_far + cfg.least_gain:
        state.best = len(state.identities) - 1
        _write_adapter(generator, trained, cfg, folder / BEST)


def _write_adapter(generator: Generator, trained: dict[str, torch.nn.Parameter], cfg: AdaptConfig, path: Path) -> None:
    """Store what was learnt for :func:`gswap.swap.diffusion.models.merge_adapter`."""
    if cfg.method == "full":
        learnt = {name: p.detach() for name, p in trained.items()}
        kind = "full"
    else:
        learnt = library("peft").get_peft_model_state_dict(generator.unet, adapter_name=ADAPTER)
        kind = f"lora {cfg.rank}"
    tensors = {name: t.cpu().contiguous() for name, t in sorted(learnt.items())}
    write_bytes(path, save(tensors, metadata={ADAPTER_FORMAT: kind}))  # one entry only: their order is not fixed


def _write_checkpoint(path: Path, trained: dict[str, torch.nn.Parameter], optimizer: Any, state: _State) -> None:
    arrays = {f"weight/{name}": p.detach().cpu().numpy() for name, p in trained.items()}
    numbers: dict[str, float] = {}
    for index, slots in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{index}/{k}": v.cpu().numpy() for k, v in slots.items() if isinstance(v, Tensor)}
        numbers |= {f"{index}/{k}": v for k, v in slots.items() if isinstance(v, (int, float))}
    meta = {"step": state.step, "losses": state.losses, "identities": state.identities, "best": state.best}
    meta["numbers"] = numbers
    write_arrays(path, arrays, meta)


def _resume(path: Path, trained: dict[str, torch.nn.Parameter], optimizer: Any) -> _State:
    """The state to go on from: the checkpoint's, or the beginning."""
    if not path.exists():
        return _State(0, [], [])
    arrays, meta = read_arrays(path)
    slots: dict[int, dict[str, Any]] = {}
    for name, number in meta["numbers"].items():  # 8-bit Adam counts its steps in a plain number
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = number
    with torch.no_grad():
        for name, value in arrays.items():
            kind, rest = name.split("/", 1)
            if kind == "weight":
                trained[rest].copy_(torch.from_numpy(value))
            else:
                index, slot = rest.split("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value.copy())
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return _State(meta["step"], meta["losses"], meta["identities"], meta["best"])


def _curve(losses: list[float], steps: int) -> tuple[float, ...]:
    """Means over equal stretches of the planned training."""
    length = max(1, math.ceil(steps / CURVE_POINTS))
    parts = [losses[i : i + length] for i in range(0, len(losses), length)]
    return tuple(round(float(np.mean(part)), 6) for part in parts)
