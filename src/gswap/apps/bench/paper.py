"""Time of the paper's three costly stages at full size, with random weights: tune, generate, fit.

The networks are built from the published configurations of Stable Diffusion 1.5 and its ControlNets, which Arc2Face
shares, so that the time is the real models' time without any download.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gswap.apps.bench.paper_config import PaperBenchConfig
from gswap.foundation.errors import UsageError

SD15_CHANNELS = (320, 640, 1280, 1280)
TINY_CHANNELS = (8, 8, 16, 16)
PROMPT_LENGTH, PROMPT_WIDTH = 77, 768
WARM_STEPS = 2
PAPER_SECONDS = {"tune": 300, "generate": 240, "fit": 480}
"""The paper's figures for 500 frames on an RTX 4090, seconds."""
SCENE_FRAMES = 4
SEED_A, SEED_B = 241, 234


def run(cfg: PaperBenchConfig, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Time the stages one after the other.

    Returns:
        ``machine``; per stage the seconds of one unit, the seconds for the whole clip and the paper's, and on CUDA the
        peak memory in GiB.

    Raises:
        UsageError: A number is not positive, or real weights are asked for.
        DeviceError: There is no CUDA device.
        MissingExtraError: diffusers is not installed.
    """
    if min(cfg.frames, cfg.photos, cfg.tune_steps, cfg.batches, cfg.batch, cfg.fit_steps) < 1:
        raise UsageError("bench paper: frames, photos, steps and batches should be positive.")
    if cfg.side < 64 or cfg.side % 64:
        raise UsageError(f"bench paper: expected a side that is a multiple of 64, found {cfg.side}.")
    if cfg.method == "none":
        raise UsageError("bench paper: there is nothing to time in a training of nothing.")
    if not cfg.random_weights:
        raise UsageError("bench paper: real weights are timed by a job itself.", hint="Leave --no-random-weights out.")
    if cfg.device == "cuda":
        from gswap.pipeline.preflight import check_cuda

        check_cuda()
    say("building networks with random weights")
    generator = random_generator(cfg)
    found: dict[str, Any] = {"machine": _machine(cfg)}
    for name, stage in (("tune", _tune), ("generate", _generate), ("fit", _fit)):
        say(name)
        _reset_peak(cfg)
        seconds, units, unit = stage(cfg, generator)
        found[name] = {
            f"seconds per {unit}": seconds,
            f"seconds for {units} {unit}s": seconds * units,
            "the paper's (RTX 4090, 500 frames)": PAPER_SECONDS[name],
            **_peak(cfg),
        }
    return found


def random_generator(cfg: PaperBenchConfig) -> Any:
    """A generator of the real size (or a tiny one) with random weights and ready-made prompts."""
    import torch
    from torch import nn

    from gswap.swap.diffusion.models import Generator, library

    diffusers = library("diffusers")
    channels = TINY_CHANNELS if cfg.tiny else SD15_CHANNELS
    groups, hints = (4, (4, 8)) if cfg.tiny else (32, (16, 32, 96, 256))
    layers = 1 if cfg.tiny else 2
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    common = {"block_out_channels": channels, "layers_per_block": layers, "norm_num_groups": groups}
    common |= {"cross_attention_dim": PROMPT_WIDTH, "attention_head_dim": 8, "in_channels": 4}
    vae_channels = (8, 8) if cfg.tiny else (128, 256, 512, 512)
    place = torch.device(cfg.device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    layout = torch.channels_last if place.type == "cuda" else torch.contiguous_format
    torch.manual_seed(0)
    with place:
        unet = diffusers.UNet2DConditionModel(
            **common, out_channels=4, down_block_types=down, up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
        )
        controlnet = diffusers.ControlNetModel(
            **common, down_block_types=down, conditioning_embedding_out_channels=hints
        )
        vae = diffusers.AutoencoderKL(
            block_out_channels=vae_channels,
            down_block_types=("DownEncoderBlock2D",) * len(vae_channels),
            up_block_types=("UpDecoderBlock2D",) * len(vae_channels),
            layers_per_block=layers,
            norm_num_groups=groups,
            latent_channels=4,
            scaling_factor=0.18215,
        )
    encoder = controlnet.controlnet_cond_embedding
    controlnet.controlnet_cond_embedding = nn.Identity()
    for net in (unet, controlnet, encoder):
        net.requires_grad_(False).eval()
        nn.Module.to(net, place, dtype)
        net.to(memory_format=layout)
    vae.requires_grad_(False).eval()
    schedule = diffusers.DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    prompts = {key: torch.randn(1, PROMPT_LENGTH, PROMPT_WIDTH).to(place) for key in (b"", _identity().tobytes())}
    return Generator(unet, controlnet, encoder, vae, None, None, schedule, place, dtype, prompts)


# ---------------------------------------------------------------- the stages: seconds of a unit, units, unit
def _tune(cfg: PaperBenchConfig, generator: Any) -> tuple[float, int, str]:
    """Training steps."""
    import torch

    from gswap.swap.diffusion.adapt import Variants, adapt
    from gswap.swap.diffusion.config import AdaptConfig

    side = _side(cfg)
    images = generator.to_tensor(_pictures(side, cfg.photos))
    latents = generator.encode(images * 2 - 1)
    variants = Variants(latents, generator.encode_hints(images), torch.ones_like(latents[:, :1]))
    settings = AdaptConfig(method=cfg.method, validate_every=0, checkpoint_every=10**9)
    marks: list[float] = []

    def tick(done: int, total: int, note: str = "") -> None:
        _wait(cfg)
        marks.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        adapt(
            generator,
            variants,
            _identity(),
            settings,
            steps=WARM_STEPS + cfg.tune_steps,
            seed=0,
            folder=Path(folder),
            progress=tick,
        )
    seconds = (marks[-1] - marks[WARM_STEPS - 1]) / cfg.tune_steps
    return seconds, settings.step_count(cfg.photos), "step"


def _generate(cfg: PaperBenchConfig, generator: Any) -> tuple[float, int, str]:
    """Batches of inpainted frames, encoding and decoding included; the adapters are merged first, as in a job."""
    import torch

    from gswap.swap.diffusion.config import SampleConfig
    from gswap.swap.diffusion.models import ADAPTER
    from gswap.swap.diffusion.sample import Canvas, paint

    if cfg.method == "lora":
        generator.unet.fuse_lora(adapter_names=[ADAPTER])
        generator.unet.unload_lora()
    torch.nn.Module.to(generator.unet.requires_grad_(False), generator.dtype)
    if cfg.compile:
        generator.unet, generator.controlnet = torch.compile(generator.unet), torch.compile(generator.controlnet)
    side = _side(cfg)
    settings = SampleConfig(side=side, sampler=cfg.sampler, steps=cfg.sampler_steps, batch=cfg.batch)
    area = np.zeros((side, side), bool)
    area[side // 8 : -side // 8, side // 8 : -side // 8] = True
    canvases = [Canvas(p, area, p) for p in _pictures(side, settings.batch)]
    paint(generator, canvases, _identity(), dataclasses.replace(settings, steps=2), 0)
    _wait(cfg)
    start = time.perf_counter()
    for number in range(cfg.batches):
        paint(generator, canvases, _identity(), settings, number)
    _wait(cfg)
    return (time.perf_counter() - start) / (cfg.batches * settings.batch), cfg.frames, "frame"


def _fit(cfg: PaperBenchConfig, generator: Any) -> tuple[float, int, str]:
    """Steps of the portrait's fit at the window's size, on synthetic people."""
    from gswap.body.models import load_body
    from gswap.foundation.types import SwapSet, TargetSet, Window
    from gswap.people.clips import join_tracks, render_motion
    from gswap.people.motion import make_motion
    from gswap.people.person import make_person
    from gswap.people.scene import make_scene
    from gswap.people.swap import true_swap
    from gswap.pipeline.steps.fit import splat_on
    from gswap.portrait.config import FitConfig
    from gswap.portrait.fit import fit_portrait

    side = max(_side(cfg), 128)
    source, other = make_person(SEED_A), make_person(SEED_B)
    scene, motion = make_scene(SEED_B, "studio"), make_motion(SEED_B, SCENE_FRAMES)
    clip = list(render_motion(other, motion, scene, side))
    swapped = list(render_motion(true_swap(source, other), motion, scene, side))
    count = len(clip)
    window = Window(np.zeros(count, int), np.zeros(count, int), side, side)
    head, neck, person = ([getattr(f.masks, name) for f in clip] for name in ("head", "neck", "person"))
    target = TargetSet(window, [f.rgb for f in clip], head, neck, person, [f.plate for f in clip])
    trust = [np.full((side, side), 255, np.uint8)] * count
    head, neck = ([getattr(f.masks, name) for f in swapped] for name in ("head", "neck"))
    generated = SwapSet([f.rgb for f in swapped], head, neck, target.plate, trust)
    marks: list[float] = []
    steps = FitConfig(coarse_steps=0, fine_steps=WARM_STEPS + cfg.fit_steps, preview_every=10**9)
    with TemporaryDirectory() as folder:
        fit_portrait(
            target,
            generated,
            join_tracks(swapped),
            load_body("anny"),
            steps,
            rasterize=splat_on(cfg.device),
            state=Path(folder),
            progress=lambda done, total, note="": marks.append(time.perf_counter()),
        )
    seconds = (marks[-1] - marks[-1 - cfg.fit_steps]) / cfg.fit_steps
    usual = FitConfig()
    return seconds, usual.coarse_steps // 2 + usual.fine_steps, "step"


# ---------------------------------------------------------------- machine
def _side(cfg: PaperBenchConfig) -> int:
    return 32 if cfg.tiny else cfg.side


def _identity() -> np.ndarray:
    return np.ones(512)


def _pictures(side: int, count: int) -> list[np.ndarray]:
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * math.pi * (x * (k + 1) + y)) * 100 + 127 for k in range(3)]
    return [np.stack(waves, -1).astype(np.uint8)] * count


def _machine(cfg: PaperBenchConfig) -> str:
    import torch

    name = torch.cuda.get_device_name() if cfg.device == "cuda" else platform.processor() or platform.machine()
    return f"{name}, torch {torch.__version__}{', tiny networks' if cfg.tiny else ''}"


def _wait(cfg: PaperBenchConfig) -> None:
    if cfg.device == "cuda":
        import torch

        torch.cuda.synchronize()


def _reset_peak(cfg: PaperBenchConfig) -> None:
    if cfg.device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak(cfg: PaperBenchConfig) -> dict[str, float]:
    if cfg.device != "cuda":
        return {}
    import torch

    return {"peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30}
