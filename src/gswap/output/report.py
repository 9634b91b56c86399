"""The quality report of a job: one self-contained HTML page for people, one JSON for machines.

The page needs no network and no other file: style, plots (SVG) and pictures (data URLs) are inside. The JSON holds no
pictures, so that it can outlive a purge; see :mod:`gswap.output.purge` for what of it is biometric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gswap.foundation.store import write_bytes, write_json
from gswap.foundation.types import JobNotes, RgbImage, Shot, StepTiming
from gswap.output import report_page as page

FORMAT_VERSION = 1
HTML_NAME = "report.html"


@dataclass(frozen=True)
class Series:
    """One number per frame, with what it means. Plotted over the frames; NaN leaves a gap."""

    name: str
    values: Float[np.ndarray, "t"]
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"
    explanation: str = ""
    """One sentence for the reader, for example ``cosine similarity with the photos``."""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption, for example ``frame 117: identity 0.41``."""

    caption: str
    rgb: RgbImage


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows. Empty parts are left out of the page."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Shown at the top: frames, size, recipe, consent kind, watermark id ..."""
    series: Sequence[Series] = ()
    worst: Sequence[Picture] = ()
    contact_sheet: RgbImage | None = None
    mesh: Picture | None = None
    """The head's mesh before and after the fit added to it (Fig. 9 of arXiv 2603.23168)."""
    timings: Sequence[StepTiming] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """Software and device."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """What went in and came out -> SHA-256."""
    notes: JobNotes = field(default_factory=JobNotes)
    untouched: Sequence[Shot] = ()
    """Frame ranges without the person, passed through unchanged."""


def write_report(destination: Path, data: ReportData) -> tuple[Path, Path]:
    """Write the report.

    Args:
        destination: A folder (made if missing), in which ``report.html`` and ``report.json`` appear, or a path that
            ends in ``.html``, beside which the JSON of the same name appears.
        data: What it shows.

    Returns:
        Paths of the HTML and the JSON.
    """
    html = destination if destination.suffix == ".html" else destination / HTML_NAME
    html.parent.mkdir(parents=True, exist_ok=True)
    write_json(html.with_suffix(".json"), to_json(data))
    write_bytes(html, to_html(data).encode("utf-8", "surrogateescape"))
    return html, html.with_suffix(".json")


def to_json(data: ReportData) -> dict[str, Any]:
    """The report without its pictures, as JSON-able values."""
    return {
        "format": FORMAT_VERSION,
        "title": data.title,
        "facts": dict(data.facts),
        "series": {
            s.name: {
                "unit": s.unit,
                "better": s.better,
                "explanation": s.explanation,
                "summary": dict(summary(s.values)),
                "values": [round(float(v), 6) if math.isfinite(v) else None for v in s.values],
            }
            for s in data.series
        },
        "steps": [
            {
                "step": t.step,
                "wall_seconds": round(t.wall_seconds, 3),
                "cpu_seconds": round(t.cpu_seconds, 3),
                "peak_memory_mb": round(t.peak_memory_mb, 1),
                "reused": t.reused,
            }
            for t in data.timings
        ],
        "versions": dict(data.versions),
        "sha256": dict(data.hashes),
        "warnings": list(data.notes.warnings),
        "advice": list(data.notes.advice),
        "untouched_frames": [[shot.start, shot.stop] for shot in data.untouched],
    }


def summary(values: Float[np.ndarray, "t"]) -> Mapping[str, float | int | None]:
    """Mean, minimum, maximum, 5 % and 95 % quantiles of the finite values, and how many there are."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return {"count": 0, "mean": None, "min": None, "max": None, "p05": None, "p95": None}
    low, high = np.quantile(finite, [0.05, 0.95])
    numbers = {"mean": finite.mean(), "min": finite.min(), "max": finite.max(), "p05": low, "p95": high}
    return {"count": int(finite.size)} | {k: round(float(v), 6) for k, v in numbers.items()}


def to_html(data: ReportData) -> str:
    """The report as one self-contained page."""
    sections = [
        _notes("Warnings", data.notes.warnings, "warning"),
        _notes("What would help", data.notes.advice, "advice"),
        _untouched(data.untouched),
        page.section("Over the frames", "".join(_plot(s) for s in data.series)) if data.series else "",
        page.section("Frames to look at", _gallery(data.worst)) if data.worst else "",
        page.section("Contact sheet", page.picture(data.contact_sheet, "contact sheet"))
        if data.contact_sheet is not None
        else "",
        _mesh(data.mesh) if data.mesh is not None else "",
        page.section("Where the time went", _timings(data.timings)) if data.timings else "",
        page.section("Software and machine", page.table(data.versions)) if data.versions else "",
        page.section("SHA-256", page.table(data.hashes, mono=True)) if data.hashes else "",
    ]
    return page.document(data.title, page.facts(data.facts), "".join(sections))


def _notes(title: str, sentences: Iterable[str], kind: str) -> str:
    items = "".join(f"<li>{escape(s)}</li>" for s in sentences)
    return page.section(title, f'<ul class="{kind}">{items}</ul>') if items else ""


def _untouched(ranges: Sequence[Shot]) -> str:
    if not ranges:
        return ""
    total = sum(r.stop - r.start for r in ranges)
    listed = ", ".join(f"{r.start}" if r.stop == r.start + 1 else f"{r.start}-{r.stop - 1}" for r in ranges)
    return page.section("Frames passed through unchanged", f"<p>{total} without the person: {escape(listed)}</p>")


def _gallery(pictures: Sequence[Picture]) -> str:
    figures = (
        f"<figure>{page.picture(p.rgb, p.caption)}<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in pictures
    )
    return f'<div class="gallery">{"".join(figures)}</div>'


def _mesh(picture: Picture) -> str:
    caption = f'<p class="soft">{escape(picture.caption)}</p>'
    return page.section("Mesh", caption + page.picture(picture.rgb, "mesh before and after the fit"))


def _plot(series: Series) -> str:
    numbers = summary(series.values)
    if not numbers["count"]:
        return ""
    unit = f" {series.unit}" if series.unit else ""
    extreme = "min" if series.better == "higher" else "max"
    finite = np.where(np.isfinite(series.values), series.values, np.nan)
    at = int(np.nanargmin(finite) if series.better == "higher" else np.nanargmax(finite))
    head = (
        f"<b>{escape(series.name)}</b> <span>{escape(series.explanation)}</span>"
        f'<span class="number">mean {numbers["mean"]:.3g}{escape(unit)} · '
        f"worst {numbers[extreme]:.3g}{escape(unit)} at frame {at} · {series.better} is better</span>"
    )
    return f'<div class="plot"><div class="plot-head">{head}</div>{page.line_plot(series.values, mark=at)}</div>'


def _timings(timings: Sequence[StepTiming]) -> str:
    longest = max((t.wall_seconds for t in timings), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{escape(t.step)}</td>"
        f'<td class="bar"><i style="width:{100 * t.wall_seconds / longest:.1f}%"></i></td>'
        f"<td>{t.wall_seconds:.1f} s</td><td>{t.cpu_seconds:.1f} s</td><td>{t.peak_memory_mb:.0f} MB</td>"
        f"<td>{'reused' if t.reused else ''}</td></tr>"
        for t in timings
    )
    total = sum(t.wall_seconds for t in timings)
    head = "<tr><th>step</th><th></th><th>wall</th><th>cpu</th><th>peak memory</th><th></th></tr>"
    foot = f"<tr><th>all</th><th></th><th>{total:.1f} s</th><th></th><th></th><th></th></tr>"
    return f'<table class="steps">{head}{rows}{foot}</table>'
