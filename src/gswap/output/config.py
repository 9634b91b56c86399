"""Options of what outputs say about themselves. Importing this module loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NOTICE = "AI MODIFIED"
LabelMode = Literal["throughout", "start", "off"]
LabelPosition = Literal["top-right", "top-left", "bottom-right", "bottom-left"]
MIN_LABEL_SIZE, MAX_LABEL_SIZE = 0.03, 0.2
"""What is accepted as :attr:`LabelConfig.size`."""


@dataclass(frozen=True)
class LabelConfig:
    """How the visible label looks."""

    position: LabelPosition = "top-right"
    """Corner of the picture."""
    size: float = 0.032
    """Height of the capitals as a share of the picture's height, 0.03 to 0.2; smaller where they would not fit."""
    seconds: float | None = None
    """Show the label for this long from the start; by default throughout."""
    text: str = NOTICE
    """What it says. It must keep the capitals "AI"."""
