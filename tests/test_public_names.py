"""The public names of the package: each loads, and importing the package loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gswap

HEAVY = ("torch", "cv2", "mediapipe", "scipy", "av", "dlib")


@pytest.mark.parametrize("name", gswap.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(gswap, name) is not None
    assert name in dir(gswap)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        gswap.nonsense  # noqa: B018


@pytest.mark.parametrize("module", ["gswap", "gswap.apps.cli.main"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*(m for m in {HEAVY} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_public_names_are_the_objects_of_their_modules() -> None:
    from gswap.pipeline.job import run_job

    assert gswap.run_job is run_job
