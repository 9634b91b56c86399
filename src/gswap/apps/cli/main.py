"""The ``gswap`` command: parse, call, show. Each command is a dataclass whose fields are its options."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import tyro

from gswap.apps.cli import bench, evaluate, jobs, provenance, weights, workspaces
from gswap.apps.cli.console import Terminal

Command = (
    Annotated[jobs.Swap, tyro.conf.subcommand("swap")]
    | Annotated[jobs.Demo, tyro.conf.subcommand("demo")]
    | Annotated[jobs.Check, tyro.conf.subcommand("check")]
    | Annotated[jobs.Track, tyro.conf.subcommand("track")]
    | Annotated[jobs.Orbit, tyro.conf.subcommand("orbit")]
    | Annotated[provenance.Consent, tyro.conf.subcommand("consent")]
    | Annotated[provenance.Keys, tyro.conf.subcommand("keys")]
    | Annotated[provenance.Verify, tyro.conf.subcommand("verify")]
    | Annotated[weights.Weights, tyro.conf.subcommand("weights")]
    | Annotated[workspaces.Status, tyro.conf.subcommand("status")]
    | Annotated[workspaces.Purge, tyro.conf.subcommand("purge")]
    | Annotated[workspaces.Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[bench.Bench, tyro.conf.subcommand("bench")]
    | Annotated[evaluate.Evaluate, tyro.conf.subcommand("evaluate")]
)


@contextmanager
def _native_logs_off() -> Iterator[None]:
    """Send what native libraries write to file descriptor 2 nowhere; Python's standard error still reaches the user."""
    python_error = sys.stderr
    python_error.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as null, os.fdopen(os.dup(kept), "w", errors="backslashreplace") as ours:
        try:
            if _is_descriptor_two(python_error):
                sys.stderr = ours
            os.dup2(null.fileno(), 2)
            yield
        finally:
            sys.stderr = python_error
            os.dup2(kept, 2)
            os.close(kept)


def _is_descriptor_two(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False


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
    if isinstance(command, jobs.Swap) and command.recipe != "embedded":  # once more, with the recipe's defaults
        default = jobs.Swap.of_recipe(command.recipe)
        command = tyro.cli(jobs.Swap, prog="gswap swap", args=list(arguments)[1:], default=default)
    signal.signal(signal.SIGTERM, _terminate)
    verbose = getattr(command, "verbose", False)
    with _native_logs_off(), Terminal(as_json=getattr(command, "json", False), verbose=verbose) as terminal:
        try:
            return command.run(terminal)
        except (Exception, KeyboardInterrupt) as error:
            return terminal.error(error)


def main() -> None:
    """Entry point of the ``gswap`` script."""
    # torch's OpenMP threads wait by spinning, which starves everybody else on a busy machine; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path that the terminal cannot show is no failure
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
