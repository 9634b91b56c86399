"""A whole swap of two synthetic people, held against the true swap and against its own input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from gswap.apps.cli.main import run as command
from gswap.foundation.errors import ConsentError, InputError, OutputError
from gswap.foundation.store import read_face_track, read_json
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.perception.clip import landmarks_near
from gswap.perception.config import PerceptionConfig
from gswap.perception.identity import embed
from gswap.pipeline.job import STEPS, run_job
from gswap.pipeline.steps import render, segment
from gswap.pipeline.workspace import STEP_NAMES


def frames_of(path):
    info = probe(path)
    with VideoReader(info) as reader:
        return info, list(reader.frames())


@pytest.fixture(scope="module")
def both(finished):
    job, _ = finished
    return frames_of(job.target), frames_of(job.out)


def audio_packets(path):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def test_the_steps_are_the_documented_ones():
    assert tuple(step.name for step in STEPS) == STEP_NAMES


def test_timing_size_and_sound_are_the_clips(finished, both):
    (target, _), (result, _) = both
    assert (result.frame_count, result.width, result.height) == (target.frame_count, target.width, target.height)
    seconds = [[p * i.time_base[0] / i.time_base[1] for p in i.pts] for i in (target, result)]
    assert np.allclose(*seconds, atol=1e-3)
    job, _ = finished
    assert audio_packets(job.out) == audio_packets(job.target) != []


def test_every_sample_outside_the_edit_is_the_clips(finished, both):
    _, done = finished
    (target, before), (_, after) = both
    window = segment.load_target(done.folders, target.frame_count).window
    changed = 0
    for t, (a, b) in enumerate(zip(before, after, strict=True)):
        result = render.load_render(done.folders, target.frame_count, t)
        assert result is not None
        edited = np.zeros((target.height, target.width), bool)
        box = np.s_[window.y[t] : window.y[t] + window.height, window.x[t] : window.x[t] + window.width]
        edited[box] = result.edited > 0
        assert np.array_equal(a.planes[0][~edited], b.planes[0][~edited])
        rows, columns = a.planes[1].shape
        outside = ~edited.reshape(rows, 2, columns, 2).any((1, 3))  # no luma of the chroma sample's is edited
        for k in (1, 2):
            assert np.array_equal(a.planes[k][outside], b.planes[k][outside])
        assert (~edited).mean() > 0.3
        changed += int((a.planes[0][edited] != b.planes[0][edited]).mean() > 0.5)
    assert changed == target.frame_count


def test_the_result_is_the_true_swap_rather_than_the_clip(small, both):
    (_, before), (_, after) = both
    chosen = range(0, len(after), 4)
    for t, frame in zip(chosen, small.inputs.truth(chosen), strict=True):
        inside = frame.masks.head > 200
        ours = np.abs(after[t].rgb.astype(float) - frame.rgb)[inside].mean()
        clip = np.abs(before[t].rgb.astype(float) - frame.rgb)[inside].mean()
        assert ours < 0.5 * clip, (t, ours, clip)


def test_identity_pose_and_mouth(small, finished, both):
    _job, done = finished
    (_, before), (_, after) = both
    faces = read_face_track(done.folders["perceive"] / "faces.safetensors")
    photos = read_face_track(done.folders["perceive"] / "photo_faces.safetensors").embedding
    hints = {t: faces.landmarks[t].astype(float) for t in range(0, len(after), 3)}
    found = landmarks_near([f.rgb for f in after], hints, PerceptionConfig())
    assert len(found) == len(hints)
    to_source, to_target = [], []
    for t, points in found.items():
        mine = embed(after[t].rgb, points)
        to_source.append(np.linalg.norm(photos - mine, axis=1).min())
        to_target.append(np.linalg.norm(embed(before[t].rgb, hints[t]) - mine))
    assert np.median(to_source) < 0.45
    assert np.median(to_source) < np.median(to_target) - 0.08
    eyes = np.array([points[[33, 263], :2].mean(0) - hints[t][[33, 263], :2].mean(0) for t, points in found.items()])
    width = np.linalg.norm(hints[0][33, :2] - hints[0][263, :2])
    assert np.abs(eyes - np.median(eyes, 0)).max() < 0.06 * width


def test_the_report_is_there_and_says_what_was_done(finished):
    _job, done = finished
    report = read_json(done.report.with_suffix(".json"))
    assert {row["step"] for row in report["steps"]} == set(STEP_NAMES)
    assert report["series"]["identity, source"]["summary"]["count"] > 3
    html = done.report.read_text()
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    assert done.sheet.stat().st_size > 10_000 and "mesh before and after" in html
    assert len(done.written) == 2 and done.written[1].exists()


def test_the_same_command_again_repeats_nothing(finished):
    job, _done = finished
    stamp = job.out.stat().st_mtime_ns
    again = run_job(job)
    assert all(t.reused for t in again.timings)
    assert job.out.stat().st_mtime_ns == stamp


def test_an_existing_output_of_something_else_is_kept(small, tmp_path):
    job = small.job(tmp_path)
    job.out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        run_job(job)
    assert job.out.read_bytes() == b"precious" and not job.work.exists()


def test_a_job_without_consent_is_refused_before_any_work(small, tmp_path):
    with pytest.raises(ConsentError):
        run_job(small.job(tmp_path, consent=tmp_path / "none.toml"))
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_bound_to_its_photos(small, finished, tmp_path):
    photo = next(iter(sorted(small.inputs.source.iterdir())))
    other = tmp_path / "other.jpg"
    other.write_bytes(photo.read_bytes() + b"\0")
    with pytest.raises(ConsentError, match="bound to other photos"):
        run_job(small.job(tmp_path, sources=(other,)))


def test_a_photo_without_a_face_is_named(small, finished, tmp_path):
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((200, 200, 3), 127, np.uint8))
    record = (small.consent.read_text()).split("photos = [")[0] + "photos = []\n"
    rest = small.consent.read_text().split("]\ntarget", 1)[1]
    path = tmp_path / "consent.toml"
    path.write_text(record + "target" + rest)
    with pytest.raises(InputError, match="found none") as refusal:
        run_job(small.job(tmp_path, sources=(grey,), consent=path))
    assert "grey.png" in str(refusal.value)
    assert not (tmp_path / "out.mkv").exists()


def digest(folder):
    """Hash of every artefact of a workspace, timings apart."""
    skipped = {"timing.json", "published.json", "holder.json", "lock", "report.json"}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in skipped)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def swap_arguments(job):
    return [
        *("swap", "--source", str(job.sources[0]), "--target", str(job.target), "-o", str(job.out)),
        *("--consent", str(job.consent), "--work", str(job.work), "--label", "off", "--no-watermark"),
        *("--fit.coarse-steps", "60", "--fit.fine-steps", "20"),
    ]


KILLS = ["segment:20:kill", "fit:45:kill"]
SLOW_KILLS = ["ingest:5:kill", "perceive:9:kill", "swap:7:kill", "retrack:3:kill", "render:6:kill", "deliver:8:kill"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [*KILLS, *(pytest.param(k, marks=pytest.mark.slow) for k in SLOW_KILLS)])
def test_killed_at_any_moment_it_continues_to_the_same_bytes(small, finished, tmp_path, fault):
    undisturbed, _ = finished
    job = dataclasses.replace(undisturbed, out=tmp_path / "out.mkv", work=tmp_path / "work")
    start = [sys.executable, "-m", "gswap.apps.cli.main", *swap_arguments(job)]
    killed = subprocess.run(start, env={**os.environ, "GSWAP_FAULT": fault}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not job.out.exists()
    subprocess.run(start, check=True, capture_output=True)
    assert digest(job.work) == digest(undisturbed.work)
    assert job.out.read_bytes() == undisturbed.out.read_bytes()


def test_status_and_purge(small, finished, tmp_path, capsys):
    job, _ = finished
    assert command(["status", str(job.work), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in lines] == list(STEP_NAMES) and all(line["done"] for line in lines)


def test_layers_rebuild_the_result(small, finished, tmp_path):
    undisturbed, _ = finished
    layers = tmp_path / "layers"
    job = dataclasses.replace(undisturbed, out=tmp_path / "out.mkv", layers=layers)
    done = run_job(job)
    assert [t.reused for t in done.timings] == [True] * 8 + [False]
    _, after = frames_of(job.out)
    for t in (0, len(after) - 1):
        head = cv2.imread(str(layers / "head" / f"{t:06d}.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]] / 65535
        plate = cv2.imread(str(layers / "plate" / f"{t:06d}.png"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535
        rebuilt = (head[..., :3] * head[..., 3:] + plate * (1 - head[..., 3:])) * 255
        error = np.abs(rebuilt - after[t].rgb)
        assert error.mean() < 1.0 and np.percentile(error, 99) < 8  # the video's chroma is subsampled
    before = {path: path.read_bytes() for path in layers.rglob("*.png")}
    shutil.rmtree(layers)
    again = run_job(dataclasses.replace(job, overwrite=True))
    assert [t.reused for t in again.timings] == [True] * 8 + [False]
    assert {path: path.read_bytes() for path in layers.rglob("*.png")} == before
