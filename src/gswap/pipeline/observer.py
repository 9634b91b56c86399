"""How the applications watch a running job. Loads nothing, so that the command line starts fast."""

from __future__ import annotations

from gswap.foundation.types import StepTiming


class StepObserver:
    """What the applications see of a running job; this one sees nothing."""

    def started(self, step: str, number: int, count: int) -> None:
        """Step ``number`` of ``count`` begins."""

    def progress(self, step: str, done: int, total: int, note: str) -> None:
        """A step is ``done`` of ``total`` through."""

    def finished(self, timing: StepTiming) -> None:
        """A step has ended, or was found done (``timing.reused``)."""
