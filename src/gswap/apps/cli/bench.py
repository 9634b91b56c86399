"""``gswap bench``: time a part, as ratios against a reference run beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from gswap.apps.bench.paper_config import PaperBenchConfig
from gswap.apps.bench.portrait_config import PortraitBenchConfig
from gswap.apps.bench.render_config import RenderBenchConfig
from gswap.apps.bench.splat import SplatBenchConfig
from gswap.apps.bench.track_config import TrackBenchConfig
from gswap.apps.bench.watermark_config import WatermarkBenchConfig

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal


@dataclass(frozen=True)
class BenchSplat:
    """Splatting and the small networks, against a plain-torch tile loop."""

    settings: Annotated[SplatBenchConfig, tyro.conf.arg(name="")] = field(default_factory=SplatBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import splat

        return show(splat.run(self.settings), terminal)


@dataclass(frozen=True)
class BenchRender:
    """Frames a second of a driven portrait on the CPU, decoding and encoding excluded, and where the time goes."""

    settings: Annotated[RenderBenchConfig, tyro.conf.arg(name="")] = field(default_factory=RenderBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import render

        return show(render.run(self.settings, terminal.say), terminal)


@dataclass(frozen=True)
class BenchPortrait:
    """Portraits fitted to the frames of their own clips: fidelity on held-out frames, cost, holes from other sides."""

    settings: Annotated[PortraitBenchConfig, tyro.conf.arg(name="")] = field(default_factory=PortraitBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import portrait

        return show(portrait.run(self.settings, terminal), terminal)


@dataclass(frozen=True)
class BenchTrack:
    """Tracking, masks and plate on synthetic people whose truth is known (renders them first: about 7 minutes)."""

    settings: Annotated[TrackBenchConfig, tyro.conf.arg(name="")] = field(default_factory=TrackBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import track

        return show(track.run(self.settings, terminal.say), terminal)


@dataclass(frozen=True)
class BenchWatermark:
    """What the watermark survives, on synthetic people and on your clips; false positives; time a frame."""

    settings: Annotated[WatermarkBenchConfig, tyro.conf.arg(name="")] = field(default_factory=WatermarkBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import watermark

        found = watermark.run(self.settings, terminal)
        terminal.emit("bench", **asdict(found))
        terminal.say(watermark.table(found))
        return 0


@dataclass(frozen=True)
class BenchPaper:
    """Tune, generate and fit of the paper's recipe at full size with random weights: nothing is downloaded."""

    settings: Annotated[PaperBenchConfig, tyro.conf.arg(name="")] = field(default_factory=PaperBenchConfig)
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.bench import paper

        return show(paper.run(self.settings, terminal.say), terminal)


@dataclass(frozen=True)
class Bench:
    """Time a part, as ratios against a reference run beside it."""

    what: (
        Annotated[BenchSplat, tyro.conf.subcommand("splat")]
        | Annotated[BenchRender, tyro.conf.subcommand("render")]
        | Annotated[BenchPortrait, tyro.conf.subcommand("portrait")]
        | Annotated[BenchTrack, tyro.conf.subcommand("track")]
        | Annotated[BenchWatermark, tyro.conf.subcommand("watermark")]
        | Annotated[BenchPaper, tyro.conf.subcommand("paper")]
    )

    @property
    def json(self) -> bool:
        """Whether the benchmark prints JSON."""
        return self.what.json

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        return self.what.run(terminal)


def show(found: Mapping[str, object], terminal: Terminal) -> int:
    """Print the figures of a benchmark; returns the exit code."""
    terminal.emit("bench", **found)
    for line in _lines(found):
        terminal.say(line)
    return 0


def _lines(values: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """Nested figures as indented lines."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value:.4g}" if isinstance(value, float) else f"{indent}{name}: {value}"
