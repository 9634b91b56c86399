"""How the page of the user study looks and works: one file, no network, answers leave it as a downloaded JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from gswap.foundation.types import RgbImage
from gswap.output.report_page import STYLE, picture


@dataclass(frozen=True)
class Case:
    """One source person and clip, with the results to rank, by code."""

    code: str
    photos: Sequence[RgbImage]
    target: str
    """Data URL of the clip."""
    clips: Mapping[str, str]
    """Code -> data URL of a result."""


_OWN_STYLE = """
main.study { max-width: 1240px; }
.row { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-end; margin-bottom: 14px; }
.row img { height: 150px; width: auto; } .row figure, .clips figure { margin: 0; }
video { width: 100%; border-radius: 6px; background: #000; display: block; }
.row video { height: 190px; width: auto; }
.clips { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 14px; }
.clips b { font-size: 18px; }
.ask { display: grid; grid-template-columns: minmax(240px, 2fr) repeat(var(--n), minmax(64px, 1fr)); gap: 8px 14px;
  align-items: center; margin-top: 16px; }
.ask .head { font-weight: 600; color: var(--soft); }
select, button { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line);
  border-radius: 8px; padding: 6px 10px; }
button { background: var(--accent); color: #fff; border: 0; padding: 10px 18px; cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
select.wrong { border-color: var(--bad); outline: 1px solid var(--bad); }
.bar-foot { position: sticky; bottom: 0; background: var(--card); border-top: 1px solid var(--line); padding: 14px 20px;
  display: flex; gap: 16px; align-items: center; justify-content: space-between; flex-wrap: wrap; }
"""
_SCRIPT = """
"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const random = new Uint32Array(4); crypto.getRandomValues(random);
const participant = [...random].map(v => v.toString(16).padStart(8, "0")).join("");
function shuffled(list) {
  const out = [...list], noise = new Uint32Array(out.length);
  crypto.getRandomValues(noise);
  for (let i = out.length - 1; i > 0; i--) {
    const j = noise[i] % (i + 1);
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}
const host = document.getElementById("cases"), order = {};
for (const section of shuffled([...host.children])) host.appendChild(section);
[...host.children].forEach((section, number) => {
  section.querySelector("h2").textContent = `Case ${number + 1} of ${host.children.length}`;
  const clips = section.querySelector(".clips"), ask = section.querySelector(".ask");
  const mixed = shuffled([...clips.children]);
  order[section.dataset.case] = mixed.map(f => f.dataset.code);
  mixed.forEach((figure, k) => {
    figure.querySelector("b").textContent = String.fromCharCode(65 + k);
    clips.appendChild(figure);
  });
  ask.style.setProperty("--n", mixed.length);
  const cell = (text, name) => {
    const made = document.createElement("div");
    made.textContent = text; if (name) made.className = name;
    ask.appendChild(made); return made;
  };
  cell("1 = best, \\u2013 = cannot be said", "head");
  mixed.forEach((_, k) => cell(String.fromCharCode(65 + k), "head"));
  for (const [question, words] of Object.entries(study.questions)) {
    cell(words);
    for (const figure of mixed) {
      const select = document.createElement("select");
      select.dataset.question = question; select.dataset.code = figure.dataset.code;
      select.setAttribute("aria-label", `${words} ${figure.querySelector("b").textContent}`);
      for (const [value, text] of [["", ""], ...mixed.map((_, k) => [k + 1, k + 1]), ["-", "\\u2013"]])
        select.add(new Option(text, value));
      select.addEventListener("change", check);
      ask.appendChild(select);
    }
  }
});
function read() {
  const answers = {}; let open = 0, wrong = 0;
  for (const section of host.children) {
    const found = answers[section.dataset.case] = {};
    for (const question of Object.keys(study.questions)) {
      const selects = [...section.querySelectorAll(`select[data-question="${question}"]`)];
      const ranks = selects.map(s => s.value).filter(v => v !== "" && v !== "-").map(Number).sort((a, b) => a - b);
      const complete = selects.every(s => s.value !== "");
      const valid = new Set(ranks).size === ranks.length && (!complete || ranks.every((r, k) => r === k + 1));
      selects.forEach(s => s.classList.toggle("wrong", !valid));
      if (!complete) open++; else if (!valid) wrong++;
      const rank = s => s.value === "-" ? null : Number(s.value);
      found[question] = Object.fromEntries(selects.map(s => [s.dataset.code, rank(s)]));
    }
  }
  return { answers, open, wrong };
}
function check() {
  const { open, wrong } = read(), state = document.getElementById("state");
  document.getElementById("save").disabled = open + wrong > 0;
  state.textContent = wrong ? `${wrong} rankings give a place twice or leave one out.`
    : open ? `${open} rankings are open.` : "Complete. Save your answers and send the file back.";
}
document.getElementById("save").addEventListener("click", () => {
  const { answers } = read();
  const text = JSON.stringify({ study: study.id, participant, order, answers }, null, 1);
  const link = document.createElement("a");
  link.href = "data:application/json;charset=utf-8," + encodeURIComponent(text);
  link.download = `answers-${participant.slice(0, 8)}.json`;
  link.click();
});
check();
"""


def study_page(study: str, cases: Sequence[Case], questions: Mapping[str, str]) -> str:
    """The page. It names no method; cases and results are shuffled anew for every reader.

    Args:
        study: Id of the study, which the answers repeat.
        cases: What is shown.
        questions: Key -> question.
    """
    data = json.dumps({"id": study, "questions": dict(questions)}).replace("<", "\\u003c")
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    sections = "".join(_section(case) for case in cases)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>Head swap study</title><style>{STYLE}{_OWN_STYLE}</style></head><body>"
        '<main class="study"><h1>Which head swap is best?</h1><p class="lead">In every case several programs put the '
        "head of the person in the photos into the original clip. Rank their results for each question: 1 is the "
        "best, and no rank is given twice. The clips play in a loop; compare as long as you like. Nothing is sent "
        "anywhere: at the end you save a file. All results are modified by AI.</p>"
        f'<div id="cases">{sections}</div></main>'
        '<div class="bar-foot"><span id="state"></span><button id="save" disabled>Save answers</button></div>'
        f'<script type="application/json" id="study">{data}</script><script>{_SCRIPT}</script></body></html>\n'
    )


def _section(case: Case) -> str:
    photos = "".join(picture(image, "photo of the person") for image in case.photos)
    clips = "".join(
        f'<figure data-code="{escape(code)}"><b></b>{_video(url)}</figure>' for code, url in case.clips.items()
    )
    return (
        f'<section data-case="{escape(case.code)}"><h2></h2><div class="row">'
        f"<figure>{_video(case.target)}<figcaption>original clip</figcaption></figure>{photos}</div>"
        f'<div class="clips">{clips}</div><div class="ask"></div></section>'
    )


def _video(url: str) -> str:
    return f'<video src="{url}" muted loop autoplay playsinline controls></video>'
