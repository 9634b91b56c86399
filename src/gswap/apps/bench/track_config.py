"""What ``gswap bench track`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrackBenchConfig:
    """What to measure."""

    folder: Path = Path("bench-track")
    """Where the rendered clips and the detector's landmarks are kept (about 150 MB)."""
    people: tuple[str, ...] = ()
    """Some of the cast by name; default: everybody, the moving camera and the two who cross."""
    frames: int = 60
    """Length of the clips; another length needs another folder."""
    masks: bool = True
    """Measure masks and plates as well (two thirds of the time)."""
    clips: tuple[Path, ...] = ()
    """Real clips whose landmark residuals are measured with the same settings."""
    render_only: bool = False
    """Only render the clips and find the landmarks."""
