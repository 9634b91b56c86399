"""Options of ``gswap bench watermark``. Importing this module loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WatermarkBenchConfig:
    """What to mark and how often."""

    synthetic: int = 40
    """Number of clips of synthetic people that are marked and handled roughly."""
    unmarked: int = 500
    """Number of unmarked views of the synthetic clips in which nothing may be found."""
    clips: tuple[Path, ...] = ()
    """Video files to mark as well; they are only read."""
    seconds: float = 6.0
    """Length of every clip."""
    cache: Path | None = None
    """Folder that keeps the rendered people for the next run; by default they are rendered anew (about 10 minutes)."""
    seed: int = 0
    """Seed of the ids and of the unmarked views."""
