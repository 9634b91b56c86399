"""The commands about workspaces and this machine: ``status``, ``purge``, ``doctor``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from gswap.apps.cli.console import Terminal


@dataclass(frozen=True)
class Status:
    """Show what is done in a workspace."""

    work: Annotated[Path, tyro.conf.Positional]
    """The workspace."""
    json: bool = False
    """Print one JSON object per step."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.pipeline.workspace import STEP_NAMES, states

        for state in states(self.work, STEP_NAMES):
            cost = f"{state.timing.wall_seconds:8.1f} s" if state.timing else " " * 10
            done = "done" if state.done else "unfinished"
            terminal.say(f"{state.step:<9} {state.fingerprint}  {done:<10} {cost} {state.bytes / 2**20:8.1f} MB")
            terminal.emit("step", **dataclasses.asdict(state))
        return 0


@dataclass(frozen=True)
class Purge:
    """Erase the biometric data of a workspace: photos, tracks, masks, generated images, the portrait."""

    work: Annotated[Path, tyro.conf.Positional]
    """The workspace."""
    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.output.purge import purge
        from gswap.pipeline.workspace import Workspace, is_workspace

        if is_workspace(self.work):
            with Workspace(self.work):
                pass  # refuses when somebody works in it
        result = purge(self.work)
        terminal.emit("purged", files=result.removed_files, bytes=result.removed_bytes)
        terminal.say(f"Erased {result.removed_files} files ({result.removed_bytes / 2**20:.1f} MB).")
        return 0


@dataclass(frozen=True)
class Doctor:
    """Print what works on this machine."""

    json: bool = False
    """Print one JSON object."""

    def run(self, terminal: Terminal) -> int:
        """Do it."""
        from gswap.apps.cli.doctor import examine

        findings = examine()
        for finding in findings:
            terminal.say(f"{'ok ' if finding.ok else '-- '} {finding.name:<22} {finding.detail}")
            terminal.emit("finding", **dataclasses.asdict(finding))
        return 0 if all(f.ok or not f.required for f in findings) else 78
