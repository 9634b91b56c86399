"""Erasing the biometric data of a workspace: photos, tracks, masks, I_gen, the portrait, and the report's pictures.

What stays is what cannot identify anybody: the marker file, and the report's JSON without its per-frame curves. Files
are unlinked, not overwritten: on solid-state and copy-on-write disks overwriting proves nothing; encrypt the disk.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gswap.foundation.errors import MissingInputError, UsageError
from gswap.foundation.store import read_json, storage_error, write_json

MARKER_NAME = "gswap-workspace.json"
"""The pipeline writes it into every workspace; a folder without it is never purged."""
_KEPT_REPORT = "report.json"
_BIOMETRIC_FIELDS = ("series", "sha256")
"""Of the report: motion and likeness over time, and the hashes that recognise the photos."""


@dataclass(frozen=True)
class PurgeResult:
    """What :func:`purge` did."""

    removed_files: int
    removed_bytes: int
    kept: tuple[Path, ...]


def purge(workspace: Path) -> PurgeResult:
    """Erase everything biometric in ``workspace``. Links are removed, never followed. Run it again if interrupted.

    Raises:
        MissingInputError: There is no such folder.
        UsageError: The folder is not a gswap workspace, so nothing was touched.
        PermissionDeniedError: Something in it cannot be removed.
    """
    if not workspace.is_dir():
        raise MissingInputError("There is no such folder.", path=workspace)
    marker = workspace / MARKER_NAME
    if marker.is_symlink() or not marker.is_file():
        raise UsageError(
            f"Expected a gswap workspace, found a folder without {MARKER_NAME}; nothing was erased.",
            hint="Give the folder that --work named.",
            path=workspace,
        )
    kept = [marker]
    reports = [path for path in _plain_files(workspace) if path.name == _KEPT_REPORT and not path.is_symlink()]
    if reports:
        newest = max(reports, key=lambda path: path.stat().st_mtime_ns)
        write_json(workspace / _KEPT_REPORT, _without_biometrics(newest))
        kept.append(workspace / _KEPT_REPORT)
    files = [path for path in _plain_files(workspace) if path not in kept]
    size = sum(path.lstat().st_size for path in files)
    try:
        for entry in sorted(set(workspace.iterdir()) - set(kept)):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise storage_error(error, workspace) from error
    return PurgeResult(len(files), size, tuple(kept))


def _without_biometrics(path: Path) -> dict[str, object]:
    report = read_json(path)
    if report.get("purged"):
        return report
    curves = {name: {"summary": s.get("summary")} for name, s in report.get("series", {}).items()}
    return {k: v for k, v in report.items() if k not in _BIOMETRIC_FIELDS} | {"series_summary": curves, "purged": True}


def _plain_files(folder: Path) -> list[Path]:
    """Files and links below ``folder``, links not followed."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=False):
        found += [Path(root, name) for name in names]
        found += [Path(root, name) for name in folders if Path(root, name).is_symlink()]
    return sorted(found)
