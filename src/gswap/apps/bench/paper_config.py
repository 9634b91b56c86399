"""Settings of ``gswap bench paper``."""

from __future__ import annotations

from dataclasses import dataclass

from gswap.pipeline.config import Device
from gswap.swap.diffusion.config import Method, Sampler


@dataclass(frozen=True)
class PaperBenchConfig:
    """What to time. The networks have the sizes of the real ones and random weights: nothing is downloaded."""

    random_weights: bool = True
    """Use random weights; times do not depend on them. Nothing else is offered."""
    device: Device = "cpu"
    """Where."""
    tiny: bool = False
    """Tiny networks and pictures, to see that it runs: the figures mean nothing."""
    side: int = 512
    """Side of the pictures, a multiple of 64. Smaller ones show on any machine that the full-size networks run."""
    frames: int = 500
    """Length of the clip that the totals are for; the paper's figures are for 500."""
    photos: int = 4
    """Photos that the training is for."""
    method: Method = "lora"
    """What is trained: low-rank adapters, or the whole UNet with 8-bit Adam and gradient checkpointing as the paper."""
    tune_steps: int = 10
    """Training steps that are timed."""
    batches: int = 2
    """Batches of frames that are timed."""
    batch: int = 8
    """Frames of a batch."""
    fit_steps: int = 20
    """Steps of the portrait's fit that are timed."""
    sampler: Sampler = "dpm"
    """Sampler of the inpainting."""
    sampler_steps: int = 0
    """Its steps; 0 = 20, or 4 for `lcm`."""
    compile: bool = False
    """Compile UNet and ControlNet first."""
