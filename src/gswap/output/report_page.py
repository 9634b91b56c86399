"""How the report looks: style, page frame, tables and SVG line plots. Knows nothing of what is reported."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.errors import InternalError
from gswap.foundation.types import RgbImage

PLOT_WIDTH, PLOT_HEIGHT = 1000, 150
"""Size of a plot in SVG units; it scales with the page."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 8, 20
_MAX_POINTS = 2000
"""Longer series are thinned to the minimum and maximum of every bin."""

JPEG_QUALITY = 88
LONGEST_STEP = 1.6
"""Measured frames are joined in a plot over at most this many times their median distance."""
CURVES = 6
"""Colours for curves in one plot; the seventh curve has the first one's again, dashed."""

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --ink: #1c1e21; --soft: #6a7078; --line: #e3e4e6;
  --accent: #2f6fde; --bad: #c8452f; --good: #2c8a5a; --c0: #2f6fde; --c1: #d1681c; --c2: #2c8a5a; --c3: #a13fb0;
  --c4: #b58900; --c5: #1796a6; }
@media (prefers-color-scheme: dark) { :root { --bg: #15171a; --card: #1d2024; --ink: #e8e9eb; --soft: #9aa1aa;
  --line: #30343a; --accent: #7aa7ff; --bad: #ff8a73; --good: #67c999; --c0: #7aa7ff; --c1: #ffa767; --c2: #67c999;
  --c3: #dd94ea; --c4: #e3c04d; --c5: #5fd0de; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; font-weight: 650; margin: 0 0 16px; letter-spacing: -.01em; }
h3 { font-size: 15px; font-weight: 600; margin: 22px 0 4px; }
.lead { color: var(--soft); margin: -12px 0 20px; } .soft { color: var(--soft); font-size: 13px; margin: 0 0 10px; }
h2 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 0 0 12px; text-transform: uppercase;
  letter-spacing: .06em; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0; overflow-x: auto; }
.facts { margin-bottom: 18px; display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 10px; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.facts span { display: block; font-size: 12px; color: var(--soft); }
.facts b { font-weight: 600; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 20px; } li { margin: 3px 0; }
.warning li::marker { color: var(--bad); } .advice li::marker { color: var(--good); }
img { max-width: 100%; border-radius: 6px; display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 14px; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
figure { margin: 0; } figcaption { font-size: 13px; color: var(--soft); margin-top: 4px; }
.plot { margin-bottom: 18px; } .plot:last-child { margin-bottom: 0; }
.plot-head { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.plot-head span { color: var(--soft); font-size: 13px; } .plot-head .number { margin-left: auto; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .mark { fill: var(--bad); }
svg .curve { fill: none; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); font-weight: 400;
  vertical-align: top; } th { color: var(--soft); } tr:last-child > * { border-bottom: 0; }
.mono { font-family: ui-monospace, Consolas, monospace; font-size: 13px; overflow-wrap: anywhere; }
.bar { width: 40%; } .bar i { display: block; height: 10px; margin-top: 6px; border-radius: 5px;
  background: var(--accent); min-width: 2px; }
table.scores { width: auto; min-width: 60%; } table.scores td, table.scores th { padding: 6px 0 6px 16px; }
table.scores td { text-align: right; white-space: nowrap; }
table.scores tbody th { padding-left: 0; white-space: nowrap; }
table.scores thead th { text-align: right; vertical-align: bottom; font-size: 12px; line-height: 1.3;
  max-width: 110px; }
table.scores small { display: block; font-size: 11px; } table.scores tbody th { color: var(--ink); }
table.scores .best { font-weight: 700; color: var(--good); }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
.notes { font-size: 13px; margin-top: 6px; color: var(--soft); } .notes b { color: var(--ink); font-weight: 600; }
.legend { display: inline-flex; flex-wrap: wrap; gap: 2px 14px; margin-left: auto; }
.legend i { display: inline-block; width: 14px; height: 3px; margin-right: 5px; vertical-align: middle; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
"""


def document(title: str, head: str, body: str) -> str:
    """The page around ``head`` and ``body`` (HTML)."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
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


def picture(rgb: RgbImage, alt: str) -> str:
    """An ``img`` with the picture inside (JPEG)."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise InternalError(f"Encoding the picture {alt!r} for the report failed.")
    encoded = base64.b64encode(data.tobytes()).decode()
    return f'<img alt="{escape(alt)}" loading="lazy" src="data:image/jpeg;base64,{encoded}">'


def line_plot(values: Float[np.ndarray, "t"], *, mark: int) -> str:
    """An SVG of ``values`` over their index, with a dot at ``mark``. Gaps where values are missing."""
    x, y = _thin(np.asarray(values, np.float64))
    axes = _Axes.around(y, last=max(len(values) - 1, 1))
    across, down = axes.place(mark, float(values[mark]))
    marked = f'<circle class="mark" cx="{across:.1f}" cy="{down:.1f}" r="4"/>'
    return _svg([*axes.drawn(), axes.curve(x, y, "var(--accent)"), marked])


def several_lines(
    title: str, explanation: str, lines: Sequence[tuple[str, int, Int[np.ndarray, "n"], Float[np.ndarray, "n"]]]
) -> str:
    """A titled plot of several curves over the frames, with a legend.

    Args:
        title: What is plotted.
        explanation: One sentence.
        lines: Name, number of its colour, frames (ascending) and values of every curve; at least one value is finite.
    """
    every = np.concatenate([values for *_, values in lines])
    last = max(int(frames[-1]) for _, _, frames, _ in lines)
    axes = _Axes.around(every, last=max(last, 1))
    parts, legend = axes.drawn(), []
    for name, colour, frames, values in lines:
        style = f"var(--c{colour % CURVES})"
        dashes = ' stroke-dasharray="6 4"' if colour >= CURVES else ""
        at, thinned = _thin(np.asarray(values, np.float64))
        parts.append(axes.curve(np.asarray(frames, np.float64)[at.astype(int)], thinned, style, dashes))
        legend.append(f'<span><i style="background:{style}"></i>{escape(name)}</span>')
    head = f'<b>{escape(title)}</b> <span>{escape(explanation)}</span><span class="legend">{"".join(legend)}</span>'
    return f'<div class="plot"><div class="plot-head">{head}</div>{_svg(parts)}</div>'


@dataclass(frozen=True)
class _Axes:
    """Where frames and values are in the SVG."""

    low: float
    high: float
    last: float

    @staticmethod
    def around(values: Float[np.ndarray, "n"], *, last: float) -> _Axes:
        finite = values[np.isfinite(values)]
        low, high = float(finite.min()), float(finite.max())
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        return _Axes(low, high, last)

    def place(self, frame: float, value: float) -> tuple[float, float]:
        across = _LEFT + (PLOT_WIDTH - _LEFT - _RIGHT) * frame / self.last
        return across, _TOP + (PLOT_HEIGHT - _TOP - _BOTTOM) * (self.high - value) / (self.high - self.low)

    def drawn(self) -> list[str]:
        """Grid and numbers."""
        parts = []
        for value in (self.low, (self.low + self.high) / 2, self.high):
            _, level = self.place(0, value)
            parts.append(f'<path class="grid" d="M{_LEFT} {level:.1f}H{PLOT_WIDTH - _RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        for frame, anchor in ((0, "start"), (self.last, "end")):
            across, _ = self.place(frame, self.low)
            parts.append(f'<text x="{across:.1f}" y="{PLOT_HEIGHT - 4}" text-anchor="{anchor}">{frame:.0f}</text>')
        return parts

    def curve(
        self, frames: Float[np.ndarray, "n"], values: Float[np.ndarray, "n"], colour: str, dashes: str = ""
    ) -> str:
        """The path of a curve: sampled frames are joined; where more than the usual step is missing there is a gap."""
        known = np.flatnonzero(np.isfinite(values))
        steps = np.diff(frames[known])
        usual = float(np.median(steps)) if len(steps) else 1.0
        path = []
        for k, at in enumerate(known):
            across, down = self.place(float(frames[at]), float(values[at]))
            joined = k > 0 and (known[k - 1] == at - 1 or steps[k - 1] <= LONGEST_STEP * usual)
            path.append(f"{'L' if joined else 'M'}{across:.1f} {down:.1f}" + ("" if joined else "h0"))
        return f'<path class="curve" style="stroke:{colour}"{dashes} d="{"".join(path)}"/>'


def _svg(parts: Sequence[str]) -> str:
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
