"""The paper's recipe from files to a file, on tiny models of the real classes pulled from a stand-in of the hub."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("peft")
pytest.importorskip("onnx")

from hub import Hub, publish, serving
from tiny_models import quiet, write_all

from gswap.foundation import weights
from gswap.foundation.errors import WeightsError
from gswap.foundation.store import PngStore, read_body_track, read_json
from gswap.pipeline.job import run_job
from gswap.pipeline.recipes import recipe_defaults
from gswap.pipeline.steps import segment
from gswap.swap.diffusion.config import AdaptConfig, DiffusionConfig, SampleConfig

TINY = DiffusionConfig(
    adapt=AdaptConfig(steps=6, rank=4, rate=1e-3, variants=1, validate_every=3, checkpoint_every=3),
    # Tiny networks cannot make a face out of noise: they begin with the reenactment, faintly disturbed.
    sample=SampleConfig(start="reenact", strength=0.05, side=128, batch=7),
)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """Tiny weights in the folder of weights, through ``gswap weights pull``'s own code."""
    source, folder = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("weights")
    write_all(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSWAP_WEIGHTS", str(folder))
        patch.delenv("GSWAP_OFFLINE", raising=False)
        with serving(Hub()) as hub:
            patch.setenv("GSWAP_HUB", hub.base)
            for name in publish(source, hub, patch):
                weights.pull(name)
        yield folder


def paper_job(small, folder, **changes):
    """The paper's recipe with the parts that are pulled; the others are embedded: a mixture."""
    defaults = recipe_defaults("paper")
    fit = dataclasses.replace(defaults.settings.fit, coarse_steps=20, fine_steps=4)
    parts = dataclasses.replace(
        defaults.parts, parser="embedded", inpainter="embedded", perceptual="patches", upscaler="lanczos"
    )
    values = {"settings": dataclasses.replace(defaults.settings, fit=fit, diffusion=TINY), "parts": parts}
    return small.job(folder, recipe="paper", **(values | changes))


@pytest.fixture(scope="module")
def painted(small, pulled, tmp_path_factory):
    job = paper_job(small, tmp_path_factory.mktemp("paper"))
    with quiet():
        return job, run_job(job)


def test_the_paper_runs_from_files_to_a_file(painted):
    job, done = painted
    assert job.out.exists() and done.report.exists()
    facts = read_json(done.folders["swap"] / "done.json")["generator"]
    assert facts["steps"] == 6 and len(facts["validation"]) == 2
    assert facts["identity"] > 0.5 and facts["landmarks"] < 0.08
    assert len(facts["dropped"]) < 7


def test_i_gen_is_the_targets_outside_the_painted_area(painted):
    _, done = painted
    count = read_json(done.folders["ingest"] / "done.json")["frames"]
    target = segment.load_target(done.folders, count)
    folder = done.folders["swap"]
    stores = {name: PngStore(folder / name, count) for name in ("rgb", "head", "plate", "attempt0")}
    for t in range(count):
        scene, raw = target.rgb[t], stores["attempt0"][t]
        touched = (raw != scene).any(-1)
        assert 0.05 < touched.mean() < 0.6
        own = np.maximum(target.head[t], target.neck[t]) > 127
        assert touched[own].mean() > 0.95, "the target's head and neck are painted over"
        same = ~touched & (stores["plate"][t] == scene).all(-1)
        assert np.array_equal(stores["rgb"][t][same], scene[same])
        assert (stores["head"][t] > 127).mean() > 0.05


def test_the_portrait_learns_from_retracked_frames_that_passed(painted):
    _, done = painted
    own = read_body_track(done.folders["retrack"] / "train.safetensors")
    drive = read_body_track(done.folders["retrack"] / "drive.safetensors")
    assert not np.allclose(own.rotation[own.valid], drive.rotation[own.valid])


def test_the_report_names_parts_and_weights(painted):
    job, done = painted
    text = done.report.read_text()
    for name in job.parts.weights():
        assert name in text


def test_a_painted_frame_that_is_gone_is_made_again_the_same(painted, small):
    """Killed while frames were painted: the run goes on and gives the same bytes."""
    job, done = painted
    folder = done.folders["swap"]
    kept = {p: p.read_bytes() for p in sorted(folder.glob("*/0000*.png"))}
    for path in (folder / "done.json", *folder.glob("*/000003.*"), folder / "adapt" / "curve.json"):
        path.unlink()
    again = dataclasses.replace(job, out=job.out.with_name("again.mkv"))
    with quiet():
        run_job(again)
    assert {p: p.read_bytes() for p in kept} == kept


def test_missing_weights_are_named_before_any_work(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="arc2face"):
        run_job(paper_job(small, tmp_path))
    assert not (tmp_path / "work").exists()
