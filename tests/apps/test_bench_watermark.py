"""The watermark benchmark on two small clips: what it renders, cuts, prints, and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gswap.apps.bench import watermark
from gswap.apps.bench import watermark_clips as footage
from gswap.apps.bench.watermark_config import WatermarkBenchConfig
from gswap.apps.cli.main import run
from gswap.media.write import encode_rgb
from gswap.pipeline.observer import StepObserver


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Two textured clips where the benchmark would render people."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    names = [footage.clip_path(folder, i) for i in range(2)]
    for path in names:
        backdrop = np.kron(rng.integers(60, 200, (45, 60, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        encode_rgb(path, (np.roll(backdrop, t, 1) for t in range(20)), (footage.FPS, 1))
    return folder


def test_what_survives_and_that_nobody_is_accused(cache):
    options = WatermarkBenchConfig(synthetic=1, unmarked=2, seconds=4, cache=cache)
    found = watermark.run(options, StepObserver())
    assert found.synthetic["none"].right == 1 and not found.files
    assert found.unmarked.views == 2 and not found.unmarked.accused
    assert found.lowest_psnr >= 46
    printed = watermark.table(found)
    assert "half + crf 28" in printed and "found in 0 of 2" in printed and "at 1920x1080" in printed


def test_files_on_the_command_line(cache, capsys):
    own = str(footage.clip_path(cache, 1))
    assert run(["bench", "watermark", "--json", "--synthetic", "0", "--unmarked", "0", "--clips", own]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["files"]["none"]["clips"] == 1 and found["synthetic"] == {}


def test_views_differ_and_repeat(cache):
    paths = [footage.clip_path(cache, i) for i in range(2)]
    views = list(footage.unmarked_views(paths, 4))
    assert len({view.frames[0].tobytes() for view in views}) == 4
    assert [v.name.split()[0] for v in views] == [paths[0].stem] * 2 + [paths[1].stem] * 2
    again = list(footage.unmarked_views(paths, 4))
    assert all((a.frames[-1] == b.frames[-1]).all() for a, b in zip(views, again, strict=True))


@pytest.mark.parametrize("options", [["--synthetic", "-1"], ["--seconds", "0"], ["--synthetic", "0"]])
def test_impossible_counts_are_usage_errors(options, capsys):
    assert run(["bench", "watermark", *options]) == 2
    assert "Expected" in (said := capsys.readouterr().err) or "there are none" in said
