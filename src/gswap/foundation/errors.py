"""The errors that gswap raises on purpose, and the exit code of each.

::

    GswapError (70)
    ├── UsageError (2)             an option is malformed or contradicts another
    ├── InputError (65)            the input is there, but it is not fit for the job
    ├── MissingInputError (66)     the input is not there
    ├── InternalError (70)         an invariant of ours does not hold
    ├── OutputError (73)           the output cannot be created, or already exists
    ├── StorageError (74)          reading or writing failed midway: disk full, I/O error
    ├── BusyError (75)             somebody else holds what is needed: try again later
    ├── PermissionDeniedError (77) the file system says no
    └── ConfigError (78)           consent, weights, device: the set-up refuses the job
        ├── ConsentError
        ├── DeviceError
        ├── MissingExtraError
        └── WeightsError

Every message says what was expected, what was found, in which file, and what to do. The library raises; only
``gswap.apps`` prints and exits. An interrupt (Ctrl-C, SIGTERM) stays a ``KeyboardInterrupt``, exit code 130.
"""

from __future__ import annotations

from pathlib import Path


class GswapError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: One sentence: what was expected and what was found.
        hint: What the reader can do about it, or ``None``.
        path: The file that is at fault, or ``None``.
        frame: The 0-based frame that is at fault, or ``None``.
    """

    exit_code: int = 70

    def __init__(
        self, message: str, *, hint: str | None = None, path: Path | str | None = None, frame: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = None if path is None else str(path)
        self.frame = frame

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path and self.path not in self.message else ""
        return f"{where}{self.message}" + (f" {self.hint}" if self.hint else "")


class UsageError(GswapError):
    """An option is malformed or contradicts another one."""

    exit_code = 2


class InputError(GswapError):
    """The input is there, but it is not fit for the job."""

    exit_code = 65


class MissingInputError(GswapError):
    """The input is not there."""

    exit_code = 66


class InternalError(GswapError):
    """An invariant of ours does not hold: a bug."""

    exit_code = 70


class OutputError(GswapError):
    """The output cannot be created, or already exists."""

    exit_code = 73


class StorageError(GswapError):
    """Reading or writing failed midway, for example because the disk is full."""

    exit_code = 74


class BusyError(GswapError):
    """Somebody else holds what is needed."""

    exit_code = 75


class PermissionDeniedError(GswapError):
    """The file system refuses access."""

    exit_code = 77


class ConfigError(GswapError):
    """The set-up refuses the job: consent, weights, device or configuration."""

    exit_code = 78


class ConsentError(ConfigError):
    """There is no valid consent record for what was asked."""


class DeviceError(ConfigError):
    """The device that was asked for is not there."""


class MissingExtraError(ConfigError):
    """An optional dependency is not installed.

    Args:
        feature: What the user asked for.
        extra: The extra of this package that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs a package that is not installed.", hint=f"Run: pip install 'gswap[{extra}]'")
        self.extra = extra


class WeightsError(ConfigError):
    """Weights are not there, are not the ones that are known, could not be fetched, or may not be used for this."""
