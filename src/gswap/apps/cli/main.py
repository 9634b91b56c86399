"""The ``gswap`` command: parse, call, show. Each command is a dataclass whose fields are its options."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from gswap.apps.cli import commands
from gswap.apps.cli.console import Terminal

Command = (
    Annotated[commands.Swap, tyro.conf.subcommand("swap")]
    | Annotated[commands.Demo, tyro.conf.subcommand("demo")]
    | Annotated[commands.Check, tyro.conf.subcommand("check")]
    | Annotated[commands.Track, tyro.conf.subcommand("track")]
    | Annotated[commands.Orbit, tyro.conf.subcommand("orbit")]
    | Annotated[commands.Consent, tyro.conf.subcommand("consent")]
    | Annotated[commands.Keys, tyro.conf.subcommand("keys")]
    | Annotated[commands.Verify, tyro.conf.subcommand("verify")]
    | Annotated[commands.Status, tyro.conf.subcommand("status")]
    | Annotated[commands.Purge, tyro.conf.subcommand("purge")]
    | Annotated[commands.Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[commands.Bench, tyro.conf.subcommand("bench")]
)


def _terminate(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    command: Any = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="gswap",
        description="Swap heads in video: a few photos and a clip in, the same clip with the other head out.",
        args=list(arguments),
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    signal.signal(signal.SIGTERM, _terminate)
    with Terminal(as_json=getattr(command, "json", False), verbose=getattr(command, "verbose", False)) as terminal:
        try:
            return command.run(terminal)
        except (Exception, KeyboardInterrupt) as error:
            return terminal.error(error)


def main() -> None:
    """Entry point of the ``gswap`` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
