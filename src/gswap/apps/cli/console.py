"""What the command line shows: a progress bar for people, JSON lines for machines, errors for both."""

from __future__ import annotations

import json
import sys
import time
import traceback
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gswap.foundation.errors import GswapError
from gswap.foundation.types import StepTiming
from gswap.pipeline.observer import StepObserver

_JSON_INTERVAL = 0.5
"""Seconds between two progress lines of one step."""


class Terminal(StepObserver):
    """Standard output for results, standard error for progress and errors.

    Args:
        as_json: Write one JSON object a line instead of text.
        verbose: Show what each step cost, and tracebacks.
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_json = 0.0
        self._step = ""

    # ---- context
    def __enter__(self) -> Terminal:
        if not self.as_json and self._err.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", style="dim"),
                console=self._err,
                transient=not self.verbose,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # ---- results
    def say(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.as_json:
            self._out.print(text, markup=False)

    def detail(self, text: str) -> None:
        """A line that only ``-v`` shows."""
        if self.verbose and not self.as_json:
            self._err.print(text, markup=False)

    def emit(self, kind: str, **values: Any) -> None:
        """One JSON object, for machines."""
        if self.as_json:
            sys.stdout.write(json.dumps({"event": kind, **values}, default=str) + "\n")
            sys.stdout.flush()

    def error(self, error: BaseException) -> int:
        """Report an error; returns the exit code (documented in docs/guide.md)."""
        if isinstance(error, GswapError):
            code, message, hint, path, frame = error.exit_code, error.message, error.hint, error.path, error.frame
        elif isinstance(error, KeyboardInterrupt):
            code, message, path, frame = 130, "Interrupted.", None, None
            hint = "Run the same command again to continue."
        elif isinstance(error, MemoryError):
            code, message, path, frame = 70, "Out of memory.", None, None
            hint = "Close other programs, or trim the clip with --start and --end."
        else:
            code, path, frame = 70, None, None
            message = f"Internal error: {type(error).__name__}: {error}"
            hint = "Run again with -v for the traceback and report it, please."
        if self.as_json:
            record = {
                "code": code,
                "stage": self._step,
                "input": path,
                "frame": frame,
                "message": message,
                "hint": hint,
            }
            sys.stderr.write(json.dumps(record) + "\n")
        else:
            where = f"{path}: " if path and path not in message else ""
            self._err.print("gswap: " + where + message + (f" {hint}" if hint else ""), markup=False)
            if self.verbose and code == 70:
                self._err.print("".join(traceback.format_exception(error)), markup=False)
        return code

    # ---- progress
    def started(self, step: str, number: int, count: int) -> None:
        """Show a new step."""
        self._step = step
        self.emit("step", step=step, number=number, count=count)
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"[{number}/{count}] {step}", total=None, note="")

    def progress(self, step: str, done: int, total: int, note: str) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        now = time.monotonic()
        if self.as_json and (done == total or now - self._last_json > _JSON_INTERVAL):
            self._last_json = now
            self.emit("progress", step=step, done=done, total=total, note=note)

    def finished(self, timing: StepTiming) -> None:
        """Close a step."""
        state = "reused" if timing.reused else f"{timing.wall_seconds:.1f} s, peak {timing.peak_memory_mb:.0f} MB"
        self.emit("done", step=timing.step, seconds=timing.wall_seconds, reused=timing.reused)
        self.detail(f"{timing.step}: {state}")
