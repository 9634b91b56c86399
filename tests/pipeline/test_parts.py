"""Parts other than the embedded ones: chosen by name, checked before any work, in fingerprints, report and manifest."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from hub import Hub, serving
from torch import nn

from gswap.foundation import weights
from gswap.foundation.errors import WeightsError
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


def farl_by_place(path):
    """A parser that knows where heads are in an aligned square, and looks at nothing."""
    from gswap.segmentation.adapters.farl import CLASSES, SIDE

    class Place(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            ys, xs = torch.meshgrid(*[(torch.arange(SIDE) + 0.5) / SIDE] * 2, indexing="ij")
            logits = torch.full((1, len(CLASSES), SIDE, SIDE), -20.0)
            head = (((xs - 0.5) / 0.36) ** 2 + ((ys - 0.45) / 0.46) ** 2) < 1
            neck = (xs - 0.5).abs().lt(0.14) & ys.gt(0.85) & ~head
            logits[0, CLASSES.index("face")][head] = 5.0
            logits[0, CLASSES.index("neck")][neck] = 5.0
            logits[0, CLASSES.index("background")][~head & ~neck] = 5.0
            self.register_buffer("logits", logits)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.logits + 0.0 * image.mean(), image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Place(), torch.zeros(1, 3, SIDE, SIDE)).save(str(path))


def vgg_and_lin():
    from gswap.metrics.lpips import STAGES

    torch.manual_seed(0)
    vgg, channels = {}, 3
    for depth, stage in enumerate(STAGES):
        for place in stage:
            conv = nn.Conv2d(channels, 2 * (depth + 1), 3)
            vgg |= {f"features.{place}.{k}": v for k, v in conv.state_dict().items()}
            channels = 2 * (depth + 1)
    return vgg, {f"lin{k}.model.1.weight": torch.rand(1, 2 * (k + 1), 1, 1) for k in range(5)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Bytes of tiny parts, by name and file, as their makers publish them: pickles where they publish pickles."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from safetensors.torch import save_file
    from tiny_onnx import tiny_arcface, tiny_lama

    from gswap.rerender.upscalers import RrdbNet

    folder = tmp_path_factory.mktemp("published")
    farl_by_place(folder / "farl")
    tiny_lama(folder / "lama", 64)
    tiny_arcface(folder / "arcface")
    vgg, lin = vgg_and_lin()
    save_file(vgg, folder / "vgg")
    torch.save(lin, folder / "lin")
    network = RrdbNet(12, features=8, growth=4, blocks=1)
    torch.save({"params_ema": network.state_dict()}, folder / "rrdb")
    files = {
        "farl": ["farl"],
        "lama": ["lama"],
        "arcface-buffalo": ["arcface"],
        "lpips-vgg": ["vgg", "lin"],
        "real-esrgan-x2": ["rrdb"],
    }
    return {name: [(folder / file).read_bytes() for file in found] for name, found in files.items()}


@pytest.fixture
def pulled(published, monkeypatch, tmp_path):
    """The tiny parts, fetched from a stand-in server through the real catalogue entries (less the real hashes)."""
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "weights"))
    with serving(Hub()) as hub:
        monkeypatch.setenv("GSWAP_HUB", hub.base)
        monkeypatch.setenv("GSWAP_RELEASES", hub.base)
        for name, contents in published.items():
            spec = catalogue.spec(name)
            files = tuple(dataclasses.replace(item, sha256=None, bytes=None) for item in spec.files)
            monkeypatch.setitem(catalogue.CATALOGUE, name, dataclasses.replace(spec, files=files))
            for item, content in zip(files, contents, strict=True):
                hub.files[item.url.removeprefix(hub.base)] = content
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


def test_a_missing_part_is_one_sentence_before_any_work(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "none"))
    for choice, name in (
        ({"parser": "farl"}, "farl"),
        ({"parser": "segformer"}, "segformer"),
        ({"inpainter": "lama"}, "lama"),
        ({"identity": "arcface-antelopev2"}, "arcface-antelopev2"),
        ({"perceptual": "lpips-vgg"}, "lpips-vgg"),
        ({"upscaler": "real-esrgan-x4"}, "real-esrgan-x4"),
        ({"body": "smplx"}, "smplx"),
        ({"swapper": "diffusion"}, "arc2face"),
    ):
        job = quick(small, tmp_path, Parts(**choice))  # type: ignore[arg-type]
        with pytest.raises(WeightsError) as caught:
            run_job(job)
        verb = "import" if name == "smplx" else "pull"
        assert f"gswap weights {verb} {name}" in str(caught.value)
        assert catalogue.spec(name).licence in str(caught.value)
        assert not job.work.exists() and caught.value.exit_code == 78


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
