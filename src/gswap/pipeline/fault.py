"""Planned faults for the reliability tests: ``GSWAP_FAULT=step:n:what`` strikes at the n-th progress call of a step.

``what`` is ``kill`` (SIGKILL to ourselves), ``interrupt`` (SIGINT) or ``enospc`` (the disk is full). Without the
variable nothing here runs.
"""

from __future__ import annotations

import errno
import os
import signal

from gswap.foundation.errors import UsageError

VARIABLE = "GSWAP_FAULT"


class FaultPlan:
    """Counts the progress calls of every step and strikes once."""

    def __init__(self, plan: str | None) -> None:
        self._step, self._at, self._what = "", -1, ""
        self._count = 0
        if plan:
            try:
                self._step, at, self._what = plan.split(":")
                self._at = int(at)
            except ValueError as error:
                raise UsageError(f"Expected {VARIABLE}=step:n:kill|interrupt|enospc, found {plan!r}.") from error

    @classmethod
    def from_environment(cls) -> FaultPlan:
        """The plan of this process."""
        return cls(os.environ.get(VARIABLE))

    def strike(self, step: str) -> None:
        """Called at every progress of ``step``."""
        if step != self._step:
            return
        self._count += 1
        if self._count != self._at:
            return
        if self._what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._what == "interrupt":
            signal.raise_signal(signal.SIGINT)
        elif self._what == "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            raise UsageError(f"Unknown fault {self._what!r}.")
