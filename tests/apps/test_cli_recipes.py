"""A recipe gives the defaults; every option overrides it."""

from __future__ import annotations

import dataclasses

import pytest

from gswap.apps.cli import main
from gswap.apps.cli.jobs import Swap
from gswap.pipeline.config import Parts, Settings
from gswap.pipeline.recipes import recipe_defaults

REQUIRED = ["swap", "--source", "a", "--target", "b.mp4", "--out", "c.mp4", "--consent", "d.toml"]


@pytest.fixture
def parse(monkeypatch):
    """Arguments -> the job that ``gswap swap`` would run."""

    def jobs_of(*options: str):
        seen = []
        monkeypatch.setattr(Swap, "run", lambda self, terminal: seen.append(self.job()) or 0)
        assert main.run([*REQUIRED, *options]) == 0
        return seen[0]

    return jobs_of


def test_the_default_needs_nothing(parse):
    job = parse()
    assert job.recipe == "embedded" and job.parts == Parts() and job.settings == Settings()
    assert job.parts.weights() == ()


def test_a_recipe_sets_parts_and_settings(parse):
    job = parse("--recipe", "paper")
    expected = recipe_defaults("paper")
    assert job.parts == expected.parts and job.settings == expected.settings
    assert job.parts.swapper == "diffusion" and job.settings.retrack.method == "full"
    assert {"arc2face", "farl", "lama", "lpips-vgg"} < set(job.parts.weights())


def test_options_override_the_recipe(parse):
    job = parse("--recipe", "paper", "--parser", "embedded", "--diffusion.sample.steps", "7", "--fit.temporal", "none")
    assert job.parts == dataclasses.replace(recipe_defaults("paper").parts, parser="embedded")
    assert job.settings.diffusion.sample.steps == 7
    assert job.settings.fit.temporal == "none"
    assert job.settings.fit.weight_perceptual == 1.0


def test_parts_can_be_mixed_without_a_recipe(parse):
    job = parse("--parser", "segformer")
    assert job.parts == Parts(parser="segformer") and job.settings == Settings()


def test_the_quality_keeps_what_the_recipe_says_about_the_fit(parse):
    job = parse("--recipe", "paper", "--quality", "preview")
    assert job.settings.fit.temporal == "mlp" and job.settings.fit.coarse_steps == 270
    assert parse("--quality", "best").settings.fit.fine_steps == 2700


def test_an_option_of_the_fit_keeps_the_quality(parse):
    fit = parse("--quality", "best", "--fit.hold-out", "5", "--fit.coarse-steps", "100").settings.fit
    assert (fit.hold_out, fit.coarse_steps, fit.fine_steps) == (5, 100, 2700)


def test_the_literal_recipe_takes_the_formulas_as_printed():
    settings = recipe_defaults("paper-literal").settings
    assert settings.fit.paper_literal and settings.diffusion.background == "generated"
    assert settings.diffusion.adapt.method == "full"
