"""The report of a job: what it did, how good it is, what it cost."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gswap.foundation.store import hash_file, read_json, read_png, write_json
from gswap.foundation.types import JobNotes, Shot, StepTiming
from gswap.output.report import Picture, ReportData, Series, write_report
from gswap.pipeline.config import Job
from gswap.pipeline.parts import digests, identity_embedder, named, required_weights
from gswap.pipeline.quality import Quality, measure
from gswap.pipeline.steps import deliver, ingest

WORST = 4
"""Worst frames that are shown."""
MESH_CAPTION = "The swapped image, the body's mesh as it was tracked, and with the offsets that the fit learned."
PACKAGES = ("gswap", "torch", "numpy", "mediapipe", "av", "opencv-contrib-python", "c2pa-python")


def report_path(job: Job) -> Path:
    """Where a job's report goes: beside its output, under its whole name (``out.mp4.report.html``)."""
    return job.out.with_name(f"{job.out.name}.report.html")


def write_job_report(
    job: Job,
    folders: dict[str, Path],
    notes: dict[str, dict[str, Any]],
    timings: tuple[StepTiming, ...],
    written: tuple[Path, ...],
) -> Path:
    """Measure the result and write the HTML and JSON report; returns the HTML's path."""
    quality = measure(folders, job.settings.perceive, embed=identity_embedder(job))
    count = int(notes["ingest"]["frames"])
    clip = ingest.load_clip(folders["ingest"], job)
    untouched = _runs(notes["perceive"]["untouched"])
    facts = {
        "clip": f"{count} frames, {clip.info.width}x{clip.info.height}, {clip.info.fps:.3f} frames a second",
        "recipe": job.recipe,
        **{f"part: {part}": choice for part, choice in named(job.parts).items()},
        **{f"generator: {fact}": str(value) for fact, value in notes["swap"].get("generator", {}).items()},
        "photos": str(notes["ingest"]["photos"]),
        "shots": str(notes["ingest"]["shots"]),
        "window": "{}x{} pixels".format(*notes["segment"]["window"]),
        "mouth": job.mouth,
        "label": job.label,
        "watermark id": str(notes["deliver"]["watermark_id"]),
        "identity, source (lower is better)": _mean(quality.identity_source),
        "  photos among themselves": f"{quality.photos_distance:.3f}",
        "identity, target (higher is better)": _mean(quality.identity_target),
        "  the two people": f"{quality.people_distance:.3f}",
        "expression error (eye distances)": _mean(quality.expression, 4),
        "pose error (degrees)": _mean(quality.pose, 2),
        "flicker (1 = as in the clip)": _mean(quality.flicker, 2),
        "lid correlation": f"{quality.lid_correlation:.3f}",
        "  by single looks": f"{quality.lid_correlation_once:.3f}",
        "  two looks at the clip itself": f"{quality.lid_repeat:.3f}",
        "mouth correlation": f"{quality.mouth_correlation:.3f}",
    }
    warnings = tuple(w for step in notes.values() for w in step.get("warnings", ()))
    data = ReportData(
        title=f"Head swap: {job.out.name}",
        facts=facts,
        series=_series(quality, job.parts.identity),
        worst=_worst(quality, folders, count),
        contact_sheet=read_png(folders["deliver"] / "sheet.png"),
        mesh=Picture(MESH_CAPTION, read_png(folders["deliver"] / "mesh.png")),
        timings=timings,
        versions={name: version(name) for name in PACKAGES}
        | {"python": platform.python_version(), "machine": platform.platform(), "device": job.device},
        hashes={"target": notes["ingest"]["target_sha256"]}
        | {f"photo {i}": digest for i, digest in enumerate(notes["ingest"]["photo_sha256"], 1)}
        | {f"weights {name}": digest for name, digest in digests(required_weights(job)).items()}
        | {path.name: hash_file(path) for path in written},
        notes=JobNotes(warnings, tuple(notes["swap"].get("advice", ()))),
        untouched=untouched,
    )
    html, json_path = write_report(report_path(job), data)
    write_json(folders["deliver"] / "report.json", read_json(json_path))
    return html


def _series(quality: Quality, identity: str) -> list[Series]:
    return [
        Series(
            "identity, source", quality.identity_source, "", "lower", f"Distance to the nearest photo ({identity})."
        ),
        Series("identity, target", quality.identity_target, "", "higher", "Distance to the person in the clip."),
        Series("expression", quality.expression, "eye distances", "lower", "Difference to the clip, medians removed."),
        Series("pose", quality.pose, "degrees", "lower", "Difference to the clip, medians removed."),
        Series("flicker", quality.flicker, "", "lower", "Unrest that motion does not explain; 1 = as in the clip."),
        Series("track confidence", quality.confidence, "", "higher", "How certain the face was found."),
    ]


def _worst(quality: Quality, folders: dict[str, Path], count: int) -> list[Picture]:
    """The frames with the largest sum of relative errors."""
    times = quality.measured
    if not len(times):
        return []
    score = np.zeros(len(times))
    for values in (quality.identity_source, quality.expression, quality.pose, quality.flicker):
        picked = values[times]
        if np.isfinite(picked).any():
            score += np.nan_to_num(picked / max(float(np.nanmedian(picked)), 1e-6))
    order = np.argsort(-score)[:WORST]
    return [
        Picture(
            f"frame {times[k]}: identity {quality.identity_source[times[k]]:.2f}, expression "
            f"{quality.expression[times[k]]:.3f}, pose {quality.pose[times[k]]:.1f} degrees",
            deliver.work_image(folders, count, int(times[k])),
        )
        for k in order
    ]


def _mean(values: np.ndarray, digits: int = 3) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.mean():.{digits}f}" if len(finite) else "not measured"


def _runs(frames: list[int]) -> list[Shot]:
    """Sorted frame numbers -> runs."""
    runs: list[Shot] = []
    for t in frames:
        if runs and runs[-1].stop == t:
            runs[-1] = Shot(runs[-1].start, t + 1)
        else:
            runs.append(Shot(t, t + 1))
    return runs
