"""A job: what is swapped, and every setting of every stage. Importing this module loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gswap.body.config import FitConfig as BodyFitConfig
from gswap.media.config import EncodeConfig, MediaLimits
from gswap.perception.config import PerceptionConfig
from gswap.portrait.config import FitConfig
from gswap.segmentation.config import SegmentationConfig
from gswap.swap.config import SwapConfig

Recipe = Literal["embedded"]
Mouth = Literal["source", "target", "procedural"]
LabelMode = Literal["throughout", "start", "off"]
Device = Literal["cpu", "cuda"]
Quality = Literal["preview", "standard", "best"]

DEFAULT_MOUTH: Mouth = "target"
"""Without an open-mouthed photo the target's own teeth and tongue are the most plausible picture (docs/guide.md)."""


@dataclass(frozen=True)
class Settings:
    """The settings of the stages; the defaults are the recipe ``embedded``."""

    limits: MediaLimits = field(default_factory=MediaLimits)
    perceive: PerceptionConfig = field(default_factory=PerceptionConfig)
    track: BodyFitConfig = field(default_factory=BodyFitConfig)
    segment: SegmentationConfig = field(default_factory=SegmentationConfig)
    swap: SwapConfig = field(default_factory=SwapConfig)
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
    mouth: Mouth = DEFAULT_MOUTH
    label: LabelMode = "throughout"
    watermark: bool = True
    detail: bool = True
    """Give the rendered head the fine texture of I_gen where both agree."""
    layers: Path | None = None
    compare: Path | None = None
    """A side-by-side video (target | result) to write as well."""
    seed: int = 0
    threads: int = 2
    """Threads of torch and of the native kernels; part of the result, since sums depend on it in their last bits."""
    overwrite: bool = False
    settings: Settings = field(default_factory=Settings)
