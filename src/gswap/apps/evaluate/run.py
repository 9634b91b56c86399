"""``gswap evaluate``: score every method on every pair, and write JSON, Markdown and a page."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gswap.apps.evaluate import analysis as understanding
from gswap.apps.evaluate import instruments, page, results
from gswap.apps.evaluate.analysis import Analysis
from gswap.apps.evaluate.finder import FaceFinder
from gswap.apps.evaluate.instruments import Instruments
from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.results import MethodScores, PairScores, WorstFrame
from gswap.apps.evaluate.scoring import Scores, score
from gswap.apps.evaluate.sources import Result, check_length, open_result
from gswap.apps.evaluate.truth import TrueVideo, Truth
from gswap.foundation.errors import InputError, UsageError
from gswap.foundation.store import make_folder, write_bytes, write_json
from gswap.media.compare import side_by_side
from gswap.media.probe import probe
from gswap.media.sequences import read_mask_sequence
from gswap.metrics.picture import head_box
from gswap.perception.config import PerceptionConfig
from gswap.pipeline.config import Job
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.steps.ingest import trim

WORST = 4
"""Worst frames that are shown of every method and pair."""
FAULTS = ("identity_source", "expression", "pose", "flicker")
"""What makes a frame one of the worst: the sum of these, each relative to its median."""
PICTURE_HEIGHT = 256


@dataclass(frozen=True)
class Options:
    """How an evaluation is done.

    Raises:
        UsageError: A number is too small.
    """

    frames: int = 300
    """Frames that are measured at most, spread over the clip; 0 = all."""
    threads: int = 2
    """Threads for computing."""

    def __post_init__(self) -> None:
        if self.frames < 0 or self.threads < 1:
            raise UsageError(
                f"Expected --frames of at least 0 and --threads of at least 1, found {self.frames}, {self.threads}."
            )


def evaluate(
    pairs: Sequence[Pair], out: Path, options: Options, observer: StepObserver, baselines: Sequence[str] = ()
) -> Path:
    """Score pairs and write ``evaluation.json``, ``.md`` and ``.html`` into ``out``; returns the page's path.

    Args:
        pairs: What to score.
        out: Folder; made if missing. Analyses are kept in ``out/work`` unless a pair has a workspace.
        options: How.
        observer: Told of the progress.
        baselines: Comparators to run as well (see :mod:`gswap.apps.evaluate.baselines`).

    Raises:
        GswapError: A pair cannot be scored.
    """
    from gswap.apps.evaluate.baselines import make_baselines

    for pair in pairs:
        check(pair, baselines)
    make_folder(out)
    scored = []
    with readers() as tools:
        for pair in pairs:
            work = pair.work or out / "work" / pair.name
            analysis = understanding.analyse(analysis_job(pair, work, options), observer)
            methods: list[Result] = [
                open_result(name, path, analysis.clip, analysis.target_sha256) for name, path in pair.methods.items()
            ]
            methods += make_baselines(tuple(dict.fromkeys(baselines)), analysis, pair)
            truth = TrueVideo(pair.truth, analysis.clip.info, pair.truth_masks) if pair.truth is not None else None
            scored.append(score_pair(pair.name, analysis, methods, truth, tools, options, observer))
    return write(out, "Evaluation", scored, ())


def check(pair: Pair, baselines: Sequence[str]) -> None:
    """Refuse, before any work, a pair that cannot be scored.

    Raises:
        UsageError: A result has the name of a comparator.
        InputError: There is nothing to score, or a video or the masks do not have the frames of the clip.
        MissingInputError: A file does not exist.
        ConsentError: Nothing allows to run the comparators.
    """
    from gswap.apps.evaluate.baselines import require_consent

    if not pair.methods and not baselines:
        raise InputError(
            f"Expected at least one result to score for the pair {pair.name!r}, found none.",
            hint="Give --method NAME=FILE, or --baseline.",
        )
    if taken := sorted(set(pair.methods) & set(baselines)):
        raise UsageError(
            f"Expected another name than the comparator's for the result {taken[0]!r} of the pair {pair.name!r}.",
            hint="Rename the result, or leave the comparator out.",
        )
    info = probe(pair.target)
    first, stop = trim(info, pair.start, pair.end)
    for path in (*pair.methods.values(), *([] if pair.truth is None else [pair.truth])):
        if not path.is_dir():
            check_length(probe(path), stop - first)
    if pair.truth_masks is not None:
        read_mask_sequence(pair.truth_masks, stop - first, (info.width, info.height))
    if baselines:
        require_consent(pair)


@contextmanager
def readers() -> Iterator[Instruments]:
    """The readers of this machine, loaded once."""
    with FaceFinder(PerceptionConfig()) as find:
        yield instruments.standard(find)


def analysis_job(pair: Pair, work: Path, options: Options) -> Job:
    """A job that is only looked at: nothing is swapped by it."""
    return Job(
        sources=pair.sources,
        target=pair.target,
        out=work / "unused.mkv",
        consent=pair.consent or work / "unused.toml",
        work=work,
        start=pair.start,
        end=pair.end,
        person=pair.person,
        threads=options.threads,
    )


def score_pair(
    name: str,
    analysis: Analysis,
    methods: Sequence[Result],
    truth: Truth | None,
    tools: Instruments,
    options: Options,
    observer: StepObserver,
) -> PairScores:
    """Score methods on one clip, and picture their worst frames."""
    chosen = analysis.measured(options.frames)
    observer.started(f"score {name}", 1, 1)

    def counted() -> Iterator[Any]:
        walk = understanding.walk(analysis, methods, truth, chosen)
        for done, sample in enumerate(walk, 1):
            yield sample
            observer.progress(f"score {name}", done, len(chosen), "measure")

    scores = score(counted(), len(methods), understanding.source_faces(analysis, tools), tools)
    picked = [worst_frames(found) for found in scores]
    pictures = _pictures(analysis, methods, truth, picked)
    has_reference = any("mse_gen" in found.series for found in scores)
    info = analysis.clip.info
    return PairScores(
        name,
        tools.measures(truth=truth is not None, reference=has_reference),
        [
            MethodScores(method.name, method.told, found, shown)
            for method, found, shown in zip(methods, scores, pictures, strict=True)
        ],
        {
            "clip": f"{info.frame_count} frames, {info.width}x{info.height}, {info.fps:.3f} frames a second",
            "measured frames": str(len(chosen)),
            "photos": str(len(analysis.photo_faces)),
            "distance of the two people (dlib)": f"{scores[0].means.get('people_distance', float('nan')):.3f}",
            "photos among themselves (dlib)": f"{scores[0].means.get('photos_distance', float('nan')):.3f}",
        },
    )


def worst_frames(scores: Scores, count: int = WORST) -> list[tuple[int, str]]:
    """The frames with the largest sum of relative errors, and why."""
    if not len(scores.frames):
        return []
    total = np.zeros(len(scores.frames))
    for name in FAULTS:
        values = scores.series.get(name)
        if values is not None and np.isfinite(values).any():
            total += np.nan_to_num(values / max(float(np.nanmedian(values)), 1e-6), nan=0.0)
    order = np.argsort(-total, kind="stable")[:count]
    return [(int(scores.frames[k]), _why(scores, int(k))) for k in order]


def _why(scores: Scores, k: int) -> str:
    told = {"identity_source": "identity {:.2f}", "expression": "expression {:.3f}", "pose": "pose {:.1f}°",
            "flicker": "flicker {:.1f}"}  # fmt: skip
    values = {name: scores.series[name][k] for name in told if name in scores.series}
    return ", ".join(told[name].format(value) for name, value in values.items() if np.isfinite(value))


def _pictures(
    analysis: Analysis, methods: Sequence[Result], truth: Truth | None, picked: Sequence[Sequence[tuple[int, str]]]
) -> list[list[WorstFrame]]:
    """Clip | result | truth around the head, of the picked frames of every method; one more pass."""
    wanted = np.unique([t for chosen in picked for t, _ in chosen]).astype(int)
    made: list[dict[int, WorstFrame]] = [{} for _ in methods]
    if not len(wanted):
        return [[] for _ in methods]
    for sample in understanding.walk(analysis, methods, truth, wanted):
        box = head_box(sample.landmarks, sample.rgb.shape[1], sample.rgb.shape[0])
        for k, chosen in enumerate(picked):
            for t, why in chosen:
                if t == sample.index:
                    images = [sample.rgb, sample.results[k].rgb, *([] if sample.truth is None else [sample.truth])]
                    row = side_by_side([_fit(image[box.slices]) for image in images])
                    made[k][t] = WorstFrame(t, why, row)
    return [[made[k][t] for t, _ in chosen if t in made[k]] for k, chosen in enumerate(picked)]


def _fit(image: np.ndarray) -> np.ndarray:
    import cv2

    scale = PICTURE_HEIGHT / image.shape[0]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (max(round(image.shape[1] * scale), 1), PICTURE_HEIGHT), interpolation=how)


# ---------------------------------------------------------------- writing
def machine() -> dict[str, str]:
    """Versions and machine class; nothing that tells whose machine it is."""
    names = ("gswap", "torch", "numpy", "mediapipe")
    return {
        "date": dt.date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def write(
    out: Path,
    title: str,
    scored: Sequence[PairScores],
    remarks: Sequence[str],
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the three files.

    Args:
        out: Folder.
        title: Of the page; in small letters with dashes, the stem of the files.
        scored: What was found.
        remarks: Sentences above the tables.
        extra: More for the JSON.
    """
    stem = title.lower().replace(" ", "-")
    facts = machine()
    tables = [results.table(name, scored, (group,)) for group, name in results.TITLES.items()]
    tables = [made for made in tables if made.columns]
    write_json(out / f"{stem}.json", results.to_json(scored, {**facts, **(extra or {})}))
    told = "".join(f"* {remark}\n" for remark in remarks) + ("\n" if remarks else "")
    text = f"# {title}\n\n{facts['date']}, gswap {facts['gswap']}, {facts['machine']}.\n\n{told}"
    text += "\n".join(results.markdown(made) for made in tables)
    write_bytes(out / f"{stem}.md", text.encode("utf-8", "surrogateescape"))
    html = page.evaluation_page(title, facts, tables, scored, remarks)
    write_bytes(out / f"{stem}.html", html.encode("utf-8", "surrogateescape"))
    return out / f"{stem}.html"
