"""``gswap evaluate`` on files: pairs, results of any tool, comparators, variants, the user study."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gswap.apps.cli.evaluate import Evaluate
from gswap.apps.cli.main import run
from gswap.apps.evaluate import ablations, study, variants
from gswap.apps.evaluate import analysis as understanding
from gswap.apps.evaluate.analysis import analyse, understood
from gswap.apps.evaluate.layout import Pair, read_pairs
from gswap.apps.evaluate.run import Options, analysis_job, evaluate
from gswap.apps.evaluate.sources import open_result
from gswap.apps.evaluate.synthetic import PLAIN, make_pair
from gswap.foundation.errors import ConsentError, InputError, MissingInputError, OutputError, UsageError, WeightsError
from gswap.foundation.store import read_body_track, write_body_track
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.write import encode_rgb
from gswap.pipeline.config import Job
from gswap.pipeline.job import STEPS
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.runner import plan


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Pair:
    """A small synthetic pair, whose truth is known."""
    case = replace(PLAIN, photos=2, photo_side=256)
    return make_pair(case, tmp_path_factory.mktemp("pair"), side=160, frames=6, observer=StepObserver())


def copy_of(path: Path, out: Path, change=lambda image: image) -> Path:
    info = probe(path)
    with VideoReader(info) as reader:
        encode_rgb(out, (change(frame.rgb) for frame in reader.frames()), info.frame_rate)
    return out


# ---------------------------------------------------------------- the command
@pytest.fixture(scope="module")
def evaluated(pair, tmp_path_factory) -> tuple[Path, dict]:
    """Two results that need no swapping (nothing done, and the truth itself) beside the classic comparator."""
    out = tmp_path_factory.mktemp("out")
    half = copy_of(pair.target, out / "half.mkv", lambda image: image[::2, ::2])
    arguments = ["evaluate", "--target", str(pair.target), "--source", str(pair.sources[0]), "--truth", str(pair.truth)]
    arguments += ["--method", f"nothing={pair.target}", f"perfect={pair.truth}", f"half={half}"]
    arguments += ["--baseline", "clone", "--consent", str(pair.consent), "--truth-masks", str(pair.truth_masks)]
    assert run([*arguments, "--threads", "1", "--out", str(out)]) == 0
    return out, json.loads((out / "evaluation.json").read_text())


def test_known_results_get_known_scores(evaluated) -> None:
    means = evaluated[1]["means"]
    nothing, perfect, clone = means["nothing"], means["perfect"], means["clone"]
    assert nothing["identity_target"] == 0 and nothing["expression"] == 0 and nothing["flicker"] == 1
    assert nothing["outside"] == 0 and nothing["body_aed"] == pytest.approx(0, abs=1e-9)
    assert perfect["ssim_head"] == pytest.approx(1) and perfect["psnr_head"] is None, "infinite"
    assert perfect["identity_source"] < nothing["identity_source"]
    assert nothing["psnr_head"] < 30 < nothing["psnr_outside"]
    assert clone["outside"] == 0 and clone["identity_target"] > 0.05
    assert clone["ssim_head"] < 1


def test_the_page_is_one_file_without_network_and_says_what_stands_in(evaluated) -> None:
    text = (evaluated[0] / "evaluation.html").read_text()
    assert not re.search(r"https?:|<script|<link|url\(", text)
    for words in ("Stands for CSIM", "Stands for CLIP score", "scaled from 80x80", "Table II", "<svg"):
        assert words in text
    markdown = (evaluated[0] / "evaluation.md").read_text()
    assert "ID similarity (dlib) stands for CSIM" in markdown and "| CSIM" not in markdown


def test_the_json_says_what_was_compared(evaluated) -> None:
    (found,) = evaluated[1]["pairs"].values()
    assert "after marks and encoding" in found["methods"]["nothing"]["told"]
    assert "own samples" in found["methods"]["nothing"]["outside"]["compared"]
    assert "RGB" in found["methods"]["half"]["outside"]["compared"]
    assert len(found["methods"]["nothing"]["worst"]) == 4


def test_a_frame_whose_face_fits_no_body_is_not_measured(pair, evaluated, tmp_path: Path) -> None:
    """It has no masks."""
    job = analysis_job(pair, evaluated[0] / "work" / pair.target.stem, Options(threads=1))
    known = analyse(job, StepObserver())
    assert known.measured(0).tolist() == list(range(6))
    body = read_body_track(known.folders["track"] / "body.safetensors")
    write_body_track(tmp_path / "body.safetensors", replace(body, valid=np.arange(6) != 2))
    assert understood(job, known.folders | {"track": tmp_path}, "").measured(0).tolist() == [0, 1, 3, 4, 5]


def test_a_file_where_a_folder_should_be_is_named(pair, tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.touch()
    both = replace(pair, methods={"a": pair.target, "b": pair.target})
    for make in (
        lambda: evaluate([both], file, Options(), StepObserver()),
        lambda: study.make_study([both], file, StepObserver()),
        lambda: make_pair(PLAIN, file / "work", side=32, frames=1, observer=StepObserver()),
    ):
        with pytest.raises(OutputError, match="taken"):
            make()


def test_what_cannot_be_scored_is_refused_before_any_pair_is_tracked(pair, tmp_path: Path, monkeypatch) -> None:
    def tracked(*arguments) -> None:
        raise AssertionError("a pair was tracked")

    monkeypatch.setattr(understanding, "analyse", tracked)
    good = replace(pair, methods={"nothing": pair.target})
    (tmp_path / "masks").mkdir()
    long = encode_and_count(tmp_path / "long.mkv", 20)
    for changes, baselines, error in (
        ({"methods": {}}, (), InputError),
        ({"methods": {"lost": tmp_path / "lost.mp4"}}, (), MissingInputError),
        ({"methods": {"long": long}}, (), InputError),
        ({"truth": long}, (), InputError),
        ({"truth_masks": tmp_path / "masks"}, (), InputError),
        ({"consent": None}, ("clone",), ConsentError),
    ):
        pairs = [good, replace(good, **changes)]
        with pytest.raises(error):
            evaluate(pairs, tmp_path / "out", Options(), StepObserver(), baselines)
    with pytest.raises(ConsentError):
        ablations.ablate([good, replace(good, consent=None)], tmp_path / "out", Options(), StepObserver(), full=True)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- files
def test_a_folder_of_pairs(pair, tmp_path: Path) -> None:
    home = tmp_path / "pairs" / "one"
    (home / "results").mkdir(parents=True)
    (home / "source").symlink_to(pair.sources[0])
    (home / "target.mkv").symlink_to(pair.target)
    (home / "results" / "tool.mkv").symlink_to(pair.target)
    (home / "results" / "notes.txt").touch()
    (found,) = read_pairs(tmp_path / "pairs")
    assert found.name == "one" and list(found.methods) == ["tool"] and found.truth is None
    (tmp_path / "pairs" / "two").mkdir()
    with pytest.raises(InputError, match=r"target\.mp4 in the pair 'two'"):
        read_pairs(tmp_path / "pairs")
    with pytest.raises(MissingInputError):
        read_pairs(tmp_path / "nowhere")


def test_every_result_has_a_name_of_its_own(pair, tmp_path: Path) -> None:
    """Two results of one name would become one row of the tables."""
    home = tmp_path / "pairs" / "one"
    (home / "results").mkdir(parents=True)
    (home / "source").symlink_to(pair.sources[0])
    (home / "target.mkv").symlink_to(pair.target)
    for name in ("tool.mkv", "._tool.mkv"):
        (home / "results" / name).symlink_to(pair.target)
    (found,) = read_pairs(tmp_path / "pairs")
    assert list(found.methods) == ["tool"], "what macOS leaves beside a file is no result"
    (home / "results" / "tool.mp4").symlink_to(pair.target)
    with pytest.raises(InputError, match=r"found tool\.mkv and tool\.mp4"):
        read_pairs(tmp_path / "pairs")
    with pytest.raises(UsageError, match="comparator's for the result 'clone'"):
        evaluate(
            [replace(pair, methods={"clone": pair.target})], tmp_path / "out", Options(), StepObserver(), ["clone"]
        )
    assert not (tmp_path / "out").exists()
    known = {"target": pair.target, "source": pair.sources, "out": tmp_path / "out"}
    with pytest.raises(UsageError, match="found a, b, a"):
        Evaluate(**known, method=("a=1.mp4", "b=2.mp4", "a=3.mp4"))._pairs()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ablations": True, "method": ("a=b.mp4",)}, "--method does nothing beside"),
        ({"ablations": True, "work": Path("w")}, "--work does nothing beside"),
        ({"groups": True, "pairs": Path("p")}, "--pairs does nothing beside"),
        ({"speed": True, "target": Path("t.mp4")}, "--target does nothing beside"),
        ({"study": Path("s"), "baseline": ("clone",)}, "--baseline does nothing beside --study"),
        ({"study": Path("s"), "groups": True}, "--speed does nothing beside --study"),
        ({"truth_masks": Path("m")}, "--truth-masks does nothing without --truth"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, words) -> None:
    with pytest.raises(UsageError, match=words):
        Evaluate(**options)._refuse_idle()


@pytest.mark.parametrize("option", [("--frames", "-1"), ("--threads", "0")])
def test_numbers_that_are_too_small_are_refused_before_any_work(pair, tmp_path: Path, option) -> None:
    arguments = [
        "evaluate",
        "--target",
        str(pair.target),
        "--source",
        str(pair.sources[0]),
        "--out",
        str(tmp_path / "o"),
    ]
    assert run([*arguments, "--method", f"nothing={pair.target}", *option]) == 2
    assert not (tmp_path / "o").exists()


def test_variants_that_are_named_and_cannot_run_are_not_left_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path))
    assert [v.name for v in ablations._chosen(["1 photo"])] == ["ours", "1 photo"]
    assert all(v.needs != "diffusion" for v in ablations._chosen([]))
    with pytest.raises(WeightsError, match="arc2face"):
        ablations._chosen(["1 photo", "paper recipe"])
    with pytest.raises(UsageError, match="found 'nonsense'"):
        ablations._chosen(["nonsense"])


class _Clip:
    """As much of a clip as opening a result looks at."""

    def __init__(self, info) -> None:
        self.info = info


def test_results_that_do_not_fit_are_refused(pair, tmp_path: Path) -> None:
    clip = _Clip(probe(pair.target))
    with pytest.raises(MissingInputError):
        open_result("x", tmp_path / "none.mp4", clip, "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="workspace"):
        open_result("x", tmp_path / "folder", clip, "")
    longer = encode_and_count(tmp_path / "long.mkv", 20)
    with pytest.raises(InputError, match="Expected 6 frames"):
        open_result("x", longer, clip, "")
    assert run(["evaluate", "--target", str(pair.target), "--source", "x", "--method", "nameless"]) == 2


def encode_and_count(path: Path, count: int) -> Path:
    encode_rgb(path, (np.full((32, 32, 3), t, np.uint8) for t in range(count)), (25, 1))
    return path


def test_comparators_and_ablations_need_consent(pair, tmp_path: Path) -> None:
    from gswap.apps.evaluate.baselines import make_baselines, require_consent

    with pytest.raises(ConsentError, match="consent record"):
        require_consent(replace(pair, consent=None))
    require_consent(pair)
    with pytest.raises(UsageError, match="clone"):
        make_baselines(["magic"], None, pair)  # type: ignore[arg-type]


# ---------------------------------------------------------------- variants
def test_variants_share_every_step_that_they_do_not_change(pair, tmp_path: Path) -> None:
    base = variants.base_job(
        Job(pair.sources, pair.target, tmp_path / "o.mkv", tmp_path / "c.toml", tmp_path / "w"), full=False
    )
    names = [step.name for step in STEPS[:8]]
    prints = plan(base, STEPS)
    first_changed = {
        "ours": None,
        "with detail transfer": "render",
        "without retracking": "retrack",
        "paper's retracking": "retrack",
        "with temporal feature, c_1": "fit",
        "spherical harmonics": "fit",
        "RGB blend, no rerendering": "fit",
        "1 photo": "ingest",
    }
    by_name = {v.name: v for v in variants.VARIANTS}
    for name, step in first_changed.items():
        other = plan(by_name[name].change(base), STEPS)
        changed = [n for n in names if other[n] != prints[n]]
        assert changed == ([] if step is None else names[names.index(step) :]), name


# ---------------------------------------------------------------- the user study
@pytest.fixture(scope="module")
def made_study(pair, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    methods = {"ours": pair.target, "rival tool": pair.truth}
    study.make_study([replace(pair, methods=methods)], folder, StepObserver())
    return folder


def answers(folder: Path, person: str, winner: str, path: Path, study_id: str | None = None) -> Path:
    key = json.loads((folder / study.KEY).read_text())
    case, codes = next(iter(key["codes"].items()))
    ranks = {code: 1 if name == winner else 2 for code, name in codes.items() if code != "pair"}
    questions = {q: dict(ranks) for q in study.QUESTIONS}
    questions["inpainting"] = {code: None for code in ranks}
    value = {"study": study_id or key["study"], "participant": person, "answers": {case: questions}}
    path.write_text(json.dumps(value))
    return path


def test_the_study_page_is_blind_and_self_contained(made_study: Path) -> None:
    text = (made_study / study.PAGE).read_text()
    assert "ours" not in re.sub(r"base64,[^\"]*", "", text).lower().replace("yours", "").replace("hours", "")
    assert "rival" not in text and "synthetic" not in re.sub(r"base64,[^\"]*", "", text).lower()
    assert not re.search("https?:", text) and text.count("data:video/mp4;base64,") == 3
    key = json.loads((made_study / study.KEY).read_text())
    assert key["secret"] not in text
    for question in study.QUESTIONS.values():
        assert question in text


def test_answers_are_tallied_from_zero_to_three(made_study: Path, tmp_path: Path) -> None:
    files = [answers(made_study, f"p{i}", "ours" if i < 3 else "rival tool", tmp_path / f"{i}.json") for i in range(4)]
    counted = study.tally(made_study, files)
    mean, low, high, ratings = counted.scores["ours"]["id"]
    assert mean == pytest.approx(9 / 4) and low <= mean <= high and ratings == 4
    assert counted.scores["rival tool"]["id"][0] == pytest.approx(3 / 4)
    assert "inpainting" not in counted.scores["ours"]
    text = study.write_tally(made_study, counted).read_text()
    assert "4 participants" in text and "| ours | 2.25" in text and "–" in text


def test_answers_that_do_not_count(made_study: Path, tmp_path: Path) -> None:
    one = answers(made_study, "p", "ours", tmp_path / "a.json")
    with pytest.raises(InputError, match="twice"):
        study.tally(made_study, [one, answers(made_study, "p", "ours", tmp_path / "b.json")])
    with pytest.raises(InputError, match="this study"):
        study.tally(made_study, [answers(made_study, "q", "ours", tmp_path / "c.json", "other")])
    broken = json.loads(one.read_text())
    for case in broken["answers"].values():
        case["id"] = dict.fromkeys(case["id"], 1)
    one.write_text(json.dumps(broken))
    with pytest.raises(InputError, match="every rank once"):
        study.tally(made_study, [one])


@pytest.mark.parametrize(
    "damage",
    [
        {"answers": None},
        {"answers": {"case": None}},
        {"answers": {"case": {"id": [1, 2]}}},
        {"answers": {"case": {"id": {"code": "1"}}}},
        {"participant": None},
    ],
)
def test_damaged_answers_are_named(made_study: Path, tmp_path: Path, damage: dict) -> None:
    path = answers(made_study, "p", "ours", tmp_path / "a.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(InputError, match="damaged") as caught:
        study.tally(made_study, [path])
    assert caught.value.path == str(path)


def test_the_study_shows_the_part_of_the_clip_that_the_results_show(pair, tmp_path: Path, monkeypatch) -> None:
    shown: list[int] = []

    def counted(out, images, rate, **options):
        shown.append(sum(1 for _ in images))
        out.touch()

    monkeypatch.setattr(study, "encode_rgb", counted)
    part = encode_and_count(tmp_path / "part.mkv", 3)
    of_part = replace(pair, start=0.08, end=0.2, methods={"a": part, "b": part})
    study.make_study([of_part], tmp_path, StepObserver())
    assert shown == [3, 3, 3]


def test_one_result_is_no_study(pair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two results"):
        study.make_study([replace(pair, methods={"ours": pair.target})], tmp_path, StepObserver())
