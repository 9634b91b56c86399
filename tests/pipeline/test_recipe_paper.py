"""The paper's recipes from files to a file, by the command that users give, on tiny models of the real classes.

The weights are pulled from a stand-in of the hub in the publishers' layout, and nothing of the program is replaced.
All runs share one workspace, so that what they have in common is computed once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tyro

pytest.importorskip("diffusers")
pytest.importorskip("peft")
pytest.importorskip("onnx")

from hub import Hub, publish, serving
from tiny_models import quiet, write_all
from tiny_parts import write_parts
from tiny_smplx import write_smplx

from gswap.apps.cli.console import Terminal
from gswap.apps.cli.jobs import Swap
from gswap.apps.cli.main import run
from gswap.foundation import weights
from gswap.foundation.store import PngStore, read_body_track, read_json
from gswap.foundation.weights.convert import import_part
from gswap.output.sidecar import sidecar_path
from gswap.pipeline.config import Job
from gswap.pipeline.job import STEPS
from gswap.pipeline.parts import required_weights
from gswap.pipeline.runner import plan
from gswap.pipeline.steps import segment, swap

BATCH, STEPS_LEARNT = 4, 6
QUICK = (
    *("--threads", "1", "--label", "off", "--no-watermark"),
    *("--fit.coarse-steps", "10", "--fit.fine-steps", "4"),
    *("--diffusion.adapt.steps", str(STEPS_LEARNT), "--diffusion.adapt.rank", "4", "--diffusion.adapt.rate", "1e-3"),
    *("--diffusion.adapt.variants", "1", "--diffusion.adapt.validate-every", "3"),
    *("--diffusion.adapt.checkpoint-every", "3", "--diffusion.sample.side", "128"),
    *("--diffusion.sample.batch", str(BATCH)),
    # Tiny networks cannot make a face out of noise: they begin with the reenactment, faintly disturbed.
    *("--diffusion.sample.start", "reenact", "--diffusion.sample.strength", "0.05"),
)
MIXTURE = (
    *("--parser", "embedded", "--inpainter", "embedded", "--controlnet", "openpose", "--fit.region", "upper-body"),
    *("--diffusion.sample.sampler", "lcm", "--diffusion.sample.steps", "50", "--diffusion.sample.strength", "0.02"),
    *("--diffusion.sources.clothes", "garment", "--diffusion.sources.strength", "0.05"),
    *("--diffusion.gate.identity", "1.0", "--diffusion.gate.reseeds", "1"),
)
LITERAL = (
    *("--reenactor", "liveportrait", "--body", "smplx", "--parser", "segformer", "--identity", "arcface-buffalo"),
    *("--upscaler", "real-esrgan-x4"),
)


@dataclass(frozen=True)
class Done:
    """A finished run."""

    job: Job
    facts: dict

    def folder(self, step: str) -> Path:
        """Where a step's result lies."""
        return self.job.work / step / plan(self.job, STEPS)[step]

    @property
    def folders(self) -> dict[str, Path]:
        return {step.name: self.folder(step.name) for step in STEPS}

    @property
    def count(self) -> int:
        return read_json(self.folder("ingest") / "done.json")["frames"]


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """Tiny weights of every part in the folder of weights, through ``gswap weights``' own code."""
    source, folder = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("weights")
    with quiet():
        write_all(source)
        write_parts(source)
    with pytest.MonkeyPatch.context() as patch, serving(Hub()) as hub:
        patch.setenv("GSWAP_WEIGHTS", str(folder))
        patch.delenv("GSWAP_OFFLINE", raising=False)
        patch.setenv("GSWAP_HUB", hub.base)
        patch.setenv("GSWAP_RELEASES", hub.base)
        for name in publish(source, hub, patch):
            weights.pull(name)
        import_part("smplx", write_smplx(tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz"))
        yield folder


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("paper") / "work"


def arguments(small, work: Path, recipe: str, *options: str, end: str = "0.3") -> list[str]:
    """A command line."""
    work.parent.mkdir(parents=True, exist_ok=True)
    inputs = ("--source", str(small.inputs.source), "--target", str(small.inputs.target))
    files = ("--out", str(work.parent / f"{recipe}{len(options)}.mkv"), "--consent", str(small.consent))
    return ["swap", *inputs, *files, "--work", str(work), "--recipe", recipe, "--end", end, *QUICK, *options]


def job_of(command: list[str]) -> Job:
    recipe = command[command.index("--recipe") + 1]
    return tyro.cli(Swap, args=command[1:], default=Swap.of_recipe(recipe)).job()


def _raise(terminal: Terminal, error: BaseException) -> int:
    raise error


def swapped(command: list[str]) -> Done:
    """Run a command to its end."""
    job = job_of(command)
    with quiet(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Terminal, "error", _raise)
        assert run(command) == 0
    done = Done(job, {})
    return Done(job, read_json(done.folder("swap") / "done.json")["generator"])


@dataclass(frozen=True)
class Stopped:
    """An interrupted run."""

    call: int
    """The interruption came with this call of the swap step's progress."""
    files: dict[str, int]
    """What lay in the step's folder by then, with the times of its last changes."""


@pytest.fixture(scope="module")
def stopped(small, pulled, work) -> Stopped:
    """``--recipe paper``, interrupted (Ctrl-C) when the first batch of frames was painted."""
    command, calls = arguments(small, work, "paper"), []

    def progress(terminal: Terminal, step: str, done: int, total: int, note: str) -> None:
        calls.append(step)
        if note.startswith("inpainting"):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setattr(Terminal, "progress", progress)
        assert run(command) == 130
    folder = Done(job_of(command), {}).folder("swap")
    files = {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    return Stopped(calls.count("swap"), files)


@pytest.fixture(scope="module")
def paper(stopped, small, work) -> Done:
    """``--recipe paper`` with every part as the recipe says, continued after it was interrupted."""
    return swapped(arguments(small, work, "paper"))


@pytest.fixture(scope="module")
def mixture(paper, small, work) -> Done:
    """The paper's swap with embedded masks and plate, another ControlNet, four-step sampler, garments, strict gate."""
    return swapped(arguments(small, work, "paper", *MIXTURE))


@pytest.fixture(scope="module")
def literal(paper, small, work) -> Done:
    """``--recipe paper-literal`` with LivePortrait, SMPL-X, SegFormer, ArcFace and the other super-resolution."""
    return swapped(arguments(small, work, "paper-literal", *LITERAL, end="0.15"))


def test_the_paper_runs_from_files_to_a_file(paper):
    assert paper.job.parts.parser == "farl" and paper.job.parts.inpainter == "lama"
    assert paper.job.parts.perceptual == "lpips-vgg" and paper.job.parts.upscaler == "real-esrgan-x2"
    assert paper.facts["steps"] == STEPS_LEARNT and len(paper.facts["validation"]) == 2
    assert paper.facts["optimizer"] == "AdamW"
    assert paper.facts["identity"] > 0.5 and paper.facts["landmarks"] < 0.08
    assert len(paper.facts["dropped"]) < paper.count // 2


def test_i_gen_is_the_targets_outside_the_painted_area(paper):
    target = segment.load_target(paper.folders, paper.count)
    folder = paper.folder("swap")
    stores = {name: PngStore(folder / name, paper.count) for name in ("rgb", "head", "plate")}
    attempts = [PngStore(path, paper.count) for path in sorted(folder.glob("attempt*"))]
    for t in range(paper.count):
        scene = target.rgb[t]
        painted = [store[t] for store in attempts if t in store]
        touched = np.any([(raw != scene).any(-1) for raw in painted], 0)
        assert 0.05 < touched.mean() < 0.6
        own = np.maximum(target.head[t], target.neck[t]) > 127
        assert touched[own].mean() > 0.9, "the target's head and neck are painted over"
        same = ~touched & (stores["plate"][t] == scene).all(-1)
        assert np.array_equal(stores["rgb"][t][same], scene[same])
        assert (stores["head"][t] > 127).mean() > 0.05


def test_the_portrait_learns_from_retracked_frames_that_passed(paper):
    own = read_body_track(paper.folder("retrack") / "train.safetensors")
    drive = read_body_track(paper.folder("retrack") / "drive.safetensors")
    assert not np.allclose(own.rotation[own.valid], drive.rotation[own.valid])


def test_an_interrupted_painting_goes_on_with_the_next_batch(stopped, paper):
    """What was learnt and painted before the interruption is kept as it was; only the rest is made."""
    painted = [name for name in stopped.files if name.startswith("attempt0/")]
    assert len(painted) == BATCH < paper.count and "adapt/curve.json" in stopped.files
    folder = paper.folder("swap")
    kept = {n: m for n, m in stopped.files.items() if n.startswith(("adapt/", "attempt0/", "measure0/", "reenact/"))}
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert len(list((folder / "attempt0").iterdir())) == paper.count


def test_report_and_manifest_name_parts_and_weights(paper, mixture, literal):
    for done in (paper, mixture, literal):
        report = (done.folder("deliver") / "report.json").read_text()
        manifest = sidecar_path(done.job.out).read_text()
        for name in required_weights(done.job):
            assert weights.digest(name) in report, name
            assert weights.digest(name) in manifest, name
        for part, choice in (("swapper", "diffusion"), ("upscaler", done.job.parts.upscaler)):
            assert f"part: {part}" in report and f"part {part}: {choice}" in manifest


def test_a_mixture_of_parts(mixture, pulled):
    used = required_weights(mixture.job)
    assert {"controlnet-openpose", "lcm-lora-sdv1-5", "stable-diffusion-v1-5-unet"} <= set(used)
    assert not {"farl", "lama", "controlnet-mediapipe-face"} & set(used)
    assert set(mixture.facts["garments"]) <= {"painted", "plain grey"} and len(mixture.facts["garments"]) == 3
    assert mixture.job.settings.fit.region == "upper-body"


def test_frames_that_fail_the_gate_are_left_out_of_the_fit(mixture):
    """Whatever is below the median is painted again; what still is, the portrait does not learn from."""
    dropped = mixture.facts["dropped"]
    assert 0 < len(dropped) < mixture.count and mixture.facts["reseeded"] > 0
    assert read_json(mixture.folder("swap") / swap.DROPPED) == dropped
    tracks = {n: read_body_track(mixture.folder("retrack") / f"{n}.safetensors") for n in ("train", "drive")}
    learnt = swap.leave_out(tracks["train"], mixture.folder("swap")).valid
    assert not learnt[dropped].any() and learnt.sum() == mixture.count - len(dropped)
    assert tracks["drive"].valid[dropped].all(), "they are shown all the same"
    enlarged = sorted(int(p.stem) for p in (mixture.folder("fit") / "enlarged").glob("*.png"))
    assert enlarged == np.flatnonzero(learnt).tolist(), "the fit went without them"
    confidence = PngStore(mixture.folder("swap") / "confidence", mixture.count)
    assert all(confidence[t].max() == 0 for t in dropped)
    report = json.loads((mixture.folder("deliver") / "report.json").read_text())
    assert any(f"{len(dropped)} painted frames" in text for text in json.dumps(report).split('"'))


def test_the_literal_readings_run_from_files_to_a_file(literal):
    fit = literal.job.settings.fit
    assert fit.paper_literal and fit.splat_channels == 32 and fit.driving_shape == "target"
    assert literal.facts["steps"] == STEPS_LEARNT
    assert read_body_track(literal.folder("track") / "body.safetensors").shape.model == "smplx"
    reenacted = PngStore(literal.folder("swap") / "reenact" / "rgb", literal.count)
    assert reenacted[0].std() > 10
    learnt = (literal.folder("swap") / "adapt" / "best.safetensors").read_bytes()
    assert b'"full"' in learnt[:100_000]


OTHER_PROCESS = """
import dataclasses
from gswap.foundation.weights import catalogue
for name, part in catalogue.CATALOGUE.items():
    files = tuple(dataclasses.replace(item, sha256=None, bytes=None) for item in part.files)
    catalogue.CATALOGUE[name] = dataclasses.replace(part, files=files)
from gswap.apps.cli.main import main
main()
"""
"""``gswap`` with a catalogue that has forgotten the real hashes, as in this process: the tiny weights are pinned."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_painting_killed_outright_goes_on_where_it_was(stopped, small, tmp_path):
    """``kill -9`` in another process: what was learnt and painted by then is kept to the byte, the rest is made."""
    command = arguments(small, tmp_path / "work", "paper")
    start = [sys.executable, "-c", OTHER_PROCESS, *command]
    environment = {**os.environ, "GSWAP_FAULT": f"swap:{stopped.call}:kill"}
    killed = subprocess.run(start, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = Done(job_of(command), {}).folder("swap")
    kept = {p: p.read_bytes() for name in ("adapt", "attempt0", "measure0") for p in (folder / name).glob("*.*")}
    assert sum(p.parent.name == "attempt0" for p in kept) == BATCH
    done = swapped(command)
    assert {p: p.read_bytes() for p in kept} == kept
    assert len(list((folder / "attempt0").iterdir())) == done.count
