"""``gswap verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gswap.foundation.errors import GswapError
from gswap.media.probe import is_video
from gswap.media.read import luma_planes
from gswap.output.verify import printable, sentences, to_json, verify_file

if TYPE_CHECKING:
    from gswap.apps.cli import provenance
    from gswap.apps.cli.console import Terminal


def read_luma(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Times and luma planes of a video's frames; none for other files."""
    return luma_planes(path) if is_video(path) else iter(())


def verify(options: provenance.Verify, terminal: Terminal) -> int:
    """Report on every file, also when one cannot be read; the exit code is the highest one."""
    highest = 0
    for path in options.files:
        try:
            report = verify_file(path, read_luma=read_luma)
        except GswapError as error:
            highest = max(highest, terminal.error(error))
            continue
        terminal.emit("verify", **to_json(report))
        terminal.say(printable(str(path)))
        for sentence in sentences(report):
            terminal.say(f"  {sentence}")
        highest = max(highest, report.exit_code)
    return highest
