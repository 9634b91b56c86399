"""What ``gswap bench splat`` reports."""

import time

import pytest

from gswap.apps.bench import splat
from gswap.foundation.errors import UsageError

pytest.importorskip("gswap.native._native", reason="the native kernels are not built")


def test_the_fastest_run_and_the_median_are_told_apart():
    pauses = iter([0.0, 0.0, 0.0, 0.03, 0.0, 0.03])  # of each pair the second is timed
    found = splat.measure({"some": lambda: time.sleep(next(pauses))}, 3)["some"]
    assert found["fastest_wall"] < 20 < found["wall"]
    assert found["cpu"] < 20


def test_a_small_scene_reports_every_number_of_threads():
    cfg = splat.SplatBenchConfig(size=32, gaussians=100, repeats=1, threads=(1, 2), networks=False)
    report = splat.run(cfg)
    assert set(report["stages"]) == {"1 threads", "2 threads"}
    assert all(
        set(stages) == {"project", "list", "composite", "backward", "reduce"} for stages in report["stages"].values()
    )
    assert {name for name in report["ratios"] if "threads" in name} == {
        "forward: 1 / 2 threads (fastest wall)",
        "forward+backward: 1 / 2 threads (fastest wall)",
    }
    assert report["ratios"]["forward+backward: torch / native"] > 1


def test_nothing_to_time_is_refused():
    with pytest.raises(UsageError, match="positive"):
        splat.run(splat.SplatBenchConfig(repeats=0))
