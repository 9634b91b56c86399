"""What cannot work is refused before any work, by the kind of error that the exit code tells."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gswap.foundation.errors import InputError, MissingInputError, OutputError, StorageError, UsageError
from gswap.foundation.store import encode_png
from gswap.media.probe import probe
from gswap.media.write import encode_rgb
from gswap.output.layers import LayerWriter
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.preflight import (
    check_disk,
    check_given,
    check_layers,
    check_layers_are_ours,
    check_options,
    preflight,
)


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
        ({"out": Path("out")}, OutputError, "found no ending"),
        ({"out": Path("out.mp4.bak")}, OutputError, r"found '\.bak'"),
        ({"out": Path("a" * 230 + ".mp4")}, OutputError, "at most 220 bytes"),
        ({"compare": Path("out.txt")}, OutputError, r"found '\.txt'"),
        ({"out": Path("a.mp4"), "compare": Path("b") / ".." / "a.mp4"}, UsageError, "another file for --compare"),
        ({"threads": 0}, UsageError, "--threads"),
        ({"seed": -1}, UsageError, "--seed"),
        ({"person": "nobody.jpg"}, UsageError, "nobody.jpg"),
        ({"person": "²"}, UsageError, "²"),
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


def test_every_no_steps_is_refused_before_the_work(job: Job) -> None:
    usual = Settings()
    adapt = dataclasses.replace(usual.diffusion.adapt, checkpoint_every=0)
    for settings, option in (
        (dataclasses.replace(usual, fit=dataclasses.replace(usual.fit, checkpoint_every=0)), "fit.checkpoint-every"),
        (dataclasses.replace(usual, fit=dataclasses.replace(usual.fit, preview_every=0)), "fit.preview-every"),
        (
            dataclasses.replace(usual, diffusion=dataclasses.replace(usual.diffusion, adapt=adapt)),
            "diffusion.adapt.checkpoint-every",
        ),
    ):
        with pytest.raises(UsageError, match=f"Expected --{option} of at least 1, found 0"):
            check_options(dataclasses.replace(job, settings=settings))


def test_a_disk_that_is_too_small_is_told_how_much_is_missing(tmp_path: Path) -> None:
    check_disk(tmp_path / "not" / "yet" / "made", 1 << 20)
    with pytest.raises(StorageError, match="MB of free disk space"):
        check_disk(tmp_path, 1 << 60)


def test_what_the_user_gives_is_looked_at_before_any_work(job: Job, tmp_path: Path) -> None:
    encode_rgb(tmp_path / "clip.mp4", [np.full((32, 32, 3), 20 * t, np.uint8) for t in range(6)], (25, 1))
    info = probe(job.target)
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(MissingInputError, match="named by frame number"):
        check_given(dataclasses.replace(job, generated=folder), info, 0, 6)
    for t in range(6):
        (folder / f"{t}.png").write_bytes(encode_png(np.zeros((32, 32), np.uint8)))
    masks, generated = dataclasses.replace(job, masks=folder), dataclasses.replace(job, generated=folder)
    for whole in (masks, generated):
        check_given(whole, info, 0, 6)
    with pytest.raises(InputError, match="Expected 3 pictures"):
        check_given(masks, info, 2, 5)
    check_given(generated, info, 0, 4)
    with pytest.raises(InputError, match=r"numbered 0 to 2, .* found number 5"):
        check_given(generated, info, 2, 5)
    (tmp_path / "portrait.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match="safetensors"):
        check_given(dataclasses.replace(job, portrait=tmp_path / "portrait.safetensors"), info, 0, 6)


def test_layers_get_a_folder_of_their_own(job: Job, tmp_path: Path) -> None:
    job.sources[0].mkdir()
    (job.sources[0] / "a.png").write_bytes(b"not looked into")
    layers = tmp_path / "layers"
    job = dataclasses.replace(job, layers=layers / "not yet made")
    check_layers(job)
    for change in ("work", "out", "compare", "masks", "generated"):
        with pytest.raises(UsageError, match="folder of its own"):
            check_layers(dataclasses.replace(job, layers=layers, **{change: layers / "head"}))
    with pytest.raises(UsageError, match="folder of its own"):
        check_layers(dataclasses.replace(job, layers=tmp_path))
    layers.write_bytes(b"")
    with pytest.raises(OutputError, match="found a file"):
        check_layers(job)
    layers.unlink()
    job = dataclasses.replace(job, layers=layers)
    LayerWriter(layers, 1, (32, 32), "one job")
    check_layers(job)
    check_layers_are_ours(job, "one job", replace=False)
    check_layers_are_ours(job, "another", replace=True)
    with pytest.raises(OutputError, match="layers of another job"):
        check_layers_are_ours(job, "another", replace=False)
    (layers / "notes.doc").write_bytes(b"")
    with pytest.raises(OutputError, match=r"found other files \(notes\.doc\)"):
        check_layers(job)
