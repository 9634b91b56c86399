"""A user study as the paper did it (Table III): a blinded page that people rank results on, and the count of answers.

All clips are encoded anew in one way, without metadata, and carry codes instead of names. The key stays in
``study.key.json``, beside the page and not in it. Ranks become scores from 0 (last) to 3 (first).
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.results import cell
from gswap.apps.evaluate.study_page import Case, study_page
from gswap.foundation.errors import InputError, UsageError
from gswap.foundation.store import make_folder, read_json, write_bytes, write_json
from gswap.foundation.types import RgbImage, VideoInfo
from gswap.media.config import EncodeConfig
from gswap.media.probe import is_video, probe
from gswap.media.read import VideoReader, sample_frames
from gswap.media.stills import find_photos, load_photo
from gswap.media.write import encode_rgb
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.steps.ingest import trim

PAGE, KEY = "study.html", "study.key.json"
QUESTIONS: dict[str, str] = {
    "id": "Who looks most like the person in the photos?",
    "expression": "Whose expression and pose are most like those of the person in the original clip?",
    "skin": "Whose skin colour is most like that of the person in the photos?",
    "inpainting": "Where do the new head and its surroundings fit together best?",
    "holistic": "Which clip is best, all things considered?",
}
TITLES = {"id": "ID", "expression": "Exp", "skin": "Skin color", "inpainting": "Inpainting", "holistic": "Holistic"}
BEST_SCORE = 3.0
LONGEST_SIDE = 400
"""Of the clips in the page, pixels."""
MOST_PHOTOS, PHOTO_HEIGHT = 4, 150
CODE_LENGTH = 10
BOOTSTRAPS = 2000


def make_study(pairs: Sequence[Pair], folder: Path, observer: StepObserver) -> Path:
    """Write ``study.html`` and its key; returns the page. An existing key is kept, so that codes stay what they were.

    Raises:
        UsageError: A pair has fewer than two results to rank.
    """
    make_folder(folder)
    for pair in pairs:
        if len(pair.methods) < 2:
            raise UsageError(
                f"Expected at least two results to rank for {pair.name!r}, found {len(pair.methods)}.",
                hint="Give --method NAME=FILE twice or more.",
            )
    path = folder / KEY
    key = read_json(path) if path.exists() else {"study": secrets.token_hex(8), "secret": secrets.token_hex(32)}
    codes: dict[str, dict[str, str]] = {}
    cases = []
    for number, pair in enumerate(pairs, 1):
        observer.progress("study", number, len(pairs), pair.name)
        codes[_code(key["secret"], pair.name)] = {
            "pair": pair.name,
            **{_code(key["secret"], pair.name, name): name for name in pair.methods},
        }
        clips = {_code(key["secret"], pair.name, name): clip_data(path) for name, path in pair.methods.items()}
        cases.append(
            Case(
                _code(key["secret"], pair.name),
                _photos(pair),
                clip_data(pair.target, pair.start, pair.end),
                dict(sorted(clips.items())),
            )
        )
    write_json(path, {**key, "codes": codes})
    write_bytes(folder / PAGE, study_page(key["study"], cases, QUESTIONS).encode())
    return folder / PAGE


def _code(secret: str, *names: str) -> str:
    """What stands for a name in the page; without the key nobody can tell which."""
    told = "\0".join(names).encode("utf-8", "surrogateescape")
    return hmac.new(bytes.fromhex(secret), told, "sha256").hexdigest()[:CODE_LENGTH]


def clip_data(path: Path, start: float | None = None, end: float | None = None) -> str:
    """A clip, or its part between two times in seconds, as a data URL: H.264 of at most 400 pixels, silent, bare.

    Raises:
        InputError: The part holds no frame.
    """
    info = probe(path)
    span = trim(info, start, end)
    scale = min(LONGEST_SIDE / max(info.width, info.height), 1.0)
    size = (2 * round(info.width * scale / 2), 2 * round(info.height * scale / 2))
    with TemporaryDirectory() as folder:
        out = Path(folder) / "clip.mp4"
        encode_rgb(out, _scaled(info, size, span), info.frame_rate, options=EncodeConfig(crf=20))
        return "data:video/mp4;base64," + base64.b64encode(out.read_bytes()).decode()


def _scaled(info: VideoInfo, size: tuple[int, int], span: tuple[int, int]) -> Iterator[RgbImage]:
    with VideoReader(info) as reader:
        for frame in reader.frames(*span):
            yield np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA))


def _photos(pair: Pair) -> list[RgbImage]:
    files = [p for source in pair.sources for p in ([source] if source.is_file() else find_photos((source,)))]
    if len(files) == 1 and is_video(files[0]):
        images = sample_frames(probe(files[0]), MOST_PHOTOS)
    else:
        images = [load_photo(p, max_side=1024) for p in files[:MOST_PHOTOS]]
    out = []
    for image in images:
        width = max(round(image.shape[1] * PHOTO_HEIGHT / image.shape[0]), 1)
        out.append(np.asarray(cv2.resize(image, (width, PHOTO_HEIGHT), interpolation=cv2.INTER_AREA)))
    return out


# ---------------------------------------------------------------- counting
@dataclass(frozen=True)
class Tally:
    """The answers, counted."""

    participants: int
    cases: int
    scores: Mapping[str, Mapping[str, tuple[float, float, float, int]]]
    """Method -> question -> mean score, ends of its 95 % interval (participants resampled), number of ratings."""


def tally(folder: Path, answers: Sequence[Path]) -> Tally:
    """Count exported answers with the key in the folder of the study.

    Raises:
        InputError: An answer belongs to another study, is damaged, or comes from the same person twice.
    """
    key = read_json(folder / KEY)
    names = {code: name for case in key["codes"].values() for code, name in case.items() if code != "pair"}
    rated: dict[str, dict[str, dict[str, list[float]]]] = {}
    people: dict[str, Path] = {}
    for path in answers:
        given = read_json(path)
        if not isinstance(given, dict) or given.get("study") != key["study"]:
            raise InputError("Expected answers to this study, found others.", path=path)
        if not _is_complete(given):
            raise InputError("Expected a participant and ranks of every case, found a damaged file.", path=path)
        person = given["participant"]
        if person in people:
            raise InputError(f"The same person's answers are there twice (also in {people[person].name}).", path=path)
        people[person] = path
        for method, question, score in _ratings(given, names, path):
            rated.setdefault(method, {}).setdefault(question, {}).setdefault(person, []).append(score)
    scores = {
        method: {question: _summary(by_person) for question, by_person in questions.items()}
        for method, questions in sorted(rated.items())
    }
    return Tally(len(people), len(key["codes"]), scores)


def _is_complete(given: Mapping[str, Any]) -> bool:
    """Whether a person's answers have the form that the page writes: case -> question -> code -> rank or null."""
    person, cases = given.get("participant"), given.get("answers")
    if not isinstance(person, str) or not isinstance(cases, dict):
        return False
    questions = [x for case in cases.values() for x in (case.values() if isinstance(case, dict) else [None])]
    return all(
        isinstance(ranks, dict) and all(rank is None or type(rank) is int for rank in ranks.values())
        for ranks in questions
    )


def _ratings(given: Mapping[str, Any], names: Mapping[str, str], path: Path) -> Iterator[tuple[str, str, float]]:
    """Method, question and score of every rating in one person's answers."""
    for case, questions in given["answers"].items():
        for question, ranks in questions.items():
            known = {code: rank for code, rank in ranks.items() if rank is not None}
            unknown = [code for code in known if code not in names]
            if unknown or question not in QUESTIONS:
                raise InputError(f"Expected codes of this study in case {case}, found others.", path=path)
            if sorted(known.values()) != list(range(1, len(known) + 1)):
                raise InputError(f"Expected every rank once in case {case}, question {question!r}.", path=path)
            for code, rank in known.items():
                if len(known) > 1:
                    yield names[code], question, BEST_SCORE * (len(known) - rank) / (len(known) - 1)


def _summary(by_person: Mapping[str, Sequence[float]]) -> tuple[float, float, float, int]:
    """Mean over all ratings; the interval resamples whole people, since one person's ratings hang together."""
    people = [np.asarray(scores) for scores in by_person.values()]
    sums, counts = np.array([p.sum() for p in people]), np.array([len(p) for p in people])
    picks = np.random.default_rng(0).integers(len(people), size=(BOOTSTRAPS, len(people)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high), int(counts.sum())


def tally_markdown(counted: Tally) -> str:
    """Table III: mean scores from 0 to 3, with 95 % intervals."""
    head = "| method | " + " | ".join(f"{title} ↑" for title in TITLES.values()) + " |"
    lines = [head, "|---" * (len(TITLES) + 1) + "|"]
    for method, questions in counted.scores.items():
        cells = []
        for question in TITLES:
            if question not in questions:
                cells.append("–")
                continue
            mean, low, high, _ = questions[question]
            cells.append(f"{mean:.2f} ({low:.2f}-{high:.2f})")
        lines.append("| " + " | ".join([cell(method), *cells]) + " |")
    return (
        f"{counted.participants} participants, {counted.cases} cases; scores from 0 to 3.\n\n" + "\n".join(lines) + "\n"
    )


def write_tally(folder: Path, counted: Tally) -> Path:
    """``tally.json`` and ``tally.md`` beside the page; returns the latter."""
    scores = {
        method: {q: dict(zip(("mean", "low", "high", "ratings"), v, strict=True)) for q, v in questions.items()}
        for method, questions in counted.scores.items()
    }
    write_json(folder / "tally.json", {"participants": counted.participants, "cases": counted.cases, "scores": scores})
    write_bytes(folder / "tally.md", tally_markdown(counted).encode("utf-8", "surrogateescape"))
    return folder / "tally.md"
