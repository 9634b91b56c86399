"""What cannot work is refused before any work, by the kind of error that the exit code tells."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gswap.foundation.errors import MissingInputError, OutputError, StorageError, UsageError
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.preflight import check_disk, check_options, preflight


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose clip is there, and no clip."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not looked into by the checks that are tested here")
    return Job((tmp_path / "photos",), clip, tmp_path / "out.mp4", tmp_path / "consent.toml", tmp_path / "work")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": Path("nowhere.mp4")}, MissingInputError, "target video"),
        ({"masks": Path("nowhere")}, MissingInputError, "--masks"),
        ({"generated": Path("nowhere")}, MissingInputError, "--generated"),
        ({"portrait": Path("nowhere.safetensors")}, MissingInputError, "portrait"),
        ({"refine": True}, UsageError, "portrait to refine"),
        ({"out": Path("out")}, OutputError, "found a folder"),
        ({"timestamp_url": "ftp://example.org"}, UsageError, "ftp://example.org"),
        ({}, MissingInputError, "photos"),
    ],
)
def test_the_first_thing_that_is_not_right_is_named(
    job: Job, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        preflight(dataclasses.replace(job, **changes))
    assert not job.work.exists()


def test_settings_that_a_job_sets_itself_are_not_ignored(job: Job) -> None:
    check_options(job)
    usual = Settings()
    for settings, option in (
        (dataclasses.replace(usual, fit=dataclasses.replace(usual.fit, seed=3)), "--seed 3"),
        (dataclasses.replace(usual, swap=dataclasses.replace(usual.swap, mouth="source")), "--mouth source"),
    ):
        with pytest.raises(UsageError, match=option):
            preflight(dataclasses.replace(job, settings=settings))


def test_a_disk_that_is_too_small_is_told_how_much_is_missing(tmp_path: Path) -> None:
    check_disk(tmp_path / "not" / "yet" / "made", 1 << 20)
    with pytest.raises(StorageError, match="MB of free disk space"):
        check_disk(tmp_path, 1 << 60)
