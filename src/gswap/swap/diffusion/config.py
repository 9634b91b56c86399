"""Every number of the diffusion swapper. No torch here: the command line reads this file.

Lengths named "px" are pixels of the model's square picture, whose side is 512 for Arc2Face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gswap.foundation.settings import NO_RESULT

Method = Literal["lora", "full", "none"]
Sampler = Literal["dpm", "unipc", "lcm"]
Start = Literal["noise", "reenact"]
Background = Literal["plate", "generated"]
Clothes = Literal["mask", "garment"]

FEWEST_STEPS, STEPS_PER_PHOTO = 450, 88
"""Default length of the adaptation: 800 steps for 4 photos, 1500 for 12."""
MOST_PHOTOS = 12


@dataclass(frozen=True)
class SourcesConfig:
    """How the clothes of the photos are kept out of the generator. There is no option for a prompt."""

    clothes: Clothes = "mask"
    """Clothes have no weight in the loss, or are painted over with a plain grey T-shirt as well (needs the weights
    `stable-diffusion-v1-5-unet`)."""
    steps: int = 20
    """Steps of the sampler that paints the T-shirt."""
    guidance: float = 7.5
    """Classifier-free guidance of its fixed prompt."""
    strength: float = 0.9
    """How much noise the flat grey gets that the painting begins with, 0 to 1."""


@dataclass(frozen=True)
class AdaptConfig:
    """DreamBooth (arXiv 2208.12242) on the generator's UNet."""

    method: Method = "lora"
    """What is trained: low-rank adapters of the attention (25 MB), the whole UNet as in the paper, or nothing."""
    rank: int = 32
    """Rank of the adapters; their scale is 1."""
    steps: int = 0
    """Optimiser steps; 0 = by the number of photos (800 for 4, 1500 for 12; half of that for `full`)."""
    rate: float = 0.0
    """Learning rate; 0 = 1e-4 for adapters, 5e-6 for the whole UNet."""
    batch: int = 1
    """Pictures a step."""
    variants: int = 16
    """How many slightly shifted, scaled and tinted versions of each photo are encoded beforehand."""
    scale: float = 0.05
    """Largest change of a version's scale, and of its place in shares of the side."""
    tint: float = 0.02
    """Largest change of a version's colour channels."""
    drop_hint: float = 0.2
    """Share of the steps without ControlNet."""
    drop_identity: float = 0.1
    """Share of the steps with the empty prompt, which keeps guidance alive."""
    snr_gamma: float = 5.0
    """Min-SNR weighting of the noise levels (arXiv 2303.09556); 0 = off."""
    weight_background: float = 0.1
    """Weight of the loss outside head, neck and clothes."""
    paste_background: bool = True
    """Learn the person before the target's background; off, for comparison, before that of the photos (Fig. 15)."""
    weight_clothes: float = 0.0
    """Weight of the loss on clothes: with 0 none of them leaks into the generator."""
    low_memory: bool = True
    """Gradient checkpointing, and 8-bit Adam where bitsandbytes is installed (both for `full` only)."""
    checkpoint_every: int = field(default=100, metadata=NO_RESULT)
    """Steps between two checkpoints."""
    validate_every: int = 200
    """Steps between two validations on the target's own hints; 0 = none."""
    patience: int = 2
    """Validations without a better identity after which the training ends; the best state is kept."""
    least_gain: float = 0.005
    """Gain of the identity's cosine that counts as better."""

    def step_count(self, photos: int) -> int:
        """Steps for this many photos."""
        if self.method == "none":
            return 0
        default = FEWEST_STEPS + STEPS_PER_PHOTO * photos
        return self.steps or (default // 2 if self.method == "full" else default)

    def learning_rate(self) -> float:
        """The learning rate in use."""
        return self.rate or (5e-6 if self.method == "full" else 1e-4)


@dataclass(frozen=True)
class SampleConfig:
    """How the head is inpainted."""

    sampler: Sampler = "dpm"
    """DPM-Solver++, UniPC, or LCM (needs the weights `lcm_lora`; 4 steps without guidance)."""
    steps: int = 0
    """Steps of the sampler at full strength; 0 = 20, or 4 for `lcm`."""
    guidance: float = 3.0
    """Classifier-free guidance; `lcm` always uses 1."""
    hint_scale: float = 1.0
    """Strength of the ControlNet."""
    start: Start = "noise"
    """Begin with pure noise, or with the coarse reenactment under noise (see `strength`)."""
    strength: float = 0.85
    """How much of the noise schedule is run when `start` is `reenact`; from noise it is always all of it."""
    batch: int = 8
    """Frames that are denoised together. Part of the result: sums depend on it in their last bits."""
    side: int = 512
    """Side of the model's picture, px."""
    feather: float = 4.0
    """Gaussian edge of the pasted area, inside the mask, px."""

    def step_count(self) -> int:
        """Steps in use."""
        return self.steps or (4 if self.sampler == "lcm" else 20)

    def scale_of_guidance(self) -> float:
        """Guidance in use."""
        return 1.0 if self.sampler == "lcm" else self.guidance


@dataclass(frozen=True)
class InpaintMaskConfig:
    """The area that is generated anew: the target's head and neck, and room for the new head (Fig. 4)."""

    dilation: float = 12.0
    """By how much the united heads grow, px."""
    majority: int = 5
    """The reenacted head's mask is a majority vote over this many frames of a shot; odd."""
    neighbours: int = 1
    """The mask is united with those of this many frames before and after: the head may move fast."""
    crop: float = 1.7
    """Side of the square picture in units of the new head's larger extent, for tuning and sampling alike."""
    steadiness: float = 2.0
    """Gaussian over the places and sizes of the pictures, frames."""


@dataclass(frozen=True)
class GateConfig:
    """Which generated frames the portrait learns from."""

    identity: float = 0.7
    """Least identity (cosine to the photos) as a share of the median over the clip."""
    landmarks: float = 0.08
    """Largest mean distance between found and wanted landmarks, in outer-eye-corner distances."""
    reseeds: int = 2
    """Further attempts with other noise before a frame is left out."""


@dataclass(frozen=True)
class DiffusionConfig:
    """The paper's image head swap."""

    background: Background = "plate"
    """What lies around the new head in I_gen: our clean plate (steady), or what the generator painted (the paper)."""
    compile: bool = False
    """Compile UNet and ControlNet (CUDA): minutes at the start, faster steps."""
    sources: SourcesConfig = field(default_factory=SourcesConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    mask: InpaintMaskConfig = field(default_factory=InpaintMaskConfig)
    gate: GateConfig = field(default_factory=GateConfig)
