"""How the report looks: style, page frame, tables and SVG line plots. Knows nothing of what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from jaxtyping import Float

PLOT_WIDTH, PLOT_HEIGHT = 1000, 150
"""Size of a plot in SVG units; it scales with the page."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 20
_MAX_POINTS = 2000
"""Longer series are thinned to the minimum and maximum of every bin."""

_STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --ink: #1c1e21; --soft: #6a7078; --line: #e3e4e6;
  --accent: #2f6fde; --bad: #c8452f; --good: #2c8a5a; }
@media (prefers-color-scheme: dark) { :root { --bg: #15171a; --card: #1d2024; --ink: #e8e9eb; --soft: #9aa1aa;
  --line: #30343a; --accent: #7aa7ff; --bad: #ff8a73; --good: #67c999; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; font-weight: 650; margin: 0 0 16px; letter-spacing: -.01em; }
h2 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 0 0 12px; text-transform: uppercase;
  letter-spacing: .06em; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0; overflow-x: auto; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 10px; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.facts span { display: block; font-size: 12px; color: var(--soft); }
.facts b { font-weight: 600; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 20px; } li { margin: 3px 0; }
.warning li::marker { color: var(--bad); } .advice li::marker { color: var(--good); }
img { max-width: 100%; border-radius: 6px; display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 14px; }
figure { margin: 0; } figcaption { font-size: 13px; color: var(--soft); margin-top: 4px; }
.plot { margin-bottom: 18px; } .plot:last-child { margin-bottom: 0; }
.plot-head { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.plot-head span { color: var(--soft); font-size: 13px; } .plot-head .number { margin-left: auto; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .curve { stroke: var(--accent); fill: none; stroke-width: 1.8; }
svg .mark { fill: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); font-weight: 400;
  vertical-align: top; } th { color: var(--soft); } tr:last-child > * { border-bottom: 0; }
.mono { font-family: ui-monospace, Consolas, monospace; font-size: 13px; overflow-wrap: anywhere; }
.bar { width: 40%; } .bar i { display: block; height: 10px; margin-top: 6px; border-radius: 5px;
  background: var(--accent); min-width: 2px; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
"""


def document(title: str, head: str, body: str) -> str:
    """The page around ``head`` and ``body`` (HTML)."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>{head}{body}"
        "<footer>Made by gswap. The pictures on this page show real or synthetic people: treat it as you treat the "
        "clip.</footer></main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A titled card; ``body`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def facts(values: Mapping[str, str]) -> str:
    """Small tiles of name and value."""
    tiles = "".join(f"<div><span>{escape(k)}</span><b>{escape(v)}</b></div>" for k, v in values.items())
    return f'<div class="facts">{tiles}</div>'


def table(values: Mapping[str, str], *, mono: bool = False) -> str:
    """Two columns."""
    style = ' class="mono"' if mono else ""
    rows = "".join(f"<tr><th>{escape(k)}</th><td{style}>{escape(v)}</td></tr>" for k, v in values.items())
    return f"<table>{rows}</table>"


def line_plot(values: Float[np.ndarray, "t"], *, mark: int) -> str:
    """An SVG of ``values`` over their index, with a dot at ``mark``. Gaps where values are not finite."""
    x, y = _thin(np.asarray(values, np.float64))
    finite = y[np.isfinite(y)]
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    span_x, span_y = PLOT_WIDTH - _LEFT - _RIGHT, PLOT_HEIGHT - _TOP - _BOTTOM
    last = max(len(values) - 1, 1)

    def place(frame: float, value: float) -> tuple[float, float]:
        return _LEFT + span_x * frame / last, _TOP + span_y * (high - value) / (high - low)

    parts = []
    for value in (low, (low + high) / 2, high):
        _, level = place(0, value)
        parts.append(f'<path class="grid" d="M{_LEFT} {level:.1f}H{PLOT_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for frame, anchor in ((0, "start"), (last, "end")):
        across, _ = place(frame, low)
        parts.append(f'<text x="{across:.1f}" y="{PLOT_HEIGHT - 4}" text-anchor="{anchor}">{frame}</text>')
    path, pen_down = [], False
    for frame, value in zip(x, y, strict=True):
        if np.isfinite(value):
            across, down = place(frame, value)
            path.append(f"{'L' if pen_down else 'M'}{across:.1f} {down:.1f}")
        pen_down = bool(np.isfinite(value))
    parts.append(f'<path class="curve" d="{"".join(path)}"/>')
    across, down = place(mark, float(values[mark]))
    parts.append(f'<circle class="mark" cx="{across:.1f}" cy="{down:.1f}" r="4"/>')
    return f'<svg viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _thin(values: Float[np.ndarray, "t"]) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """At most ``_MAX_POINTS`` points: of every bin its minimum and maximum, so that no outlier is lost."""
    if len(values) <= _MAX_POINTS:
        return np.arange(len(values), dtype=np.float64), values
    keep: list[int] = []
    for part in np.array_split(np.arange(len(values)), _MAX_POINTS // 2):
        finite = part[np.isfinite(values[part])]
        if finite.size:
            keep += sorted({int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])})
        else:
            keep.append(int(part[0]))
    return np.array(keep, np.float64), values[keep]
