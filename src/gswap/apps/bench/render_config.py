"""What ``gswap bench render`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RenderBenchConfig:
    """What to time."""

    portrait: Path | None = None
    """A fitted portrait; with `--work` its last one is the default. Neither: one is made of a synthetic person."""
    work: Path | None = None
    """The workspace of a swap: its track moves the portrait over its plates. Needed with `--portrait`."""
    size: int = 512
    """Width and height of the pictures, pixels."""
    texels: tuple[int, ...] = (350, 192, 510)
    """UV maps of the synthetic portraits: about 35k (the default of a swap), 16k and 65k Gaussians."""
    frames: int = 60
    """Frames of each run; the tracks and plates of longer clips are cut to it."""
    repeats: int = 3
    """Runs of each candidate; the fastest counts, since the machine may have other work."""
    threads: tuple[int, ...] = (2, 1)
    """Numbers of threads for the native kernels."""
    steps: int = 60
    """Steps of the fit that makes a synthetic portrait look like one (half size, 8 pictures)."""
