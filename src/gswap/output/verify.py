"""One report on any file: manifest and its ingredients, watermark, metadata marks, sidecar; and an exit code.

The layers fail differently: a re-encode drops manifest and XMP and keeps the watermark; a still keeps the manifest and
has no watermark; a sidecar gets lost with its folder. Absence proves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gswap.foundation.errors import InputError, MissingInputError
from gswap.output.credentials import UNTRUSTED, IngredientReport, ManifestReport, read_manifest, walk
from gswap.output.marks import Marks, read_marks
from gswap.output.sidecar import FOLDER_NAME, SidecarReport, find_sidecar, read_sidecar
from gswap.output.watermark_detect import LEAST_SECONDS, WatermarkResult, detect

EXIT_INTACT = 0
"""A manifest or a signed sidecar covers the file, and everything it covers is unchanged."""
EXIT_UNSIGNED = 1
"""Nothing signed covers the file (marks or a watermark may still have been found)."""
EXIT_TAMPERED = 65
"""A manifest or a sidecar is there and does not hold, or an ingredient's did not."""
EXAMINED_SECONDS = 60.0
"""How much of a video is searched for the watermark."""

ReadLuma = Callable[[Path], Iterator[tuple[float, np.ndarray]]]
"""Opens a video: (presentation time in seconds, luma plane) of its frames; ``InputError``, or no frame, for others."""


@dataclass(frozen=True)
class VerifyReport:
    """What a file says about itself, and whether it holds."""

    path: Path
    manifest: ManifestReport
    marks: Marks
    watermark: WatermarkResult | None
    """``None`` when the file is not a video that can be read, or was not searched."""
    sidecar: SidecarReport | None

    @property
    def exit_code(self) -> int:
        """For scripts: :data:`EXIT_INTACT`, :data:`EXIT_UNSIGNED` or :data:`EXIT_TAMPERED`."""
        broken = self.manifest.state == "invalid" or (self.sidecar is not None and self.sidecar.state == "invalid")
        if broken or self.manifest.tampered_ingredients():
            return EXIT_TAMPERED
        return EXIT_INTACT if self.manifest.intact or self.sidecar is not None else EXIT_UNSIGNED

    @property
    def ai_modified(self) -> bool:
        """Whether anything in the file says that it was made or modified by AI."""
        declared = any("lgorithmicMedia" in t for t in (*self.manifest.source_types, *self.marks.xmp, *self.marks.tags))
        sidecar = self.sidecar is not None and bool(self.sidecar.provenance)
        return declared or sidecar or (self.watermark is not None and self.watermark.found)


def verify_file(path: Path, *, read_luma: ReadLuma | None = None) -> VerifyReport:
    """Check one file, or a folder with a signed sequence.

    Args:
        path: Anybody's file.
        read_luma: Opens videos for the watermark search; without it there is none.

    Raises:
        MissingInputError: The file is not there, cannot be read, or is a device or pipe.
    """
    if path.is_dir():
        sidecar = path / FOLDER_NAME
        if not sidecar.is_file():
            raise MissingInputError(f"The folder holds no {FOLDER_NAME}.", hint="Name the files in it.", path=path)
        return VerifyReport(path, ManifestReport("unsupported"), Marks(), None, read_sidecar(sidecar))
    if not path.is_file():
        found = "a pipe or a device" if path.exists() else "nothing"
        raise MissingInputError(f"Expected a file or a folder, found {found}.", path=path)
    sidecar = find_sidecar(path)
    return VerifyReport(
        path=path,
        manifest=read_manifest(path),
        marks=read_marks(path),
        watermark=None if read_luma is None else _watermark(path, read_luma),
        sidecar=None if sidecar is None else read_sidecar(sidecar, only=path),
    )


def _watermark(path: Path, read_luma: ReadLuma) -> WatermarkResult | None:
    try:
        result = detect(read_luma(path), max_seconds=EXAMINED_SECONDS)
    except InputError:
        return None
    return result if result.seconds > 0 else None


# ---------------------------------------------------------------- words
def sentences(report: VerifyReport) -> Iterator[str]:
    """The report for people, one finding a line, without the control characters that a file of others may hold."""
    yield from map(printable, _sentences(report))


def printable(text: str) -> str:
    """``text`` with what a terminal would obey or break at replaced."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _sentences(report: VerifyReport) -> Iterator[str]:
    manifest = report.manifest
    by = f" by {manifest.signer}" if manifest.signer else ""
    yield {
        "trusted": f"Manifest: intact, signed{by} (a signer you trust).",
        "valid": f"Manifest: intact, signed{by} (an unrecognised signer: integrity, not identity).",
        "invalid": f"Manifest: DOES NOT HOLD ({_reasons(manifest.failures)}).",
        "absent": "Manifest: none.",
        "unsupported": "Manifest: this format cannot carry one.",
        "unreadable": "Manifest: none; the file is damaged, or not what its name says.",
    }[manifest.state]
    if manifest.signed_at:
        yield f"  Signed at {manifest.signed_at}, says its time stamp."
    for depth, ingredient in _depths(manifest.ingredients):
        failures = f" ({_reasons(ingredient.failures)})" if ingredient.state == "invalid" else ""
        state = {"absent": "no manifest of its own", "invalid": "ITS MANIFEST DID NOT HOLD"}.get(
            ingredient.state, f"manifest {ingredient.state}"
        )
        yield f"  {'  ' * depth}{ingredient.relationship} {ingredient.title or 'untitled'}: {state}{failures}."
    yield from _watermark_sentences(report)
    marks = [*(f"XMP {m}" for m in report.marks.xmp), *(f"tag {m}" for m in report.marks.tags)]
    yield f"Metadata marks: {', '.join(marks) or 'none'}."
    if report.sidecar is not None:
        holds = report.sidecar.state != "invalid"
        verdict = f"intact, signed by {report.sidecar.signer}" if holds else "DOES NOT HOLD"
        yield f"Sidecar: {verdict}{'' if holds else ' (' + '; '.join(report.sidecar.failures) + ')'}."
    yield {
        EXIT_INTACT: "Result: unchanged since it was signed.",
        EXIT_UNSIGNED: "Result: nothing signed covers this file.",
        EXIT_TAMPERED: "Result: changed after it was signed, or made from something that was.",
    }[report.exit_code] + (" It says that it was modified by AI." if report.ai_modified else "")


def _reasons(failures: Sequence[str]) -> str:
    """Why a manifest does not hold: an unknown signer is not a reason."""
    return ", ".join(f for f in failures if f != UNTRUSTED) or ", ".join(failures)


def _watermark_sentences(report: VerifyReport) -> Iterable[str]:
    mark = report.watermark
    if mark is None:
        yield "Watermark: not searched (no readable video)."
    elif mark.identifier is not None:
        yield f"Watermark: found, id {mark.identifier:06x}."
        if report.manifest.watermark and report.manifest.watermark != f"{mark.identifier:06x}":
            yield f"  The manifest names another id, {report.manifest.watermark}: marked more than once."
    elif mark.found:
        yield "Watermark: present, its id cannot be read."
    elif mark.seconds < LEAST_SECONDS:
        yield f"Watermark: cannot be looked for in {mark.seconds:.1f} s; it takes {LEAST_SECONDS:.1f} s."
    else:
        yield "Watermark: none found."


def _depths(ingredients: tuple[IngredientReport, ...], depth: int = 0) -> Iterator[tuple[int, IngredientReport]]:
    for ingredient in ingredients:
        yield depth, ingredient
        yield from _depths(ingredient.ingredients, depth + 1)


def to_json(report: VerifyReport) -> dict[str, Any]:
    """The report for machines."""
    value = dataclasses.asdict(report)
    value["path"] = str(report.path)
    if report.sidecar is not None:
        value["sidecar"]["path"] = str(report.sidecar.path)
    value["exit_code"] = report.exit_code
    value["ai_modified"] = report.ai_modified
    value["tampered_ingredients"] = len([i for i in walk(report.manifest.ingredients) if i.state == "invalid"])
    return value
