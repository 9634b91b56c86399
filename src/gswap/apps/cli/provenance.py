"""The commands about consent and provenance: ``consent``, ``keys``, ``verify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal

Verbose = Annotated[bool, tyro.conf.arg(aliases=["-v"])]


@dataclass(frozen=True)
class ConsentNew:
    """Write a new consent record, to be completed by those who give it."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("consent.toml")
    """The record to write."""
    kind: Literal["consent", "synthetic", "evaluation"] = "consent"
    """Consent of real people; people who do not exist; or published test material."""
    source_name: str = ""
    """Who gives the head."""
    source_contact: str = ""
    """How to reach them."""
    target_name: str = ""
    """Who is in the clip."""
    target_contact: str = ""
    """How to reach them."""
    project: str = ""
    """What the swap is for."""
    uses: tuple[str, ...] = ()
    """What the result may be used for."""
    territories: tuple[str, ...] = ()
    """Where it may be used."""
    days: int = 365
    """How many days the record is valid, from today."""
    allow_label_off: bool = False
    """Allow results without the visible label."""
    allow_watermark_off: bool = False
    """Allow results without the watermark."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.consent import new

        terminal.say(str(new(self)))
        return 0


@dataclass(frozen=True)
class ConsentCheck:
    """Say whether a consent record covers some photos."""

    record: Annotated[Path, tyro.conf.Positional]
    """The record."""
    source: tuple[Path, ...] = ()
    """Photos, or a folder of photos."""
    target: Path | None = None
    """The clip."""
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.consent import check

        return check(self, terminal)


@dataclass(frozen=True)
class ConsentSign:
    """Bind photos to a consent record and sign it with this user's key."""

    record: Annotated[Path, tyro.conf.Positional]
    """The record; it is rewritten."""
    source: tuple[Path, ...] = ()
    """Photos, or a folder of photos, to bind if none are bound yet."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.consent import sign

        sign(self)
        terminal.say(str(self.record))
        return 0


@dataclass(frozen=True)
class Consent:
    """Consent records: who is shown, who allows what, until when."""

    action: (
        Annotated[ConsentNew, tyro.conf.subcommand("new")]
        | Annotated[ConsentCheck, tyro.conf.subcommand("check")]
        | Annotated[ConsentSign, tyro.conf.subcommand("sign")]
    )

    @property
    def json(self) -> bool:
        """Whether the action prints JSON."""
        return getattr(self.action, "json", False)

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        return self.action.run(terminal)


@dataclass(frozen=True)
class Keys:
    """Show, rotate or replace the key that signs outputs."""

    action: Annotated[Literal["show", "rotate", "export-root", "import"], tyro.conf.Positional] = "show"
    """What to do. `export-root` writes the certificate that lets others check this user's signatures."""
    certificates: Path | None = None
    """Certificate chain (PEM, leaf first) for `import`."""
    key: Path | None = None
    """Private key (PEM, P-256) for `import`."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("gswap-root.pem")
    """File for `export-root`."""
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.keys import act

        return act(self, terminal)


@dataclass(frozen=True)
class Verify:
    """Say what a file declares about itself: manifest, signer, ingredients, watermark, marks.

    Exit code: 0 signed and unchanged; 1 nothing signed covers the file; 65 changed after it was signed, or made from
    something that was; 66 not there. Of several files, the highest.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos and pictures, ours or others', and folders with a signed sequence."""
    json: bool = False
    """Print one JSON object per file."""
    verbose: Verbose = False
    """Show tracebacks of internal errors."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.verify import verify

        return verify(self, terminal)
