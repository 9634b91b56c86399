"""``evaluation.html``: tables, plots of all methods over the frames, worst frames. One file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from gswap.apps.evaluate import measures as m
from gswap.apps.evaluate.results import PairScores, Table, best
from gswap.output import report_page as page
from gswap.output.report_page import picture

PLOTTED = ("identity_source", "expression", "pose", "gaze", "landmarks", "flicker")
NO_BREAK = "\u00a0"
MOST_PAIRS = 40
"""Pairs that get plots and pictures of their own; the tables count all."""


def evaluation_page(
    title: str,
    facts: Mapping[str, str],
    tables: Sequence[Table],
    pairs: Sequence[PairScores],
    remarks: Sequence[str] = (),
) -> str:
    """The page."""
    names = list(dict.fromkeys(method.method for pair in pairs for method in pair.methods))
    told = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    body = [page.section("What was compared", f"<ul>{told}</ul>")] if told else []
    body += [page.section(made.title, table_html(made) + _notes(made.columns)) for made in tables]
    for pair in pairs[:MOST_PAIRS]:
        body.append(_pair(pair, names, single=len(pairs) == 1))
    body.append(page.section("Software and machine", page.table(facts)))
    count = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''}, {len(names)} method{'s' if len(names) != 1 else ''}"
    return page.document(title, f'<p class="lead">{escape(count)}</p>', "".join(body))


def table_html(made: Table) -> str:
    """Methods by measures; the best number of a column is bold."""
    winners = best(made)
    head = "".join(_head(column) for column in made.columns)
    rows = []
    for name, row in made.rows.items():
        cells = "".join(
            f"<td{_class(winners.get(c.slot) == name)}>{escape(c.show(row.get(c.slot)))}</td>" for c in made.columns
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<table class="scores"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _head(column: m.Measure) -> str:
    title = NO_BREAK.join(column.header.rsplit(" ", 1))  # the arrow stays with the last word
    return f'<th title="{escape(column.explanation)}">{escape(title)}<small>{escape(_unit(column))}</small></th>'


def _class(is_best: bool) -> str:
    return ' class="best"' if is_best else ""


def _unit(column: m.Measure) -> str:
    return f" {column.unit}" if column.unit and column.unit != "%" else ""


def _notes(columns: Sequence[m.Measure]) -> str:
    lines = [
        f"<li><b>{escape(c.title)}</b>: {escape(c.explanation)}"
        + (f" Read by {escape(c.reader)}." if c.reader else "")
        + (f" <em>Stands for {escape(c.stands_for)}, whose weights are missing here.</em>" if c.stands_for else "")
        + "</li>"
        for c in columns
    ]
    return f'<details><summary>What the columns are</summary><ul class="notes">{"".join(lines)}</ul></details>'


def _pair(pair: PairScores, names: Sequence[str], *, single: bool) -> str:
    colours = {name: k for k, name in enumerate(names)}
    parts = [page.facts(pair.facts)]
    titles = {c.slot: c for c in pair.measures}
    curves = []
    for slot in PLOTTED:
        lines = [
            (method.method, colours[method.method], method.scores.frames, method.scores.series[slot])
            for method in pair.methods
            if slot in method.scores.series and np.isfinite(method.scores.series[slot]).any()
        ]
        if lines and slot in titles:
            curves.append(page.several_lines(titles[slot].title, titles[slot].explanation, lines))
    parts.append("".join(curves))
    for method in pair.methods:
        shown = "".join(
            f"<figure>{picture(w.rgb, w.caption)}<figcaption>frame {w.frame}: {escape(w.caption)}</figcaption></figure>"
            for w in method.worst
        )
        told = f"Clip on the left. Looked at: {method.told}. Outside change: {method.scores.outside.compared}."
        parts.append(
            f'<h3>{escape(method.method)}: frames to look at</h3><p class="soft">{escape(told)}</p>'
            f'<div class="gallery wide">{shown}</div>'
        )
    return page.section("Frame by frame" if single else pair.pair, "".join(parts))


def plain_page(title: str, facts: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """A page of one table; the first row is its head."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    made = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return page.document(title, "", page.section(title, made) + page.section("Software and machine", page.table(facts)))
