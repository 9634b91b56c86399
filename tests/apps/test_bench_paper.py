"""The benchmark of the paper's recipe runs on tiny networks."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers")

from gswap.apps.bench.paper import run
from gswap.apps.bench.paper_config import PaperBenchConfig
from gswap.apps.cli.main import run as main
from gswap.foundation.errors import UsageError


def test_it_times_the_three_stages():
    found = run(PaperBenchConfig(tiny=True, tune_steps=1, batches=1, fit_steps=1))
    assert "tiny" in found["machine"]
    for stage, unit, count in (("tune", "step", 802), ("generate", "frame", 500), ("fit", "step", 1500)):
        assert found[stage][f"seconds for {count} {unit}s"] == pytest.approx(
            count * found[stage][f"seconds per {unit}"]
        )
        assert found[stage][f"seconds per {unit}"] > 0


def test_the_whole_unet_can_be_timed_from_the_command_line(capsys):
    sizes = ["--tune-steps", "1", "--batches", "1", "--batch", "2", "--sampler-steps", "2", "--fit-steps", "1"]
    assert main(["bench", "paper", "--random-weights", "--tiny", "--method", "full", *sizes]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("tune", "generate", "fit", "the paper's (RTX 4090, 500 frames)"))


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="positive"):
        run(PaperBenchConfig(frames=0))
    with pytest.raises(UsageError, match="multiple of 64"):
        run(PaperBenchConfig(side=100))
    with pytest.raises(UsageError, match="nothing"):
        run(PaperBenchConfig(method="none"))
    with pytest.raises(UsageError, match="real weights"):
        run(PaperBenchConfig(random_weights=False))
