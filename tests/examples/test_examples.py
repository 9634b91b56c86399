"""The examples run: what they show is true, on a small scale."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_synthetic_person_is_where_its_mask_says(tmp_path: Path) -> None:
    frame = load("02_synthetic_person").main(tmp_path, size=128)
    with Image.open(tmp_path / "person.png") as picture:
        plain, marked = np.split(np.asarray(picture, float), 2, axis=1)
    shown = ~(marked == (0, 255, 0)).all(-1)  # all but the landmarks
    expected = np.floor((plain[..., 0] + frame.masks.head * (60 / 255)).clip(0, 255))
    assert np.abs(marked[..., 0] - expected)[shown].max() <= 1 and plain.shape == (128, 128, 3)
    outside = frame.masks.person == 0
    assert np.array_equal(frame.rgb[outside], frame.plate[outside])


def test_the_track_explains_the_landmarks(tmp_path: Path) -> None:
    assert load("03_track_a_face").main(tmp_path, yaws=(-10, 0, 10)) < 0.015


def test_gaussians_learn_a_picture(tmp_path: Path) -> None:
    losses = load("04_splat_an_image").main(tmp_path, count=800, steps=60, side=64)
    assert losses[-1] < 0.2 * losses[0]


def test_a_key_service_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSWAP_CONFIG_DIR", str(tmp_path / "config"))
    report = load("06_sign_with_a_key_service").main(tmp_path)
    assert report.manifest.state == "valid" and report.manifest.signer == "gswap local signer"


@pytest.mark.slow
def test_a_job_and_its_novel_views(tmp_path: Path) -> None:
    from gswap.people.clips import DemoConfig

    result = load("01_swap").main(tmp_path, DemoConfig(size=160, frames=8, photos=2, photo_size=256))
    assert result.out.exists() and result.report.exists()
    load("05_novel_views").main(tmp_path / "work", tmp_path / "views.png", yaws=(-10, 10))
    with Image.open(tmp_path / "views.png") as picture:
        assert picture.size == (512, 256)
