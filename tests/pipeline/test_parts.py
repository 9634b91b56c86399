"""Parts other than the embedded ones: chosen by name, checked before any work, in fingerprints, report and manifest."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
from hub import Hub, publish, serving

from gswap.apps.cli.main import run
from gswap.foundation import weights
from gswap.foundation.errors import UsageError, WeightsError
from gswap.foundation.store import read_face_track
from gswap.foundation.weights import Network, catalogue
from gswap.output import consent
from gswap.pipeline import parts
from gswap.pipeline.config import Parts
from gswap.pipeline.job import STEPS, run_job
from gswap.pipeline.publish import provenance_of
from gswap.pipeline.runner import plan

ALL = Parts(
    parser="farl",
    inpainter="lama",
    identity="arcface-buffalo",
    perceptual="lpips-vgg",
    upscaler="real-esrgan-x2",
)
NAMES = ("farl", "lama", "arcface-buffalo", "lpips-vgg", "real-esrgan-x2")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Tiny parts as they lie in the folder of weights."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    pytest.importorskip("transformers")
    from tiny_parts import write_parts

    root = tmp_path_factory.mktemp("written")
    write_parts(root)
    return root


@pytest.fixture
def pulled(written, monkeypatch, tmp_path):
    """The tiny parts, fetched from a stand-in server through the real catalogue entries (less the real hashes)."""
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "weights"))
    with serving(Hub()) as hub:
        monkeypatch.setenv("GSWAP_HUB", hub.base)
        monkeypatch.setenv("GSWAP_RELEASES", hub.base)
        for name in publish(written, hub, monkeypatch, NAMES):
            weights.pull(name, network=Network(attempts=1))
    return tmp_path


def quick(small, folder, chosen: Parts, **changes):
    job = small.job(folder, parts=chosen, end=0.2, **changes)
    fit = dataclasses.replace(job.settings.fit, coarse_steps=16, fine_steps=8)
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, fit=fit))


def test_a_job_with_every_part_of_the_paper_but_the_generator(small, pulled):
    job = quick(small, pulled, ALL)
    result = run_job(job)
    assert result.out.exists()
    enlarged = sorted((result.folders["fit"] / "enlarged").iterdir())
    heads = sorted((result.folders["segment"] / "head").iterdir())
    assert enlarged and len(enlarged) == len(heads)
    report = json.loads((result.folders["deliver"] / "report.json").read_text())
    text = json.dumps(report)
    for name in NAMES:
        assert weights.digest(name) in text
    for field in ("parser", "inpainter", "identity", "perceptual", "upscaler"):
        assert f"part: {field}" in text
    photos = read_face_track(result.folders["perceive"] / "photo_faces.safetensors")
    assert photos.embedding.shape[1] == 512 and np.isfinite(photos.embedding).all()


def test_parts_change_the_steps_that_they_work_in_and_what_follows(small, pulled):
    usual = plan(quick(small, pulled, Parts()), STEPS)

    def changed(**choice) -> set[str]:
        other = plan(quick(small, pulled, Parts(**choice)), STEPS)
        return {name for name in usual if usual[name] != other[name]}

    assert "ingest" not in changed(identity="arcface-buffalo") and "perceive" in changed(identity="arcface-buffalo")
    for choice in ({"parser": "farl"}, {"inpainter": "lama"}):
        assert {"segment", "swap", "fit", "render"} <= changed(**choice)
        assert not {"ingest", "perceive", "track"} & changed(**choice)
    for choice in ({"perceptual": "lpips-vgg"}, {"upscaler": "lanczos"}, {"upscaler": "real-esrgan-x2"}):
        assert {"fit", "render"} <= changed(**choice)
        assert not {"segment", "swap", "retrack"} & changed(**choice)


def test_other_weights_are_another_result(small, pulled, monkeypatch):
    before = plan(quick(small, pulled, Parts(inpainter="lama")), STEPS)
    digest = weights.digest("lama")
    monkeypatch.setattr(weights, "digest", lambda name: "0" * 64)
    assert plan(quick(small, pulled, Parts(inpainter="lama")), STEPS)["segment"] != before["segment"]
    assert digest != "0" * 64


EVERY_PART = {
    "farl": ("--parser", "farl"),
    "segformer": ("--parser", "segformer"),
    "lama": ("--inpainter", "lama"),
    "arcface-buffalo": ("--identity", "arcface-buffalo"),
    "arcface-antelopev2": ("--identity", "arcface-antelopev2"),
    "lpips-vgg": ("--perceptual", "lpips-vgg"),
    "real-esrgan-x2": ("--upscaler", "real-esrgan-x2"),
    "real-esrgan-x4": ("--upscaler", "real-esrgan-x4"),
    "smplx": ("--body", "smplx"),
    "arc2face": ("--swapper", "diffusion"),
    "stable-diffusion-v1-5": ("--swapper", "diffusion"),
    "arcface-arc2face": ("--swapper", "diffusion"),
    "controlnet-mediapipe-face": ("--swapper", "diffusion"),
    "controlnet-openpose": ("--swapper", "diffusion", "--controlnet", "openpose"),
    "liveportrait": ("--swapper", "diffusion", "--reenactor", "liveportrait"),
    "lcm-lora-sdv1-5": ("--swapper", "diffusion", "--diffusion.sample.sampler", "lcm"),
    "stable-diffusion-v1-5-unet": ("--swapper", "diffusion", "--diffusion.sources.clothes", "garment"),
}
"""Every part of the catalogue that a swap can use, and the options that ask for it."""


def swap_with(name, small, out):
    """A whole command that asks for one part."""
    inputs = {"--source": small.inputs.source, "--target": small.inputs.target, "--consent": small.consent}
    files = [str(word) for pair in inputs.items() for word in pair]
    return ["swap", *files, "-o", str(out), "--json", *EVERY_PART[name]]


@pytest.mark.parametrize("name", EVERY_PART)
def test_a_missing_part_is_one_sentence_before_any_work(small, tmp_path, monkeypatch, capsys, name):
    """Whatever else is there: the one that is missing is named with its licence and the command that brings it."""
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "none"))
    usual = weights.folder._verify

    def only_this_one(part, *rest):
        if part.name == name:
            usual(part, *rest)

    monkeypatch.setattr(weights.folder, "_verify", only_this_one)
    assert run(swap_with(name, small, tmp_path / "out.mkv")) == 78
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(told) == 1
    spec = catalogue.spec(name)
    verb = "pull" if spec.pullable else "import"
    assert told[0]["message"].startswith(f"The part {name} ({spec.title}) is not there")
    assert spec.licence in told[0]["message"]
    assert told[0]["hint"].startswith(f"Run: gswap weights {verb} {name}")
    assert list(tmp_path.iterdir()) == []


def test_every_part_of_the_catalogue_can_be_used():
    assert {*EVERY_PART, "clip-vit-b32", "smirk"} == set(catalogue.CATALOGUE)
    assert {n for n, s in catalogue.CATALOGUE.items() if s.part == "evaluation"} == {"clip-vit-b32", "smirk"}


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("arc2face", "diffusers", "diffusion"),
        ("arc2face", "peft", "diffusion"),
        ("segformer", "transformers", "diffusion"),
        ("lama", "onnxruntime", "onnx"),
        ("arcface-buffalo", "onnxruntime", "onnx"),
    ],
)
def test_a_package_that_is_not_installed_is_named_before_any_work(
    small, tmp_path, monkeypatch, capsys, name, package, extra
):
    monkeypatch.setattr(weights.folder, "_verify", lambda *ignored: None)
    monkeypatch.setitem(sys.modules, package, None)
    assert run(swap_with(name, small, tmp_path / "out.mkv")) == 78
    told = json.loads(capsys.readouterr().err)
    assert f"gswap[{extra}]" in told["hint"] and name in told["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("choice", [{"reenactor": "liveportrait"}, {"controlnet": "openpose"}])
def test_a_part_that_would_do_nothing_is_refused(small, tmp_path, choice):
    job = quick(small, tmp_path, Parts(**choice))
    with pytest.raises(UsageError, match="for --swapper diffusion only"):
        run_job(job)
    assert not job.work.exists()
    parts.check_parts(dataclasses.replace(job.parts, swapper="diffusion"))


def test_a_tampered_part_is_refused_before_any_work(small, pulled):
    file = weights.root() / "lama" / "lama.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    job = quick(small, pulled, Parts(inpainter="lama"))
    with pytest.raises(WeightsError, match="Expected the SHA-256"):
        run_job(job)
    assert not job.work.exists()


def test_commercial_only_refuses_before_any_work(small, pulled):
    job = quick(small, pulled, ALL, commercial_only=True)
    with pytest.raises(WeightsError, match="farl may not be used commercially"):
        run_job(job)
    assert not job.work.exists()
    free = Parts(inpainter="lama", perceptual="lpips-vgg", upscaler="real-esrgan-x2")
    weights.require(parts.required_weights(quick(small, pulled, free)), commercial_only=True)


def test_the_manifest_names_the_weights(small, pulled):
    record = consent.load(small.consent)
    found = provenance_of(quick(small, pulled, ALL), record, "0" * 16)
    usual = provenance_of(quick(small, pulled, Parts()), record, "0" * 16)
    assert {n: d for n, d in found.weights.items() if n not in usual.weights} == {n: weights.digest(n) for n in NAMES}
    assert "part parser: farl" in found.notes and "part inpainter: lama" in found.notes and not usual.notes
    assert provenance_of(quick(small, pulled, Parts()), record, "0" * 16).config_hash != found.config_hash


def test_every_choice_has_its_entry_in_the_catalogue():
    import typing

    hints = typing.get_type_hints(Parts)
    for field in dataclasses.fields(Parts):
        for value in typing.get_args(hints[field.name]):
            for name in dataclasses.replace(Parts(swapper="diffusion"), **{field.name: value}).weights():
                assert name in catalogue.CATALOGUE
