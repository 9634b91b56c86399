"""The workspace of a job: ``<work>/<step>/<fingerprint>/``, a lock, and what is done.

A step's folder is complete when it holds ``done.json``. Nothing in a step's folder depends on when or how often it was
run, except ``timing.json``.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from gswap.foundation.errors import BusyError, GswapError, InputError
from gswap.foundation.store import make_folder, read_json, remove_parts, storage_error, write_json
from gswap.foundation.types import StepTiming
from gswap.output.purge import MARKER_NAME

STEP_NAMES = ("ingest", "perceive", "track", "segment", "swap", "retrack", "fit", "render", "deliver")
"""The steps in order (a test compares them with :data:`gswap.pipeline.job.STEPS`)."""
MARKER = MARKER_NAME
"""The file that makes a folder a workspace."""
_FILE_SYSTEM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
_LOCK = "lock"
_HOLDER = "holder.json"
_DONE = "done.json"
_TIMING = "timing.json"


@dataclass(frozen=True)
class StepState:
    """One step result in a workspace."""

    step: str
    fingerprint: str
    done: bool
    timing: StepTiming | None
    bytes: int


class Workspace:
    """A locked workspace; use as a context manager.

    Raises:
        BusyError: Another process works in it.
        InputError: The folder exists and holds something else.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = FileLock(str(root / _LOCK))
        self._created = False

    def __enter__(self) -> Workspace:
        make_folder(self.root)
        marker = self.root / MARKER
        others = [p.name for p in self.root.iterdir() if p.name not in (_LOCK, _HOLDER)]
        if others and not marker.exists():
            raise InputError(
                f"Expected an empty folder or a workspace of gswap, found other files ({others[0]}).",
                hint="Choose another folder with --work.",
                path=self.root,
            )
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError(
                f"The workspace is in use by {self._holder()}.",
                hint="Wait for it, or choose another folder with --work.",
                path=self.root,
            ) from error
        except OSError as error:
            raise storage_error(error, self.root) from error
        write_json(self.root / _HOLDER, {"pid": os.getpid(), "host": socket.gethostname()})
        self._created = not marker.exists()
        if self._created:
            write_json(marker, {"format": 1})
        remove_parts(self.root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.root / _HOLDER).unlink(missing_ok=True)
        refused = isinstance(value, GswapError) and self._created
        if refused and not any(self.root.glob(f"*/*/{_DONE}")):
            shutil.rmtree(self.root, ignore_errors=True)  # nothing was achieved: leave nothing behind
        self._lock.release()

    def _holder(self) -> str:
        try:
            holder = read_json(self.root / _HOLDER)
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, InputError, KeyError):
            return "another process"

    def folder(self, step: str, fingerprint: str) -> Path:
        """Folder of a step result; created when it is not there."""
        folder = self.root / step / fingerprint
        make_folder(folder)
        return folder

    def is_done(self, step: str, fingerprint: str) -> bool:
        """Whether that result is complete."""
        return (self.root / step / fingerprint / _DONE).exists()

    def finish(self, step: str, fingerprint: str, timing: StepTiming, notes: dict[str, Any]) -> None:
        """Mark a result as complete."""
        folder = self.root / step / fingerprint
        write_json(folder / _TIMING, asdict(timing))
        write_json(folder / _DONE, {"step": step, "fingerprint": fingerprint, **notes})

    def reopen(self, step: str, fingerprint: str) -> None:
        """Let a complete result be made again: what it wrote outside of the workspace is gone."""
        (self.root / step / fingerprint / _DONE).unlink(missing_ok=True)

    def notes(self, step: str, fingerprint: str) -> dict[str, Any]:
        """What the step noted when it finished."""
        return read_json(self.root / step / fingerprint / _DONE)

    def timing(self, step: str, fingerprint: str) -> StepTiming | None:
        """What the step cost when it ran."""
        return _read_timing(self.root / step / fingerprint)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn what the file system does to a step (disk full, no permission, I/O error) into our errors."""
        try:
            yield
        except OSError as error:
            if error.errno in _FILE_SYSTEM_ERRORS:
                raise storage_error(error, self.root) from error
            raise


def is_workspace(root: Path) -> bool:
    """Whether ``root`` is a workspace of gswap."""
    return (root / MARKER).is_file()


def states(root: Path, steps: tuple[str, ...]) -> list[StepState]:
    """All step results in a workspace, in the order of ``steps``; does not lock.

    Raises:
        InputError: ``root`` is no workspace.
    """
    if not is_workspace(root):
        raise InputError("Expected a workspace of gswap, found none.", hint="Give the folder of --work.", path=root)
    found = []
    for step in steps:
        parent = root / step
        for folder in sorted(parent.iterdir(), key=lambda p: p.stat().st_mtime) if parent.is_dir() else ():
            size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            found.append(StepState(step, folder.name, (folder / _DONE).exists(), _read_timing(folder), size))
    return found


def _read_timing(folder: Path) -> StepTiming | None:
    path = folder / _TIMING
    return StepTiming(**read_json(path)) if path.exists() else None
