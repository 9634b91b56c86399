"""``gswap weights``: which pretrained parts there are, under which licence, and what of them lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gswap.foundation.errors import UsageError
from gswap.pipeline.config import Recipe
from gswap.pipeline.recipes import recipe_defaults

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal
    from gswap.foundation.weights import PartState

Verbose = Annotated[bool, tyro.conf.arg(aliases=["-v"])]
_MIB = 1 << 20


@dataclass(frozen=True)
class WeightsList:
    """List all parts: what they are for, their size, whether they are here, and who pins their hashes."""

    commercial_only: bool = False
    """Only parts that may be used commercially."""
    files: bool = False
    """Show every file with its hash."""
    json: bool = False
    """Print one JSON object per part."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.foundation import weights

        terminal.say(str(weights.root()))
        for part in weights.states():
            if part.spec.commercial or not self.commercial_only:
                terminal.emit("part", **_record(part))
                _show(terminal, part, files=self.files)
        return 0


@dataclass(frozen=True)
class WeightsPull:
    """Fetch parts: transfers go on where they stopped, and everything is verified before it is used."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """The parts, as `gswap weights list` names them."""
    recipe: Recipe | None = None
    """Also all parts of this recipe."""
    commercial_only: bool = False
    """Refuse a part that may not be used commercially."""
    offline: bool = False
    """Fetch nothing; fail if something is missing."""
    json: bool = False
    """Machine-readable progress on standard output."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.foundation import weights

        names = list(self.names)
        if self.recipe is not None:
            names += [name for name in recipe_defaults(self.recipe).parts.weights() if name not in names]
        if not names and self.recipe is None:
            raise UsageError("Expected the names of parts.", hint="`gswap weights list` shows them.")
        parts = [weights.spec(name) for name in names]
        for part in parts:
            weights.check_licence(part, commercial_only=self.commercial_only)
        for number, part in enumerate(parts, 1):
            terminal.say(f"{part.name}: {part.licence} ({part.origin})")
            terminal.started(part.name, number, len(parts))

            def progress(done: int, total: int, note: str = "", name: str = part.name) -> None:
                terminal.progress(name, done, total, note)

            network = weights.Network(offline=self.offline)
            where = weights.pull(part.name, network=network, commercial_only=self.commercial_only, progress=progress)
            terminal.emit("pulled", part=part.name, folder=str(where), digest=weights.digest(part.name))
            terminal.say(str(where))
        return 0


@dataclass(frozen=True)
class WeightsImport:
    """Take a part from files that you have; PyTorch pickles are read without being executed, and become safetensors."""

    name: Annotated[str, tyro.conf.Positional]
    """The part, as `gswap weights list` names it."""
    source: Annotated[Path, tyro.conf.Positional]
    """Its file, or a folder with its files."""
    sha256: str | None = None
    """The hash that the file must have, where we do not know it."""
    commercial_only: bool = False
    """Refuse a part that may not be used commercially."""
    json: bool = False
    """Print one JSON object."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.foundation import weights
        from gswap.foundation.weights.convert import import_part

        taken = import_part(self.name, self.source, sha256=self.sha256, commercial_only=self.commercial_only)
        where = weights.path(self.name)
        terminal.emit(
            "imported", part=self.name, folder=str(where), files=taken, licence=weights.spec(self.name).licence
        )
        terminal.say(f"{where} (licence: {weights.spec(self.name).licence})")
        for path, digest in taken.items():
            terminal.say(f"  {digest}  {path}")
        return 0


@dataclass(frozen=True)
class WeightsVerify:
    """Hash everything that is here; exit code 78 when a file is not what it should be."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """The parts; none = all that are here. A named part must be complete."""
    json: bool = False
    """Print one JSON object per part."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.foundation import weights

        chosen = {weights.spec(name).name for name in self.names}
        good = True
        for part in weights.states(verify=True):
            if (chosen and part.spec.name not in chosen) or (not chosen and part.state == "missing"):
                continue
            good &= part.state == "present"
            terminal.emit("part", **_record(part))
            _show(terminal, part, files=True)
        return 0 if good else 78


@dataclass(frozen=True)
class WeightsLicenses:
    """The licence and origin of every part, and whether it may be used commercially."""

    commercial_only: bool = False
    """Only parts that may be used commercially."""
    json: bool = False
    """Print one JSON object per part."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.foundation.weights import CATALOGUE

        for part in CATALOGUE.values():
            if not (part.commercial or not self.commercial_only):
                continue
            terminal.emit(
                "licence", part=part.name, licence=part.licence, commercial=part.commercial, origin=part.origin
            )
            use = "commercial use allowed" if part.commercial else "not for commercial use"
            terminal.say(f"{part.name:<26} {use:<24} {part.licence}\n{'':<26} {part.origin}")
            if part.note:
                terminal.say(f"{'':<26} {part.note}")
        return 0


@dataclass(frozen=True)
class Weights:
    """Pretrained parts: what there is, under which licence, and what of it lies on this machine."""

    action: (
        Annotated[WeightsList, tyro.conf.subcommand("list")]
        | Annotated[WeightsPull, tyro.conf.subcommand("pull")]
        | Annotated[WeightsImport, tyro.conf.subcommand("import")]
        | Annotated[WeightsVerify, tyro.conf.subcommand("verify")]
        | Annotated[WeightsLicenses, tyro.conf.subcommand("licenses")]
    )

    @property
    def json(self) -> bool:
        """Whether the action prints JSON."""
        return self.action.json

    @property
    def verbose(self) -> bool:
        """Whether the action shows tracebacks."""
        return getattr(self.action, "verbose", False)

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        return self.action.run(terminal)


def _record(part: PartState) -> dict[str, Any]:
    spec = part.spec
    return {
        "name": spec.name,
        "title": spec.title,
        "serves": spec.part,
        "state": part.state,
        "licence": spec.licence,
        "commercial": spec.commercial,
        "origin": spec.origin,
        "files": [
            {
                "path": file.path,
                "state": file.state,
                "sha256": file.sha256,
                "pinned_by": file.pinned_by,
                "bytes": file.bytes,
                "url": item.url,
            }
            for file, item in zip(part.files, spec.files, strict=True)
        ],
    }


def _show(terminal: Terminal, part: PartState, *, files: bool) -> None:
    sizes = [f.bytes for f in part.files]
    known = [s for s in sizes if s]
    size = f"{sum(known) / _MIB:6.0f} MiB" if len(known) == len(sizes) else "  size unknown"
    use = "" if part.spec.commercial else "  [not commercial]"
    unknown = sum(f.pinned_by == "nobody yet" for f in part.files)
    pinned = f"{unknown} of {len(sizes)} hashes recorded at first pull" if unknown else "hashes pinned"
    terminal.say(f"{part.spec.name:<26} {part.state:<8} {size:<14} {pinned:<38} {part.spec.title}{use}")
    if files:
        for file in part.files:
            terminal.say(
                f"    {file.state:<8} {file.sha256 or 'hash not known yet':<64}  {file.path} ({file.pinned_by})"
            )
