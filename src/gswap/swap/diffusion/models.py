"""The generator's networks, loaded from the folders in which their makers publish them. Nothing is fetched here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from gswap.foundation.errors import ConfigError, MissingExtraError
from gswap.foundation.types import RgbImage
from gswap.swap.diffusion.conditions import EMPTY_PROMPT, identity_prompt, text_prompt

EXTRA = "diffusion"
ADAPTER = "photos"
"""Name of the low-rank adapters that the photos are learnt with."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""Layers that get adapters: the projections of every attention."""
ADAPTER_FORMAT = "gswap.adapter"


@dataclass(frozen=True)
class GeneratorFolders:
    """Where the parts lie, each in its publisher's layout (``config.json`` beside safetensors)."""

    unet: Path
    """Arc2Face's UNet."""
    text_encoder: Path
    """Arc2Face's CLIP text encoder."""
    controlnet: Path
    """A Stable Diffusion 1.5 ControlNet for face drawings."""
    vae: Path
    tokenizer: Path
    scheduler: Path
    fast: Path | None = None
    """The LCM adapter (one safetensors file), for the sampler ``lcm``."""


@dataclass(frozen=True)
class BaseFolders:
    """Where Stable Diffusion 1.5 itself lies, which understands words."""

    unet: Path
    text_encoder: Path
    vae: Path
    tokenizer: Path
    scheduler: Path


@dataclass
class Generator:
    """The networks on their device."""

    unet: Any
    controlnet: Any
    """``None`` where nothing is drawn for the UNet."""
    hint_encoder: nn.Module
    """The ControlNet's first layers, taken out of it: a drawing is encoded once, not at every step."""
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: Any
    """The noise schedule (``DDPMScheduler``); samplers are made from its configuration."""
    device: torch.device
    dtype: torch.dtype
    """Precision of UNet and ControlNet; the VAE and the text encoder stay in float32."""
    prompts: dict[bytes, Tensor] = field(default_factory=dict)

    def prompt(self, identity: Float[np.ndarray, "d"]) -> Float[Tensor, "1 n c"]:
        """The prompt of an identity; encoded once."""
        key = np.ascontiguousarray(identity, np.float64).tobytes()
        if key not in self.prompts:
            self.prompts[key] = identity_prompt(self.text_encoder, self.tokenizer, identity)
        return self.prompts[key]

    def words(self, text: str) -> Float[Tensor, "1 n c"]:
        """A prompt of words; encoded once."""
        key = text.encode()
        if key not in self.prompts:
            self.prompts[key] = text_prompt(self.text_encoder, self.tokenizer, text)
        return self.prompts[key]

    def null_prompt(self) -> Float[Tensor, "1 n c"]:
        """The prompt without identity."""
        return self.words(EMPTY_PROMPT)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images in [-1, 1] -> scaled latents (the mean of the posterior)."""
        return self.vae.encode(images).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b 3 h w"]:
        """Scaled latents -> images in about [-1, 1]."""
        return self.vae.decode(latents.float() / self.vae.config.scaling_factor, return_dict=False)[0]

    @torch.no_grad()
    def encode_hints(self, hints: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Drawings in [0, 1] -> what the ControlNet adds to its first layer."""
        return self.hint_encoder(hints.to(self.dtype))

    def pictures(self, latents: Float[Tensor, "b c h2 w2"]) -> list[RgbImage]:
        """Scaled latents -> 8-bit images."""
        images = (self.decode(latents) / 2 + 0.5).clamp(0, 1)
        return list((images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())

    def to_tensor(self, images: list[RgbImage]) -> Float[Tensor, "b 3 h w"]:
        """8-bit images -> [0, 1] on the device."""
        stacked = torch.from_numpy(np.stack(images)).to(self.device)
        return stacked.permute(0, 3, 1, 2).float() / 255

    @property
    def latent_factor(self) -> int:
        """Pixels per latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def load_generator(
    folders: GeneratorFolders,
    device: str,
    *,
    adapter: Path | None = None,
    fast: bool = False,
    compiled: bool = False,
) -> Generator:
    """Read the networks.

    Args:
        folders: Where they are.
        device: ``cpu`` (float32) or ``cuda`` (bfloat16).
        adapter: What :func:`gswap.swap.diffusion.adapt.adapt` learnt from the photos; merged into the UNet.
        fast: Merge the LCM adapter in as well.
        compiled: Compile UNet and ControlNet at their first use.

    Raises:
        MissingExtraError: diffusers, transformers or peft is not installed.
        ConfigError: A folder does not hold the network that it should.
    """
    diffusers = library("diffusers")
    place, dtype = _place(device)
    unet = _network(diffusers.UNet2DConditionModel, folders.unet)
    controlnet = _network(diffusers.ControlNetModel, folders.controlnet)
    if adapter is not None:
        merge_adapter(unet, adapter)
    if fast:
        if folders.fast is None:
            raise ConfigError("Expected the LCM adapter for the sampler 'lcm', found none.")
        _merge_lcm(unet, folders.fast)
    hint_encoder = controlnet.controlnet_cond_embedding
    controlnet.controlnet_cond_embedding = nn.Identity()
    for net in (controlnet, hint_encoder):
        _settle(net, place, dtype)
    generator = _with_unet(unet, folders, place, dtype, controlnet, hint_encoder)
    if compiled:
        generator.unet = torch.compile(unet)
        generator.controlnet = torch.compile(controlnet)
    return generator


def load_base(folders: BaseFolders, device: str) -> Generator:
    """Read Stable Diffusion itself, without ControlNet.

    Args:
        folders: Where it is.
        device: ``cpu`` (float32) or ``cuda`` (bfloat16).

    Raises:
        MissingExtraError: diffusers or transformers is not installed.
        ConfigError: A folder does not hold the network that it should.
    """
    unet = _network(library("diffusers").UNet2DConditionModel, folders.unet)
    return _with_unet(unet, folders, *_place(device), controlnet=None, hint_encoder=nn.Identity())


def _place(device: str) -> tuple[torch.device, torch.dtype]:
    place = torch.device(device)
    return place, torch.bfloat16 if place.type == "cuda" else torch.float32


def _settle(net: Any, place: torch.device, dtype: torch.dtype) -> None:
    """Frozen, in place, and laid out as the device likes it."""
    net.requires_grad_(False).eval()
    nn.Module.to(net, place, dtype)
    net.to(memory_format=torch.channels_last if place.type == "cuda" else torch.contiguous_format)


def _with_unet(
    unet: Any,
    folders: GeneratorFolders | BaseFolders,
    place: torch.device,
    dtype: torch.dtype,
    controlnet: Any,
    hint_encoder: nn.Module,
) -> Generator:
    """A generator around a UNet: text encoder, autoencoder and noise schedule from their folders.

    Raises:
        ConfigError: A folder does not hold what it should, or the networks do not belong together.
    """
    if unet.config.in_channels != unet.config.out_channels:
        raise ConfigError(
            f"Expected a UNet with {unet.config.out_channels} input channels, found {unet.config.in_channels}.",
            hint="Inpainting UNets with masks as further channels do not take Arc2Face's prompt.",
            path=folders.unet,
        )
    diffusers, transformers = library("diffusers"), library("transformers")
    _settle(unet, place, dtype)
    vae = _network(diffusers.AutoencoderKL, folders.vae).requires_grad_(False).eval().to(place)
    encoder = _network(transformers.CLIPTextModel, folders.text_encoder).requires_grad_(False).eval().to(place)
    generator = Generator(
        unet=unet,
        controlnet=controlnet,
        hint_encoder=hint_encoder,
        vae=vae,
        text_encoder=encoder,
        tokenizer=_quietly(transformers.CLIPTokenizer.from_pretrained, folders.tokenizer),
        schedule=_quietly(diffusers.DDPMScheduler.from_pretrained, folders.scheduler),
        device=place,
        dtype=dtype,
    )
    if generator.schedule.config.prediction_type != "epsilon":
        raise ConfigError("Expected a generator that predicts noise, found another one.", path=folders.scheduler)
    return generator


def library(name: str) -> Any:
    """An optional library.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("The paper's generator", EXTRA) from error


def add_adapter(unet: Any, rank: int, seed: int) -> None:
    """Give every attention projection of the UNet a trainable low-rank adapter that does nothing yet."""
    config = library("peft").LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=True, target_modules=list(ATTENTION))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config, adapter_name=ADAPTER)


def merge_adapter(unet: Any, path: Path) -> None:
    """Add what was learnt from the photos to the UNet's weights.

    Raises:
        ConfigError: The file was made for another UNet.
    """
    with safe_open(path, "pt") as file:
        kind = (file.metadata() or {}).get(ADAPTER_FORMAT, "")
        learnt = {name: file.get_tensor(name) for name in file.keys()}
    try:
        if kind == "full":
            unet.load_state_dict(learnt)
            return
        add_adapter(unet, int(kind.removeprefix("lora ")), seed=0)
        found = library("peft").set_peft_model_state_dict(unet, learnt, adapter_name=ADAPTER)
        if found is not None and found.unexpected_keys:
            raise KeyError(found.unexpected_keys[0])
    except (KeyError, ValueError, RuntimeError) as error:
        raise ConfigError("The adapter does not fit this UNet.", hint="Remove it and adapt anew.", path=path) from error
    unet.fuse_lora(adapter_names=[ADAPTER])
    unet.unload_lora()


def _merge_lcm(unet: Any, path: Path) -> None:
    pipeline = library("diffusers").StableDiffusionPipeline
    state, alphas = pipeline.lora_state_dict(str(path.parent), weight_name=path.name)
    pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=unet, adapter_name="lcm")
    unet.fuse_lora(adapter_names=["lcm"])
    unet.unload_lora()


def _network(kind: Any, folder: Path) -> Any:
    """A network with every weight from its file: nothing missing, nothing left over."""
    network, info = _quietly(kind.from_pretrained, folder, use_safetensors=True, output_loading_info=True)
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if wrong:
        raise ConfigError(f"Expected the weights of a {kind.__name__}, found others ({wrong[0]}).", path=folder)
    return network


def _quietly(load: Any, folder: Path, **options: Any) -> Any:
    """Load without progress bars, network or remarks.

    Raises:
        ConfigError: The folder does not hold it.
    """
    logs = library("diffusers.utils.logging"), library("transformers.utils.logging")
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        return load(str(folder), local_files_only=True, **options)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"Cannot load this part of the generator ({str(error).splitlines()[0]}).",
            hint="Run: gswap weights verify",
            path=folder,
        ) from error
    finally:
        for log, (level, shown) in zip(logs, before, strict=True):
            log.set_verbosity(level)
            if shown:
                log.enable_progress_bar()
