"""What an evaluation found: scores per pair and method, the tables made of them, and both as JSON and Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gswap.apps.evaluate import measures as m
from gswap.apps.evaluate.scoring import Scores
from gswap.foundation.errors import InputError
from gswap.foundation.types import RgbImage

FORMAT_VERSION = 1
TITLES: dict[m.Group, str] = {
    "paper": "The paper's measures (Table II)",
    "own": "Against the clip",
    "truth": "Against the true answer",
    "reference": "Against what the portrait learned from",
}
"""Groups of columns and the titles of their tables."""
GROUPS = tuple(TITLES)


@dataclass(frozen=True)
class WorstFrame:
    """A frame to look at."""

    frame: int
    caption: str
    rgb: RgbImage
    """Clip, result and, where there is one, truth, beside each other."""


@dataclass(frozen=True)
class MethodScores:
    """One method on one pair."""

    method: str
    told: str
    scores: Scores
    worst: Sequence[WorstFrame] = ()


@dataclass(frozen=True)
class PairScores:
    """All methods on one pair."""

    pair: str
    measures: tuple[m.Measure, ...]
    methods: Sequence[MethodScores]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Methods by measures."""

    title: str
    columns: tuple[m.Measure, ...]
    rows: Mapping[str, Mapping[str, float]]
    """Method -> slot -> mean over the pairs."""
    counts: Mapping[str, int]
    """Method -> pairs that it was scored on."""


def columns_of(pairs: Sequence[PairScores]) -> tuple[m.Measure, ...]:
    """The measures of an evaluation.

    Raises:
        InputError: Two pairs were read by different networks.
    """
    columns: dict[str, m.Measure] = {}
    for pair in pairs:
        for measure in pair.measures:
            known = columns.setdefault(measure.slot, measure)
            if known.reader != measure.reader:
                raise InputError(
                    f"{measure.title!r} was read by {known.reader!r} and by {measure.reader!r}: not one measure.",
                    hint="Score all pairs in one run.",
                )
    _refuse_mixture(columns)
    order = [slot for slot in columns if columns[slot].group == "paper"]
    return tuple(columns[slot] for slot in order + [slot for slot in columns if slot not in order])


def _refuse_mixture(columns: Mapping[str, m.Measure]) -> None:
    """A measure and its stand-in in one table would invite comparing them."""
    titles = [f"{measure.title} " for measure in columns.values() if not measure.stands_for]
    for measure in columns.values():
        if measure.stands_for and any(title.startswith(f"{measure.stands_for} ") for title in titles):
            raise InputError(
                f"One pair has {measure.stands_for}, another its stand-in {measure.title!r}.",
                hint="Score all pairs in one run, with the same weights.",
            )


def table(title: str, pairs: Sequence[PairScores], groups: Sequence[m.Group]) -> Table:
    """Means over the pairs, every pair counting the same."""
    columns = tuple(c for c in columns_of(pairs) if c.group in groups)
    gathered: dict[str, dict[str, list[float]]] = {}
    counts: dict[str, int] = {}
    for pair in pairs:
        for method in pair.methods:
            row = gathered.setdefault(method.method, {})
            counts[method.method] = counts.get(method.method, 0) + 1
            for column in columns:
                value = method.scores.means.get(column.slot, float("nan"))
                if not math.isnan(value):
                    row.setdefault(column.slot, []).append(value)
    rows = {name: {slot: float(np.mean(v)) for slot, v in row.items()} for name, row in gathered.items()}
    filled = {slot for row in rows.values() for slot in row}
    return Table(title, tuple(c for c in columns if c.slot in filled), rows, counts)


def best(made: Table) -> dict[str, str]:
    """Slot -> the best method, where there is a choice."""
    out = {}
    for column in made.columns:
        values = {name: row.get(column.slot, float("nan")) for name, row in made.rows.items()}
        ranked = m.ranks(column, values, [column.reader])
        if len(ranked) > 1 and column.show(values[ranked[0]]) != column.show(values[ranked[-1]]):
            out[column.slot] = ranked[0]
    return out


def cell(text: str) -> str:
    """Text as a cell of a Markdown table: what it holds of bars does not end the cell."""
    return text.replace("|", "\\|")


def markdown(made: Table) -> str:
    """The table, its best numbers bold, and what the columns are."""
    winners = best(made)
    several = max(made.counts.values(), default=0) > 1
    head = ["method", *(c.header + (f" [{c.unit}]" if c.unit and c.unit != "%" else "") for c in made.columns)]
    lines = ["| " + " | ".join(head + (["pairs"] if several else [])) + " |", "|---" * (len(head) + several) + "|"]
    for name, row in made.rows.items():
        cells = []
        for column in made.columns:
            text = column.show(row.get(column.slot))
            cells.append(f"**{text}**" if winners.get(column.slot) == name else text)
        lines.append("| " + " | ".join([cell(name), *cells, *([str(made.counts[name])] if several else [])]) + " |")
    stand_ins = [f"{c.title} stands for {c.stands_for}, which needs weights" for c in made.columns if c.stands_for]
    readers = [f"{c.title}: {c.reader}" for c in made.columns if c.reader and c.group == "paper"]
    notes = "".join(f"\n{line}." for line in ["; ".join(stand_ins), "; ".join(readers)] if line)
    return f"### {made.title}\n\n" + "\n".join(lines) + "\n" + notes + ("\n" if notes else "")


def to_json(pairs: Sequence[PairScores], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the pictures."""
    return {
        "format": FORMAT_VERSION,
        "facts": dict(facts),
        "measures": [asdict(c) for c in columns_of(pairs)],
        "means": {name: rounded(row) for name, row in table("", pairs, GROUPS).rows.items()},
        "pairs": {
            pair.pair: {
                "facts": dict(pair.facts),
                "methods": {
                    method.method: {
                        "told": method.told,
                        "means": rounded(method.scores.means),
                        "outside": asdict(method.scores.outside),
                        "frames": method.scores.frames.tolist(),
                        "series": {k: _numbers(v) for k, v in method.scores.series.items()},
                        "worst": [{"frame": w.frame, "why": w.caption} for w in method.worst],
                    }
                    for method in pair.methods
                },
            }
            for pair in pairs
        },
    }


def rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which has no NaN and no infinity."""
    return {name: round(float(v), 6) if math.isfinite(v) else None for name, v in values.items()}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(float(v), 5) if math.isfinite(v) else None for v in values]
