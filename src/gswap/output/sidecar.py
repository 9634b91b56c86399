"""Signed sidecars for what C2PA cannot embed in: mkv, webm, EXR, and sequences of images.

A sidecar is a JSON list of SHA-256, signed (detached ES256) with the key that signs the manifests. It lies beside the
file (``out.mkv.gswap.json``), or in the folder of a sequence (``gswap-sidecar.json``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.store import hash_file, read_json, write_json
from gswap.output.keys import SigningIdentity, is_trusted, signer_name, verify_signature
from gswap.output.manifest import Provenance
from gswap.output.marks import COMPOSITE_SOURCE_TYPE

FORMAT_VERSION = 1
FILE_SUFFIX = ".gswap.json"
FOLDER_NAME = "gswap-sidecar.json"
SidecarState = Literal["trusted", "valid", "invalid"]


@dataclass(frozen=True)
class SidecarReport:
    """What a sidecar says and whether it holds."""

    path: Path
    state: SidecarState
    """``trusted``: intact, signed under a root of this user; ``valid``: intact, unknown signer."""
    failures: tuple[str, ...] = ()
    signer: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def sidecar_path(output: Path) -> Path:
    """Where the sidecar of a file, or of a folder with a sequence, lies."""
    return output / FOLDER_NAME if output.is_dir() else output.with_name(output.name + FILE_SUFFIX)


def find_sidecar(path: Path) -> Path | None:
    """The sidecar that covers ``path``: its own, or that of the sequence it belongs to (layers have a folder each)."""
    for candidate in (sidecar_path(path), path.parent / FOLDER_NAME, path.parent.parent / FOLDER_NAME):
        if candidate.is_file() and candidate != path:
            return candidate
    return None


def write_sidecar(output: Path, *, provenance: Provenance, inputs: Iterable[Path], signer: SigningIdentity) -> Path:
    """Sign a finished file, or every file below a folder.

    Args:
        output: The file or the folder.
        provenance: How it was made.
        inputs: Clip and photos; only their hashes are kept.
        signer: Whose signature.

    Returns:
        Path of the sidecar.

    Raises:
        MissingInputError: ``output`` or an input cannot be read, or the folder is empty.
    """
    files = _files(output)
    if not files:
        raise MissingInputError("There is nothing here to sign.", path=output)
    root = output if output.is_dir() else output.parent
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "generator": f"gswap {version('gswap')}",
        "digital_source_type": COMPOSITE_SOURCE_TYPE,
        "files": [{"name": path.relative_to(root).as_posix(), "sha256": hash_file(path)} for path in files],
        "provenance": {
            "recipe": provenance.recipe,
            "config_sha256": provenance.config_hash,
            "consent_sha256": provenance.consent_hash,
            "weights_sha256": dict(provenance.weights),
            "inputs_sha256": [hash_file(path) for path in inputs],
            "label": provenance.label,
            "watermark_id": None if provenance.watermark_id is None else f"{provenance.watermark_id:06x}",
            "notes": list(provenance.notes),
        },
        "certificates": signer.certificates,
    }
    signature = base64.b64encode(signer.sign(_canonical(content))).decode()
    path = sidecar_path(output)
    write_json(path, content | {"signature": signature})
    return path


def read_sidecar(path: Path, *, only: Path | None = None) -> SidecarReport:
    """Check a sidecar: its signature, and the files it lists.

    Args:
        path: The sidecar.
        only: Check this file alone (a file is recognised by its content, whatever its name); by default all, and
            that no file was added or taken away.

    Raises:
        MissingInputError: A file that should be checked cannot be read.
    """
    try:
        content = read_json(path)
        signature = base64.b64decode(content.pop("signature"), validate=True)
        certificates = str(content["certificates"])
        listed = {str(item["name"]): str(item["sha256"]) for item in content["files"]}
        signer = signer_name(certificates)
        provenance = content["provenance"]
    except (InputError, ValueError, TypeError, KeyError, AttributeError):
        return SidecarReport(path, "invalid", ("not a sidecar of gswap",))
    failures = []
    if not verify_signature(certificates, signature, _canonical(content)):
        failures.append("signature mismatch")
    failures += _compare_one(only, listed) if only is not None else _compare_all(path, listed)
    state: SidecarState = "invalid" if failures else "trusted" if is_trusted(certificates) else "valid"
    return SidecarReport(path, state, tuple(failures), signer, provenance)


def _compare_one(path: Path, listed: Mapping[str, str]) -> list[str]:
    return [] if hash_file(path) in listed.values() else [f"{path.name}: not what was signed"]


def _compare_all(sidecar: Path, listed: Mapping[str, str]) -> list[str]:
    root = sidecar.parent
    failures = []
    for name, digest in listed.items():
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            failures.append(f"{name}: outside the folder")
        elif not path.is_file():
            failures.append(f"{name}: missing")
        elif hash_file(path) != digest:
            failures.append(f"{name}: not what was signed")
    if sidecar.name == FOLDER_NAME:
        present = {path.relative_to(root).as_posix() for path in _files(root)}
        failures += [f"{name}: added later" for name in sorted(present - set(listed))]
    return failures


def _files(output: Path) -> list[Path]:
    if not output.is_dir():
        return [output]
    # What file managers leave behind (.DS_Store) comes and goes: it is not signed.
    return sorted(
        path
        for path in output.rglob("*")
        if path.is_file()
        and path.name != FOLDER_NAME
        and not any(part.startswith(".") for part in path.relative_to(output).parts)
    )


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
