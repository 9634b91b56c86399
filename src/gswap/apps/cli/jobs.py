"""The commands that work on a clip: ``swap``, ``demo``, ``check``, ``track``, ``orbit``.

Every command is a class: its fields are the options, ``run`` does the work and returns the exit code.
Heavy modules are imported inside ``run``: ``gswap --help`` must answer at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gswap.output.config import LabelConfig, LabelMode, LabelPosition
from gswap.pipeline.config import DEFAULT_MOUTH, Device, Job, Mouth, Parts, Quality, Recipe, Settings
from gswap.pipeline.recipes import recipe_defaults, with_quality

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal

Verbose = Annotated[bool, tyro.conf.arg(aliases=["-v"])]


@dataclass(frozen=True)
class Swap:
    """Put the head of the person in the photos onto the person in the clip."""

    source: tuple[Path, ...]
    """Photos (1 to 12), a folder of photos, or one video to pick photos from."""
    target: Path
    """The video in which the head is replaced."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The video to write: .mp4, .mov, .m4v, .webm, or .mkv for lossless FFV1."""
    consent: Path
    """The consent record (TOML); `gswap consent new` writes one."""
    recipe: Recipe = "embedded"
    """The defaults of all that follows: `embedded` needs nothing but this package, `paper` and `paper-literal` need
    weights and a GPU (docs/recipes.md). Options override the recipe."""
    quality: Quality = "standard"
    """`preview` shows in a short time whether the job is worth doing; `best` takes about three times as long."""
    work: Path | None = None
    """Workspace folder; default: the output's name with .gswap."""
    person: str | None = None
    """Which person of the clip: a number as the error message lists them, or a photo of them."""
    start: float | None = None
    """Use the clip from this second on."""
    end: float | None = None
    """Use the clip up to this second."""
    masks: Path | None = None
    """Folder of head masks of the clip, one image per frame from --start to --end, used instead of ours."""
    generated: Path | None = None
    """Folder of head-swapped frames (and optional masks) from another tool, used instead of our swapper's; numbered
    from 0 at --start."""
    portrait: Path | None = None
    """A portrait fitted before (portrait.safetensors), driven instead of fitted anew."""
    refine: bool = False
    """With --portrait: fit it further to this clip, instead of driving it as it is."""
    mouth: Mouth = DEFAULT_MOUTH
    """Inside of the mouth where no photo is open enough: the photos', the target's, or a painted one."""
    detail: bool = True
    """Give the rendered head the fine texture of the swapped images where both agree."""
    label: LabelMode = "throughout"
    """The visible "AI MODIFIED" label; turning it off needs a consent record that allows it."""
    label_position: LabelPosition = LabelConfig.position
    """Corner of the picture for the label."""
    label_size: float = LabelConfig.size
    """Height of the label's capitals as a share of the picture's height, 0.03 to 0.2."""
    watermark: bool = True
    """The imperceptible watermark; turning it off needs a consent record that allows it."""
    layers: Path | None = None
    """Folder for 16-bit layers: head RGBA, matte, clean plate. It holds nothing else; another job's layers in it are
    replaced with --overwrite only."""
    compare: Path | None = None
    """Also write a side-by-side video (target | result)."""
    timestamp_url: str | None = None
    """Ask this RFC 3161 authority to time-stamp the signatures (uses the network); without an answer there is none."""
    commercial_only: bool = False
    """Refuse parts whose weights may not be used commercially."""
    device: Device = "cpu"
    """Where Gaussians are splatted; a device that is not there is an error."""
    seed: int = 0
    """Seed of everything that is random."""
    threads: int = 2
    """Threads for computing. The last bits of the result depend on it, so it does not follow the machine."""
    overwrite: bool = False
    """Replace the output if it exists."""
    json: bool = False
    """Machine-readable progress on standard output, one JSON object a line."""
    verbose: Verbose = False
    """Show what each step cost, and tracebacks of internal errors."""
    parts: Annotated[Parts, tyro.conf.arg(name="")] = field(default_factory=Parts)
    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Swap:
        """The command with a recipe's defaults, its required options still missing."""
        required = {name: tyro.MISSING for name in ("source", "target", "out", "consent")}
        defaults = recipe_defaults(recipe)
        return cls(**required, recipe=recipe, parts=defaults.parts, settings=defaults.settings)

    def job(self) -> Job:
        """The job that the options describe."""
        names = {f.name for f in dataclasses.fields(Job)} & {f.name for f in dataclasses.fields(self)}
        values = {name: getattr(self, name) for name in names - {"work", "settings"}}
        settings = with_quality(self.settings, self.recipe, self.quality)
        work = self.work or self.out.with_name(self.out.name + ".gswap")
        return Job(sources=self.source, work=work, settings=settings, **values)

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.pipeline.job import run_job

        result = run_job(self.job(), terminal)
        terminal.emit(
            "result",
            out=str(result.out),
            report=str(result.report),
            sheet=str(result.sheet),
            warnings=result.warnings,
            advice=result.advice,
        )
        for warning in result.warnings:
            terminal.say(f"warning: {warning}")
        for advice in result.advice:
            terminal.say(f"advice: {advice}")
        terminal.say(f"{result.out}\n{result.report}")
        return 0


@dataclass(frozen=True)
class Demo:
    """A complete swap on a pair of synthetic people that the program makes itself."""

    out: Path = Path("demo")
    """Folder for everything."""
    size: int = 320
    """Width and height of the clip, in pixels."""
    frames: int = 60
    """Length of the clip, in frames."""
    seed_source: int | None = None
    """Who gives the head; default: a pair that looks well."""
    seed_target: int | None = None
    """Who is in the clip."""
    json: bool = False
    """Machine-readable progress on standard output, one JSON object a line."""
    verbose: Verbose = False
    """Show what each step cost."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.demo import run_demo

        seeds = {"seed_source": self.seed_source, "seed_target": self.seed_target}
        chosen = {name: seed for name, seed in seeds.items() if seed is not None}
        result = run_demo(self.out, terminal, size=self.size, frames=self.frames, **chosen)
        terminal.emit("result", out=str(result.out), report=str(result.report), sheet=str(result.sheet))
        terminal.say(f"Video:         {result.out}")
        terminal.say(f"Side by side:  {self.out / 'compare.mp4'}")
        terminal.say(f"Contact sheet: {self.out / 'sheet.png'}")
        terminal.say(f"Report:        {result.report}")
        return 0


@dataclass(frozen=True)
class Check:
    """Say whether photos and clip are fit for a swap, and why not, before any long work."""

    source: Annotated[Path, tyro.conf.Positional]
    """A photo, a folder of photos, or a video to pick photos from."""
    target: Annotated[Path, tyro.conf.Positional]
    """The clip."""
    person: str | None = None
    """Which person of the clip: a number, or a photo of them."""
    json: bool = False
    """Print one JSON object."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.pipeline.check import check_input

        report = check_input(self.source, self.target, self.person, terminal)
        terminal.emit("check", **dataclasses.asdict(report))
        for fact in report.facts:
            terminal.say(fact)
        for warning in report.warnings:
            terminal.say(f"warning: {warning}")
        for problem in report.problems:
            terminal.say(f"problem: {problem}")
        terminal.say("Fit for a swap." if report.fit else "Not fit for a swap.")
        return 0 if report.fit else 65


@dataclass(frozen=True)
class Track:
    """Show mesh, landmarks, masks and confidence over a clip."""

    clip: Annotated[Path, tyro.conf.Positional]
    """The clip."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The overlay video to write."""
    person: str | None = None
    """Which person of the clip: a number, or a photo of them."""
    masks: Path | None = None
    """Folder of head masks of the clip, one image per frame, shown in place of ours."""
    overwrite: bool = False
    """Replace the output if it exists."""
    json: bool = False
    """Machine-readable progress on standard output."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.pipeline.overlay import write_overlay

        write_overlay(
            self.clip, self.out, self.person, observer=terminal, overwrite=self.overwrite, user_masks=self.masks
        )
        terminal.emit("result", out=str(self.out))
        terminal.say(str(self.out))
        return 0


@dataclass(frozen=True)
class Orbit:
    """Render novel views and expressions of a finished job's head (Fig. 8)."""

    work: Annotated[Path, tyro.conf.Positional]
    """Workspace of the job."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("orbit.mp4")
    """The video to write."""
    frame: int | None = None
    """Frame of the clip whose expression is shown; default: the one tracked best."""
    yaw: float = 30.0
    """The head turns by this many degrees to either side."""
    size: int = 512
    """Width and height of the video, in pixels."""
    overwrite: bool = False
    """Replace the output if it exists."""
    json: bool = False
    """Machine-readable progress on standard output."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.pipeline.orbit import write_orbit

        found = write_orbit(
            self.work,
            self.out,
            frame=self.frame,
            yaw=self.yaw,
            size=self.size,
            overwrite=self.overwrite,
            observer=terminal,
        )
        terminal.emit("result", out=str(self.out), **found._asdict())
        whole = f"Holes: {found.holes:.1f} % of the head. Off its surface: {found.floaters:.1f} %."
        terminal.say(f"{whole} Ragged: {found.ragged:.1f} %.")
        terminal.say(str(self.out))
        return 0
