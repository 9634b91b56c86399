"""Fit once, use again; and I_gen from another tool: both from the command line, on files."""

from __future__ import annotations

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from gswap.apps.cli.main import run as command
from gswap.body.models import load_body
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import LIPS
from gswap.foundation.store import read_body_track, read_face_track, read_json, write_body_track
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.pipeline import orbit
from gswap.pipeline.job import run_job
from gswap.pipeline.steps.fit import PORTRAIT
from gswap.pipeline.steps.retrack import DRIVE
from gswap.portrait.io import load_portrait

START = 0.28
"""Seconds into the clip at which the other clip of the same person begins."""


def pictures(path):
    with VideoReader(probe(path)) as reader:
        return [frame.rgb.astype(float) for frame in reader.frames()]


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    """The finished job in a workspace of its own, and its output beside it."""
    job, _ = finished
    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(job.work, folder / "work")
    return dataclasses.replace(job, work=folder / "work", out=folder / "out.mkv")


def arguments(job, *more):
    return [
        *("swap", "--source", str(job.sources[0]), "--target", str(job.target), "-o", str(job.out)),
        *("--consent", str(job.consent), "--work", str(job.work), "--label", "off", "--no-watermark", *more),
    ]


def test_the_surface_goes_where_the_swapper_put_the_landmarks(finished):
    _, done = finished
    drive = read_body_track(done.folders["retrack"] / "drive.safetensors")
    placed = read_face_track(done.folders["swap"] / "placed.safetensors")
    model, frames, lips = load_body("anny"), np.flatnonzero(drive.valid & placed.valid), list(LIPS)
    rest = model.rest(drive.shape)

    def off(track):
        found = []
        for t in frames:
            vertices = model.pose(track, rest, int(t)).vertices[model.landmark_triangles[lips]]
            points = (vertices * model.landmark_barycentric[lips, :, None]).sum(1)
            seen = points[:, :2] / points[:, 2:] * track.focal[t] + track.sizes[t] / 2
            found.append(seen - placed.landmarks[t, lips, :2])
        return np.abs(found - np.median(found, axis=0)).mean()

    assert off(drive) < 0.6 * off(dataclasses.replace(drive, moves=None))


def test_the_drive_turns_the_head_as_the_swapper_did_on_the_same_torso(finished):
    _, done = finished
    own, heads, drive = (
        read_body_track(done.folders[step] / f"{name}.safetensors")
        for step, name in (("track", "body"), ("swap", "heads"), ("retrack", "drive"))
    )
    frames = np.flatnonzero(drive.valid)
    turned, straight, driven = (rotvec_to_matrix(track.rotation[frames]) for track in (heads, own, drive))
    assert np.abs(turned - straight).max() > 1e-4  # calibration turned it
    bias = np.swapaxes(turned, 1, 2) @ driven
    np.testing.assert_allclose(bias, np.broadcast_to(bias[:1], bias.shape), atol=1e-5)
    torsos = [
        rotvec_to_matrix(track.rotation[frames]) @ np.swapaxes(rotvec_to_matrix(track.neck[frames]), 1, 2)
        for track in (own, heads)
    ]
    np.testing.assert_allclose(torsos[1], torsos[0], atol=1e-5)


def test_a_portrait_drives_another_clip_of_the_person(small, finished, tmp_path):
    job, done = finished
    portrait = done.folders["fit"] / "portrait.safetensors"
    other = dataclasses.replace(job, out=tmp_path / "other.mkv", work=tmp_path / "work")
    assert command(arguments(other, "--portrait", str(portrait), "--start", str(START))) == 0
    clip, first, driven = pictures(job.target), pictures(job.out), pictures(other.out)
    skipped = len(clip) - len(driven)
    assert 0 < skipped < len(clip)
    for t, truth in zip(range(len(driven)), small.inputs.truth(range(skipped, len(clip))), strict=True):
        inside = truth.masks.head > 200
        off = np.abs(driven[t] - first[t + skipped])[inside].mean()
        assert off < 0.5 * np.abs(clip[t + skipped] - first[t + skipped])[inside].mean(), t
    fits = [p for p in (other.work / "fit").iterdir() if p.is_dir()]
    assert not list(fits[0].glob("checkpoint*"))  # nothing was fitted


def test_a_portrait_is_refined_on_the_clip(finished, copied, tmp_path):
    _, first = finished
    portrait = first.folders["fit"] / "portrait.safetensors"
    settings = dataclasses.replace(
        copied.settings, fit=dataclasses.replace(copied.settings.fit, coarse_steps=4, fine_steps=8)
    )
    job = dataclasses.replace(copied, portrait=portrait, refine=True, settings=settings, out=tmp_path / "out.mkv")
    done = run_job(job)
    losses = [
        [
            json.loads(line)["reconstruction"]
            for line in (result.folders["fit"] / "losses.jsonl").read_text().splitlines()
        ]
        for result in (first, done)
    ]
    assert len(losses[1]) == 12
    assert losses[1][0] < 0.5 * losses[0][0]  # it goes on, it does not begin anew


def test_a_refinement_needs_a_portrait(copied, tmp_path):
    with pytest.raises(UsageError, match="portrait to refine"):
        run_job(dataclasses.replace(copied, refine=True, out=tmp_path / "out.mkv"))


def test_the_head_alone_is_shown_from_other_sides(finished, tmp_path, capsys):
    job, _ = finished
    out = tmp_path / "orbit.mp4"
    assert command(["orbit", str(job.work), "-o", str(out), "--size", "96", "--json"]) == 0
    result = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    assert result["event"] == "result" and 0 <= result["holes"] < 5 and 0 <= result["floaters"] < 10
    shown = pictures(out)
    assert len(shown) > 90 and shown[0].shape == (96, 96, 3)
    assert np.abs(shown[0] - shown[15]).mean() > 3  # the head has turned


def test_the_head_is_shown_with_the_track_of_its_own_fit(finished, tmp_path):
    """A job that was stopped before its fit leaves a newer track behind, of another clip or of another head."""
    _, done = finished
    portrait = load_portrait(done.folders["fit"] / PORTRAIT, load_body("anny"))
    own = done.folders["retrack"]
    other = tmp_path / "another job"
    shutil.copytree(own, other)
    track = read_body_track(own / DRIVE)
    write_body_track(other / DRIVE, dataclasses.replace(track, translation=track.translation + 1))
    found = orbit._its_track(portrait, [own, other])
    assert found is not None and np.array_equal(found.translation, track.translation)
    assert orbit._its_track(portrait, [other]) is None


def test_swapped_frames_of_another_tool_go_through_the_rest(small, copied, tmp_path):
    folder = tmp_path / "generated"
    folder.mkdir()
    clip = pictures(copied.target)
    truths = list(small.inputs.truth(range(len(clip))))
    for t, truth in enumerate(truths):
        cv2.imwrite(str(folder / f"{t:06d}.png"), truth.rgb[..., ::-1])
    job = dataclasses.replace(copied, generated=folder, out=tmp_path / "out.mkv")
    done = run_job(job)
    reused = {timing.step: timing.reused for timing in done.timings}
    assert reused["segment"] and not reused["swap"]
    report = read_json(done.report.with_suffix(".json"))
    assert report["series"]["identity, source"]["summary"]["mean"] < 0.45
    for t, (ours, truth) in enumerate(zip(pictures(job.out), truths, strict=True)):
        inside = truth.masks.head > 200
        error = np.abs(ours - truth.rgb)[inside].mean()
        assert error < 0.35 * np.abs(clip[t] - truth.rgb)[inside].mean(), t
