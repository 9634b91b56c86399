"""``gswap evaluate``: how good results are, ours or any tool's; comparators, ablations, a user study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gswap.foundation.errors import UsageError

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal
    from gswap.apps.evaluate.layout import Pair
    from gswap.apps.evaluate.run import Options

Baseline = Literal["clone", "warp", "per-frame", "reenact"]


@dataclass(frozen=True)
class Evaluate:
    """Score results of head swapping side by side: identity, expression, pose, consistency, seams, truth."""

    method: tuple[str, ...] = ()
    """Results to score, as NAME=FILE: a video of any tool, or a workspace of ours (scored before marks)."""
    target: Path | None = None
    """The clip that they were made from."""
    source: tuple[Path, ...] = ()
    """The photos of the source person, a folder of them, or a video."""
    truth: Path | None = None
    """The true answer, if it is known: for a self swap the clip itself."""
    truth_masks: Path | None = None
    """Folder of the true head mattes, one image per frame."""
    pairs: Path | None = None
    """Folder of many pairs instead of one; docs/evaluation.md shows its layout."""
    out: Path = Path("evaluation")
    """Folder for evaluation.json, evaluation.md and evaluation.html."""
    work: Path | None = None
    """Workspace whose tracks and masks are used (made there if missing); default: inside --out."""
    baseline: tuple[Baseline, ...] = ()
    """Comparators to run and score as well."""
    consent: Path | None = None
    """Consent record; needed by --baseline and --ablations, which swap heads."""
    person: str | None = None
    """Which person of the clip: a number, or a photo of them."""
    start: float | None = None
    """The results show the clip from this second on."""
    end: float | None = None
    """The results show the clip up to this second."""
    frames: int = 300
    """Frames that are measured at most, spread over the clip; 0 = all."""
    ablations: bool = False
    """Fit and score our variants, one part left out at a time (Fig. 10-15), on --pairs or on one pair."""
    extremes: bool = False
    """Swap and score synthetic cases with large rotation and with fast motion, whose truth is known (Fig. 16)."""
    groups: bool = False
    """Swap and score synthetic people of many kinds (skin, hair, glasses, light, number and kind of photos), each
    kind by itself."""
    group: tuple[str, ...] = ()
    """With --groups: these groups only, by their names."""
    synthetic: bool = False
    """With --ablations: a synthetic pair, whose truth is known (also beside --pairs or --target)."""
    variant: tuple[str, ...] = ()
    """With --ablations: these variants only, by their names."""
    speed: bool = False
    """Time every comparator and ours on this machine (Table I)."""
    full: bool = False
    """With --ablations, --extremes, --groups and --speed: the clips as they are and every step, instead of 256 pixels,
    a few frames and a short fit."""
    study: Path | None = None
    """Make a blinded page for a user study (Table III) of the given results in this folder."""
    tally: tuple[Path, ...] = ()
    """With --study: count these exported answers instead of making the page."""
    threads: int = 2
    """Threads for computing."""
    json: bool = False
    """Machine-readable progress on standard output, one JSON object a line."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.evaluate.run import Options, evaluate

        self._refuse_idle()
        options = Options(frames=self.frames, threads=self.threads)
        if self.study is not None:
            return self._study(self.study, terminal)
        if self.ablations or self.extremes or self.groups or self.speed:
            return self._own(options, terminal)
        page = evaluate(self._pairs(), self.out, options, terminal, self.baseline)
        return self._show(page, terminal)

    def _refuse_idle(self) -> None:
        """Refuse options that would do nothing beside the others."""
        own = self.ablations or self.extremes or self.groups or self.speed
        for option, given, needs, there in (
            ("--group", self.group, "--groups", self.groups),
            ("--variant", self.variant, "--ablations", self.ablations),
            ("--synthetic", self.synthetic, "--ablations", self.ablations),
            ("--full", self.full, "--ablations, --extremes, --groups or --speed", own),
            ("--tally", self.tally, "--study", self.study is not None),
            ("--truth-masks", self.truth_masks, "--truth", self.truth is not None),
        ):
            if given and not there:
                raise UsageError(f"{option} does nothing without {needs}.", hint="Give that, or leave it out.")
        synthetic = "--extremes, --groups and --speed"
        for option, given, beside, there in (
            ("--baseline", self.baseline, f"--ablations, {synthetic}", own),
            ("--method", self.method, f"--ablations, {synthetic}", own),
            ("--work", self.work, f"--ablations, {synthetic}", own),
            ("--pairs", self.pairs, synthetic, own and not self.ablations),
            ("--target", self.target, synthetic, own and not self.ablations),
            ("--baseline", self.baseline, "--study", self.study is not None),
            ("--ablations, --extremes, --groups or --speed", own, "--study", self.study is not None),
        ):
            if given and there:
                raise UsageError(f"{option} does nothing beside {beside}.", hint="Leave one of them out.")

    def _own(self, options: Options, terminal: Terminal) -> int:
        """What makes our own results first."""
        from gswap.apps.evaluate import ablations, speed
        from gswap.apps.evaluate.synthetic import PLAIN

        if self.ablations:
            pairs = [ablations.synthetic_pair(PLAIN, self.out, terminal, full=self.full)] if self.synthetic else []
            if self.pairs is not None or self.target is not None or not pairs:
                pairs += self._pairs()
            page = ablations.ablate(pairs, self.out, options, terminal, full=self.full, only=self.variant)
            self._show(page, terminal)
        if self.extremes:
            self._show(ablations.score_extremes(self.out, options, terminal, full=self.full), terminal)
        if self.groups:
            from gswap.apps.evaluate.groups import choose

            made = ablations.score_groups(self.out, options, terminal, full=self.full, groups=choose(self.group))
            self._show(made, terminal)
        if self.speed:
            speed.measure_speed(self.out, options, terminal, full=self.full)
            self._show(self.out / "speed.html", terminal)
        return 0

    def _study(self, folder: Path, terminal: Terminal) -> int:
        from gswap.apps.evaluate import study

        if self.tally:
            counted = study.tally(folder, self.tally)
            path = study.write_tally(folder, counted)
            terminal.emit("tally", participants=counted.participants, scores=counted.scores)
            terminal.say(study.tally_markdown(counted))
        else:
            path = study.make_study(self._pairs(), folder, terminal)
            terminal.emit("result", page=str(path))
        terminal.say(str(path))
        return 0

    def _show(self, page: Path, terminal: Terminal) -> int:
        terminal.emit("result", page=str(page), json=str(page.with_suffix(".json")))
        terminal.say(page.with_suffix(".md").read_text(encoding="utf-8", errors="replace"))
        terminal.say(str(page))
        return 0

    def _pairs(self) -> list[Pair]:
        from gswap.apps.evaluate.layout import Pair, read_pairs

        if self.pairs is not None:
            of_one = (self.target, self.truth, self.truth_masks, self.consent, self.work, self.person)
            if self.method or self.source or {*of_one, self.start, self.end} != {None}:
                raise UsageError(
                    "Expected either --pairs, or --target, --source, --method and what else is said of one pair; "
                    "found both.",
                    hint="docs/evaluation.md shows where a folder of pairs has the truth and the consent.",
                )
            return read_pairs(self.pairs)
        if self.target is None or not self.source:
            raise UsageError("Expected --target and --source, or --pairs.")
        methods = [_named(m) for m in self.method]
        names = [name for name, _ in methods]
        if len(set(names)) < len(names):
            raise UsageError(f"Expected another name for every --method, found {', '.join(names)}.")
        pair = Pair(
            self.target.stem,
            self.source,
            self.target,
            dict(methods),
            truth=self.truth,
            truth_masks=self.truth_masks,
            consent=self.consent,
            work=self.work,
            start=self.start,
            end=self.end,
            person=self.person,
        )
        return [pair]


def _named(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found or not name or not path:
        raise UsageError(f"Expected --method NAME=FILE, found {text!r}.")
    return name, Path(path)
