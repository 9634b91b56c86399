"""``gswap verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gswap.media.probe import is_video, probe
from gswap.media.read import VideoReader
from gswap.output.verify import sentences, to_json, verify_file

if TYPE_CHECKING:
    from gswap.apps.cli import provenance
    from gswap.apps.cli.console import Terminal


def read_luma(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Time in seconds from the first frame and luma plane of every frame of a video."""
    if not is_video(path):
        return
    info = probe(path)
    unit = info.time_base[0] / info.time_base[1]
    with VideoReader(info) as reader:
        for frame in reader.frames():
            yield (frame.pts - info.pts[0]) * unit, frame.planes[0]


def verify(options: provenance.Verify, terminal: Terminal) -> int:
    """Report on every file; the exit code is the worst one."""
    worst = 0
    for path in options.files:
        report = verify_file(path, read_luma=read_luma)
        terminal.emit("verify", **to_json(report))
        terminal.say(str(path))
        for sentence in sentences(report):
            terminal.say(f"  {sentence}")
        worst = max(worst, report.exit_code)
    return worst
