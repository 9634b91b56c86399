"""What ``gswap bench portrait`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PortraitBenchConfig:
    """What to fit."""

    clips: tuple[Path, ...] = ()
    """Clips whose person is fitted to their own frames; none = a synthetic person is filmed."""
    work: Path = Path("bench-portrait")
    """Folder for tracks and masks; what is there already is used again."""
    size: int = 256
    """Longer side of the pictures, pixels; clips are tracked and segmented at their own size. 0 = as the clip."""
    hold_out: int = 8
    """Every n-th frame is left out of the fit; its landmarks move the head, its pixels are only compared with."""
    coarse_steps: int = 1200
    """Steps of the fit at reduced size (at 256 pixels: at full size)."""
    fine_steps: int = 900
    """Steps of the fit at full size."""
    frames: int = 40
    """Length of the synthetic clip."""
    threads: int = 1
    """Threads for computing."""
