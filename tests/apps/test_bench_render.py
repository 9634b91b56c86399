"""The rendering benchmark on a tiny portrait: what it reports, and what it refuses."""

from __future__ import annotations

import json

import pytest

from gswap.apps.bench import render
from gswap.apps.bench.render_config import RenderBenchConfig
from gswap.apps.cli.main import run
from gswap.foundation.errors import InputError, UsageError

pytest.importorskip("gswap.native._native", reason="the native kernels are not built")

TINY = ("--size", "64", "--texels", "24", "--frames", "8", "--repeats", "1", "--threads", "1", "--steps", "2")


def test_frames_a_second_and_where_the_time_goes(capsys):
    assert run(["bench", "render", "--json", *TINY]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    (portrait,) = found["portraits"].values()
    timed = portrait["1 threads"]
    milliseconds = timed["milliseconds"]
    assert timed["frames_a_second"] == pytest.approx(1e3 / milliseconds["wall"])
    assert 0 < portrait["shown"] <= portrait["gaussians"] and 0 < portrait["covered"] < 1
    assert all(milliseconds[part] > 0 for part in render.PARTS)
    assert sum(milliseconds[part] for part in render.PARTS) < 2 * milliseconds["wall"]
    assert set(timed["networks_milliseconds_of_all_threads"]) == {"encoder", "fusion", "rerenderer"}


def test_impossible_requests_are_refused(tmp_path):
    with pytest.raises(UsageError, match="positive"):
        render.run(RenderBenchConfig(frames=0), print)
    with pytest.raises(UsageError, match="workspace"):
        render.run(RenderBenchConfig(portrait=tmp_path / "p.safetensors"), print)
    with pytest.raises(InputError, match="workspace of gswap"):
        render.run(RenderBenchConfig(work=tmp_path), print)
