"""The folder of weights: where it is, what lies in it, and whether that is what it should be.

``<root>/<part>/<file>`` and ``<root>/pins.json``. A file's hash is known from the catalogue, or it was recorded in
``pins.json`` when the file first came; from then on nothing else is accepted in its place.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from gswap.foundation.errors import UsageError, WeightsError
from gswap.foundation.store import hash_file, read_json, write_json
from gswap.foundation.weights.catalogue import CATALOGUE, WeightFile, WeightSpec, spec

FOLDER_VARIABLE = "GSWAP_WEIGHTS"
"""Environment variable with the folder of the weights."""
PINS = "pins.json"
State = Literal["present", "missing", "wrong"]


@dataclass(frozen=True)
class Pin:
    """What a file has to be. ``source_sha256`` is the hash of the upstream file where ours was converted from it."""

    sha256: str
    bytes: int
    source_sha256: str | None = None
    source: str = ""
    """Where it came from: an address, or the name of an imported file."""


@dataclass(frozen=True)
class FileState:
    """A file of a part as it lies in the folder."""

    path: str
    state: State
    sha256: str | None
    """The hash it must have (before a file that gets converted is here: that of its source); ``None`` = not known."""
    pinned_by: Literal["catalogue", "first pull", "nobody yet"]
    bytes: int | None
    """Its size where it is there, else the size that it will have, where that is known."""


@dataclass(frozen=True)
class PartState:
    """A part of the catalogue as it lies in the folder."""

    spec: WeightSpec
    files: tuple[FileState, ...]

    @property
    def state(self) -> State:
        """``present`` when all files are, ``wrong`` when one is not what it should be."""
        found = {f.state for f in self.files}
        return "wrong" if "wrong" in found else "missing" if "missing" in found else "present"


def root() -> Path:
    """Folder of the weights: ``GSWAP_WEIGHTS``, or a folder in the user's data directory. Not created here."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "gswap" / "weights"


# ---------------------------------------------------------------- what must be there
def path(name: str) -> Path:
    """Folder of a part whose files are all there and are the known ones.

    Raises:
        UsageError: There is no part of this name.
        WeightsError: A file is missing (the sentence says what to pull, and under which licence) or is another one
            (expected and found hash).
    """
    part = spec(name)
    folder = root() / name
    pins = read_pins(name)
    for item in part.files:
        _verify(part, item, folder / item.path, expected(item, pins))
    return folder


def file(name: str, relative: str | None = None) -> Path:
    """One verified file of a part: the only one, or the one at ``relative``.

    Raises:
        UsageError: The part has no such file, or has several and none was named.
        WeightsError: See :func:`path`.
    """
    part = spec(name)
    names = [item.path for item in part.files]
    if relative is None and len(names) == 1:
        relative = names[0]
    if relative not in names:
        raise UsageError(f"The part {name} has the files {', '.join(names)}, found {relative!r}.")
    return path(name) / relative


def require(names: Iterable[str], *, commercial_only: bool = False) -> None:
    """Refuse before any work: licences first, since no download helps there, then missing and wrong files.

    Raises:
        WeightsError: The first thing that is not right.
    """
    names = list(names)
    for name in names:
        check_licence(spec(name), commercial_only=commercial_only)
    for name in names:
        path(name)


def check_licence(part: WeightSpec, *, commercial_only: bool) -> None:
    """Refuse a part that may not be used commercially when only such parts are wanted.

    Raises:
        WeightsError: It is such a part.
    """
    if commercial_only and not part.commercial:
        raise WeightsError(
            f"The part {part.name} may not be used commercially ({part.licence}).",
            hint="Choose another part, or leave --commercial-only out.",
        )


def digest(name: str) -> str:
    """What a fingerprint depends on: the SHA-256 of the part's file hashes, in order. Reads no weights.

    Raises:
        WeightsError: The part was never pulled or imported.
    """
    part, pins = spec(name), read_pins(name)
    total = hashlib.sha256()
    for item in part.files:
        pin = expected(item, pins)
        if pin is None:
            raise _missing(part, item)
        total.update(f"{item.path}:{pin.sha256}\n".encode())
    return total.hexdigest()


def states(*, verify: bool = False) -> tuple[PartState, ...]:
    """Every part of the catalogue as it lies in the folder.

    Args:
        verify: Hash the files; otherwise only their sizes are compared.
    """
    return tuple(_part_state(part, verify) for part in CATALOGUE.values())


def _part_state(part: WeightSpec, verify: bool) -> PartState:
    pins = read_pins(part.name)
    found = []
    for item in part.files:
        pin = expected(item, pins)
        here = root() / part.name / item.path
        state: State = "missing"
        size = pin.bytes if pin and pin.bytes else item.bytes
        if here.is_file():
            size = here.stat().st_size
            state = "present" if _is_right(here, pin, verify) else "wrong"
        by = "catalogue" if item.sha256 else "first pull" if pin else "nobody yet"
        found.append(FileState(item.path, state, pin.sha256 if pin else item.sha256, by, size))
    return PartState(part, tuple(found))


def _is_right(here: Path, pin: Pin | None, verify: bool) -> bool:
    if pin is None or (pin.bytes and here.stat().st_size != pin.bytes):
        return False
    return not verify or sha256(here) == pin.sha256


def _verify(part: WeightSpec, item: WeightFile, here: Path, pin: Pin | None) -> None:
    if pin is None or not here.is_file():
        raise _missing(part, item)
    size = here.stat().st_size
    found = sha256(here)
    if found != pin.sha256:
        lengths = f" ({pin.bytes} and {size} bytes)" if pin.bytes and pin.bytes != size else ""
        raise WeightsError(
            f"Expected the SHA-256 {pin.sha256} of {part.name}, found {found}{lengths}.",
            hint=f"Run: gswap weights pull {part.name}" if part.pullable else "Import the right file again.",
            path=here,
        )


def _missing(part: WeightSpec, item: WeightFile) -> WeightsError:
    how = f"pull {part.name}" if part.pullable else f"import {part.name} FILE"
    return WeightsError(
        f"The part {part.name} ({part.title}) is not there: {item.path} is missing; its licence is {part.licence}.",
        hint=f"Run: gswap weights {how}",
    )


# ---------------------------------------------------------------- pins
def expected(item: WeightFile, pins: Mapping[str, Pin]) -> Pin | None:
    """What a file must be: by the catalogue, else by the pin of its first pull, else nobody knows."""
    if item.sha256 and not item.convert:
        return Pin(item.sha256, item.bytes or 0)
    return pins.get(item.path)


def read_pins(name: str) -> dict[str, Pin]:
    """The pins of a part's files, by path."""
    here = root() / PINS
    if not here.exists():
        return {}
    return {key: Pin(**value) for key, value in read_json(here).get(name, {}).items()}


def write_pin(name: str, relative: str, pin: Pin) -> None:
    """Record what a file is from now on. The caller holds the folder's lock."""
    here = root() / PINS
    everything = read_json(here) if here.exists() else {}
    entry = {"sha256": pin.sha256, "bytes": pin.bytes, "source": pin.source}
    if pin.source_sha256:
        entry["source_sha256"] = pin.source_sha256
    everything.setdefault(name, {})[relative] = entry
    write_json(here, everything)


def sha256(here: Path) -> str:
    """Hash of a file; a file that has not changed since is not read twice in one process."""
    stat = here.stat()
    return _sha256(here, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _sha256(here: Path, size: int, modified: int, changed: int) -> str:
    return hash_file(here)
