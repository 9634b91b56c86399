"""A recipe is a name for parts and settings, on the command line and in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gswap.pipeline.config import Job, Parts, Settings
from gswap.pipeline.recipes import recipe_defaults, recipe_job

FILES: dict[str, Any] = {
    "sources": (Path("photos"),),
    "target": Path("clip.mp4"),
    "out": Path("out.mp4"),
    "consent": Path("consent.toml"),
    "work": Path("work"),
}


def test_embedded_is_what_a_job_is_anyway() -> None:
    assert recipe_job("embedded", **FILES) == Job(**FILES)


def test_a_recipe_brings_its_parts_and_settings() -> None:
    job = recipe_job("paper", **FILES)
    assert job.recipe == "paper"
    assert job.parts == recipe_defaults("paper").parts != Parts()
    assert job.settings == recipe_defaults("paper").settings != Settings()


def test_parts_that_are_given_replace_the_recipes() -> None:
    assert recipe_job("paper", parts=Parts(), **FILES).parts == Parts()


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        recipe_job("paper", nonsense=1, **FILES)
