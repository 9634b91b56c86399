"""A job: what is swapped, and every setting of every stage. Importing this module loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gswap.body.config import FitConfig as BodyFitConfig
from gswap.body.config import RetrackConfig
from gswap.media.config import EncodeConfig, MediaLimits
from gswap.output.config import LabelConfig, LabelMode, LabelPosition
from gswap.perception.config import PerceptionConfig
from gswap.portrait.config import FitConfig
from gswap.segmentation.config import SegmentationConfig
from gswap.swap.config import SwapConfig
from gswap.swap.diffusion.config import DiffusionConfig

Recipe = Literal["embedded", "paper", "paper-literal"]
Mouth = Literal["source", "target", "procedural"]
Device = Literal["cpu", "cuda"]
Quality = Literal["preview", "standard", "best"]

Swapper = Literal["embedded", "diffusion"]
Reenactor = Literal["embedded", "liveportrait"]
ControlNet = Literal["mediapipe-face", "openpose"]
Parser = Literal["embedded", "farl", "segformer"]
PlateInpainter = Literal["embedded", "lama"]
Identity = Literal["dlib", "arcface-buffalo", "arcface-antelopev2"]
Perceptual = Literal["patches", "lpips-vgg"]
Upscaler = Literal["none", "lanczos", "real-esrgan-x2", "real-esrgan-x4"]
Body = Literal["anny", "smplx"]

DEFAULT_MOUTH: Mouth = "target"
"""Without an open-mouthed photo the target's own teeth and tongue are the most plausible picture (docs/guide.md)."""


@dataclass(frozen=True)
class Parts:
    """Who does the work: the exchangeable parts. The defaults need nothing but the package; the others need weights."""

    swapper: Swapper = "embedded"
    """Makes the head-swapped images: our mesh-guided swapper, or Arc2Face with DreamBooth and ControlNet."""
    reenactor: Reenactor = "embedded"
    """Coarse reenactment that gives the diffusion swapper its mask."""
    controlnet: ControlNet = "mediapipe-face"
    """Condition of the diffusion swapper: contours of the face mesh and pupils, or OpenPose's face points."""
    parser: Parser = "embedded"
    """Finds head, hair and neck."""
    inpainter: PlateInpainter = "embedded"
    """Fills what no frame shows of the background."""
    identity: Identity = "dlib"
    """Whose face it is: in the choice of the person and in the report."""
    perceptual: Perceptual = "patches"
    """Perceptual loss of the fit: gradients and SSIM of patches, or LPIPS on VGG-16."""
    upscaler: Upscaler = "none"
    """Super-resolution that guides the last two thirds of the fit."""
    body: Body = "anny"
    """Parametric body; SMPL-X for those who hold its licence."""

    def weights(self) -> tuple[str, ...]:
        """Names of the weights (``gswap.foundation.weights``) that these parts need, in a fixed order."""
        names: list[str] = []
        if self.swapper == "diffusion":
            names += ["arc2face", "stable-diffusion-v1-5", "arcface-arc2face", f"controlnet-{self.controlnet}"]
            if self.reenactor == "liveportrait":
                names.append("liveportrait")
        for name, idle in (
            (self.parser, "embedded"),
            (self.inpainter, "embedded"),
            (self.identity, "dlib"),
            (self.perceptual, "patches"),
            (self.body, "anny"),
        ):
            if name != idle:
                names.append(name)
        if self.upscaler.startswith("real-esrgan"):
            names.append(self.upscaler)
        return tuple(names)


@dataclass(frozen=True)
class Settings:
    """The settings of the stages; the defaults are the recipe ``embedded``."""

    limits: MediaLimits = field(default_factory=MediaLimits)
    perceive: PerceptionConfig = field(default_factory=PerceptionConfig)
    track: BodyFitConfig = field(default_factory=BodyFitConfig)
    retrack: RetrackConfig = field(default_factory=RetrackConfig)
    segment: SegmentationConfig = field(default_factory=SegmentationConfig)
    swap: SwapConfig = field(default_factory=SwapConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    encode: EncodeConfig = field(default_factory=EncodeConfig)


@dataclass(frozen=True)
class Job:
    """One head swap, from files to a file."""

    sources: tuple[Path, ...]
    """Photos of the person whose head is used, folders of photos, or one video to pick photos from."""
    target: Path
    """The video in which the head is replaced."""
    out: Path
    """The video to write."""
    consent: Path
    """The consent record (TOML) that covers the people, the photos and the options."""
    work: Path
    """The workspace folder."""
    recipe: Recipe = "embedded"
    """Its name, for report and manifest; ``gswap.recipe_job`` makes a job with a recipe's parts and settings."""
    parts: Parts = field(default_factory=Parts)
    commercial_only: bool = False
    """Refuse parts whose weights may not be used commercially."""
    device: Device = "cpu"
    person: str | None = None
    """1-based number of the person in the clip, or a photo of them."""
    start: float | None = None
    """Start of the part to use, in seconds."""
    end: float | None = None
    """End of the part to use, in seconds."""
    masks: Path | None = None
    generated: Path | None = None
    portrait: Path | None = None
    refine: bool = False
    mouth: Mouth = DEFAULT_MOUTH
    label: LabelMode = "throughout"
    label_position: LabelPosition = LabelConfig.position
    label_size: float = LabelConfig.size
    """Height of the label's capitals as a share of the picture's height."""
    watermark: bool = True
    detail: bool = True
    """Give the rendered head the fine texture of I_gen where both agree."""
    layers: Path | None = None
    compare: Path | None = None
    """A side-by-side video (target | result) to write as well."""
    timestamp_url: str | None = None
    """RFC 3161 authority that is asked to time-stamp the signatures; its failure does not fail the job."""
    seed: int = 0
    threads: int = 2
    """Threads of torch and of the native kernels; part of the result, since sums depend on it in their last bits."""
    overwrite: bool = False
    settings: Settings = field(default_factory=Settings)
