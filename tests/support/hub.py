"""A stand-in for the model hub on the loopback interface, with the faults of real ones."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Hub:
    """What the server serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    base: str = ""
    cut_after: list[int] = field(default_factory=list)
    """For each coming answer: break the connection after this many bytes."""
    statuses: list[int] = field(default_factory=list)
    """For each coming answer: this status instead."""
    ranges: bool = True
    stall: float = 0.0
    """Seconds of silence before the answers that are cut."""
    drip: int = 0
    """Answers that are sent a few bytes at a time."""
    announce: bool = False
    """State the SHA-256 as the model hub does, on a redirect."""
    redirect_to: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *args):
            pass

        def do_GET(self):
            wanted = self.headers.get("Range")
            hub.requests.append((self.path, wanted))
            self.close_connection = True
            if hub.statuses:
                status = hub.statuses.pop(0)
                if status != 200:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            data = hub.files.get(self.path.removeprefix("/cdn"))
            if data is None:
                self.send_error(404)
                return
            if hub.redirect_to and not self.path.startswith("/cdn"):
                self.send_response(302)
                self.send_header("Location", f"{hub.redirect_to}/cdn{self.path}")
                if hub.announce:
                    self.send_header("X-Linked-ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            begin = 0
            if wanted and hub.ranges and self.headers.get("If-Range", tag) == tag:
                begin = int(wanted.removeprefix("bytes=").rstrip("-"))
                if begin >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            if hub.cut_after:
                self.wfile.write(data[begin : begin + hub.cut_after.pop(0)])
                self.wfile.flush()
                time.sleep(hub.stall)
            elif hub.drip:
                hub.drip -= 1
                for place in range(begin, len(data), 500):
                    try:
                        self.wfile.write(data[place : place + 500])
                    except OSError:
                        return
                    time.sleep(0.02)
            else:
                self.wfile.write(data[begin:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def publish(root: Path, hub: Hub, monkeypatch, only: Collection[str] | None = None) -> list[str]:
    """Serve tiny parts under the addresses of the real ones, and let the catalogue forget the real ones' hashes.

    Files that are published as pickles are served as pickles. The variables with the addresses of hub and releases are
    to be set before. Returns the names of the parts.
    """
    import torch
    from safetensors.torch import load_file

    from gswap.foundation.weights import catalogue

    names = sorted(p.name for p in root.iterdir() if only is None or p.name in only)
    for name in names:
        part = catalogue.spec(name)
        files = tuple(replace(item, sha256=None, bytes=None) for item in part.files)
        monkeypatch.setitem(catalogue.CATALOGUE, name, replace(part, files=files))
        for item in files:
            local = root / name / item.path
            address = item.url.removeprefix(hub.base)
            if item.convert == "pickle":
                stream = io.BytesIO()
                torch.save(load_file(local), stream)
                hub.files[address] = stream.getvalue()
            else:
                hub.files[address] = local.read_bytes()
    return names
