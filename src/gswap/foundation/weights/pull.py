"""Fetch a part: by byte range where a transfer broke off, verified before it gets its name, one process at a time."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from gswap.foundation.errors import BusyError, StorageError, WeightsError
from gswap.foundation.store import atomic_path, storage_error
from gswap.foundation.types import Progress, no_progress
from gswap.foundation.weights import folder
from gswap.foundation.weights.catalogue import WeightFile, WeightSpec, spec

OFFLINE_VARIABLE = "GSWAP_OFFLINE"
"""Environment variable: anything but empty or 0 forbids all transfers."""
_CHUNK = 1 << 18
_LOCK = ".lock"
_USER_AGENT = "gswap"
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP answers after which another attempt may succeed."""


@dataclass(frozen=True)
class Network:
    """How hard a transfer is tried."""

    offline: bool = False
    """Fetch nothing; the same as the environment variable GSWAP_OFFLINE."""
    attempts: int = 5
    """Attempts in a row without a single new byte, after which the transfer is given up."""
    timeout: float = 30.0
    """Seconds without an answer or a byte after which an attempt counts as failed."""
    pause: float = 1.0
    """Seconds before the second attempt; doubles with each further one."""
    slowest: float = 1024.0
    """Bytes per second; a transfer that stays below for ``timeout`` seconds is begun again where it stopped."""


def pull(
    name: str, *, network: Network | None = None, commercial_only: bool = False, progress: Progress = no_progress
) -> Path:
    """Make a part complete: fetch what is missing or wrong, verify everything; returns its folder.

    Args:
        name: The part.
        network: How to transfer.
        commercial_only: Refuse a part that may not be used commercially.
        progress: Told of bytes.

    Raises:
        UsageError: There is no part of this name.
        WeightsError: The licence forbids it, the part is not to be fetched, the transfer failed, or what came is not
            what was expected (both hashes are named).
        BusyError: Another process is writing into the folder of weights.
        StorageError: The disk is full.
    """
    part, network = spec(name), network or Network()
    folder.check_licence(part, commercial_only=commercial_only)
    if not part.pullable:
        raise WeightsError(
            f"The part {name} cannot be fetched: {part.licence}.",
            hint=f"Get it from {part.origin} and run: gswap weights import {name} FILE",
        )
    with locked():
        for item in part.files:
            if not _is_there(part, item):
                _fetch(part, item, network, progress)
    return folder.path(name)


@contextmanager
def locked() -> Iterator[Path]:
    """The folder of weights, made if need be, for one writer at a time.

    Raises:
        BusyError: Somebody else writes.
    """
    root = folder.root()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, root) from error
    lock = FileLock(str(root / _LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError("Another process is writing weights.", hint="Wait for it.", path=root) from error
    try:
        yield root
    finally:
        lock.release()


def is_offline(network: Network) -> bool:
    """Whether transfers are forbidden."""
    return network.offline or os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def _is_there(part: WeightSpec, item: WeightFile) -> bool:
    here = folder.root() / part.name / item.path
    pin = folder.expected(item, folder.read_pins(part.name))
    return pin is not None and here.is_file() and folder.sha256(here) == pin.sha256


def _fetch(part: WeightSpec, item: WeightFile, network: Network, progress: Progress) -> None:
    final = folder.root() / part.name / item.path
    if is_offline(network):
        raise WeightsError(
            f"The part {part.name} ({part.title}) is not there, and transfers are switched off.",
            hint=f"Unset {OFFLINE_VARIABLE}, or run: gswap weights import {part.name} FILE",
            path=final,
        )
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.download")
    transfer = _Transfer(item, partial, network, progress)
    transfer.run()
    found = folder.sha256(partial)
    pin = folder.read_pins(part.name).get(item.path)
    known = item.sha256 or (pin and (pin.source_sha256 or pin.sha256)) or transfer.announced
    if known and found != known:
        partial.unlink()
        transfer.tag.unlink(missing_ok=True)
        raise WeightsError(
            f"Expected the SHA-256 {known} of {part.name} ({item.path}), found {found}; what came was thrown away.",
            hint="Pull again; if it stays so, the file was changed at its source.",
            path=final,
        )
    keep(part, item, partial, item.url)
    partial.unlink(missing_ok=True)
    transfer.tag.unlink(missing_ok=True)


def keep(part: WeightSpec, item: WeightFile, original: Path, source: str) -> None:
    """Give a verified original its name (converted where it is a pickle) and pin it. The caller holds the lock.

    ``original`` is moved if it lies in the folder of weights and copied otherwise.
    """
    final = folder.root() / part.name / item.path
    final.parent.mkdir(parents=True, exist_ok=True)
    digest = folder.sha256(original)
    pin_source = None
    if item.convert == "pickle":
        from gswap.foundation.weights.convert import pickle_to_safetensors

        pickle_to_safetensors(original, final)
        pin_source, digest = digest, folder.sha256(final)
    elif original.is_relative_to(folder.root()):
        try:
            with open(original, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(original, final)
        except OSError as error:
            raise storage_error(error, final) from error
    else:
        with atomic_path(final) as place:
            shutil.copyfile(original, place)
    folder.write_pin(part.name, item.path, folder.Pin(digest, final.stat().st_size, pin_source, source))


# ---------------------------------------------------------------- one file
class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http; keeps the hash that the first server states."""

    def __init__(self) -> None:
        self.announced: str | None = None

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse the unencrypted continuation of an encrypted request; otherwise do what urllib does."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise WeightsError(f"The server sent an encrypted request on to {newurl}, which is not encrypted.")
        self.announced = _announced(headers) or self.announced
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Broken(Exception):
    """An attempt ended early; another one may go on from there."""


_TRANSIENT = (
    _Broken,
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)


class _Transfer:
    """Fetches one file into ``partial``; what is there already is continued."""

    def __init__(self, item: WeightFile, partial: Path, network: Network, progress: Progress) -> None:
        self.item, self.partial, self.network, self.progress = item, partial, network, progress
        self.tag = partial.with_name(partial.name + ".tag")
        self.announced: str | None = None
        """SHA-256 that the server states for the file, where it does."""
        self._redirects = _Redirects()
        self._opener = urllib.request.build_opener(self._redirects)

    def run(self) -> None:
        """Fetch until complete.

        Raises:
            WeightsError: The server refuses, or too many attempts in a row brought nothing.
            StorageError: The disk is full.
        """
        failures, reason = 0, ""
        while failures < self.network.attempts:
            before = self._have()
            if failures:
                time.sleep(self.network.pause * 2 ** (failures - 1))
            try:
                self._attempt()
                return
            except _TRANSIENT as error:
                if isinstance(error, urllib.error.HTTPError) and error.code not in _RETRIED:
                    raise self._refused(error) from error
                reason = str(error) or type(error).__name__
                failures = 1 if self._have() > before else failures + 1
            except OSError as error:
                raise storage_error(error, self.partial) from error
        raise WeightsError(
            f"Fetching {self.item.url} failed {failures} times in a row ({reason}).",
            hint="Run the same command again later: it goes on where it stopped.",
        )

    def _have(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _attempt(self) -> None:
        have, tag = self._have(), self.tag.read_text() if self.tag.exists() else ""
        if have and not (tag or self.item.sha256):
            have = 0  # nothing tells whether the rest would be of the same file
        if have and have == self.item.bytes:
            return
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        request = urllib.request.Request(self.item.url, headers=headers)
        try:
            answer = self._opener.open(request, timeout=self.network.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                self.partial.unlink()  # longer than the file, or another file: begin anew
                raise _Broken("the server knows no such range") from error
            raise
        with answer:
            self._receive(answer, have)

    def _receive(self, answer: http.client.HTTPResponse, have: int) -> None:
        begin = _range_start(answer) if answer.status == http.client.PARTIAL_CONTENT else 0
        if begin not in (0, have):
            raise _Broken(f"asked for bytes from {have}, got them from {begin}")
        length = answer.headers.get("Content-Length")
        total = begin + int(length) if length is not None and length.isdigit() else None
        if total is not None and self.item.bytes is not None and total != self.item.bytes:
            raise WeightsError(
                f"Expected {self.item.bytes} bytes of {self.item.url}, the server offers {total}.",
                hint="The file was changed at its source, or a page that is not the file came instead.",
            )
        self.announced = _announced(answer.headers) or self._redirects.announced or self.announced
        if tag := answer.headers.get("ETag"):
            self.tag.write_text(tag)
        self._check_space(total or self.item.bytes, begin)
        done, since, mark = begin, time.monotonic(), begin
        with open(self.partial, "rb+" if begin else "wb") as out:
            out.seek(begin)
            out.truncate()
            while chunk := answer.read1(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                self.progress(done, total or max(done, self.item.bytes or 0), self.item.path)
                now = time.monotonic()
                if now - since > self.network.timeout:
                    if done - mark < self.network.slowest * (now - since):
                        raise _Broken("the transfer crawled")
                    since, mark = now, done
        if total is not None and done < total:
            raise _Broken(f"the connection ended after {done} of {total} bytes")

    def _check_space(self, total: int | None, begin: int) -> None:
        if total is None:
            return
        need = (total - begin) + (total if self.item.convert else 0)
        free = shutil.disk_usage(self.partial.parent).free
        if need > free:
            raise StorageError(
                f"Expected {need / 2**30:.1f} GiB of free space for {self.item.path}, found {free / 2**30:.1f}.",
                hint=f"Free some, or put the weights elsewhere with {folder.FOLDER_VARIABLE}.",
                path=self.partial.parent,
            )

    def _refused(self, error: urllib.error.HTTPError) -> WeightsError:
        if error.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            hint = "The files may need an account: download them by hand and run: gswap weights import"
        else:
            hint = "It was moved or withdrawn at its source; a mirror can be named in the environment."
        return WeightsError(f"The server answers {error.code} ({error.reason}) to {self.item.url}.", hint=hint)


def _range_start(answer: http.client.HTTPResponse) -> int:
    """First byte of a partial answer (``Content-Range: bytes 5-9/10``)."""
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        raise _Broken("a partial answer without a range")
    return int(first)


def _announced(headers: Any) -> str | None:
    """The SHA-256 that the model hub states for large files (``X-Linked-ETag``)."""
    value = (headers.get("X-Linked-ETag") or "").removeprefix("W/").strip('"').lower()
    return value if len(value) == 64 and all(c in "0123456789abcdef" for c in value) else None
