"""`gswap check` on clips that are long, or that show no face after all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gswap.foundation.landmarks import CHIN
from gswap.foundation.store import read_face_track
from gswap.foundation.types import FaceTrack
from gswap.media.write import encode_rgb
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.pipeline import check
from gswap.pipeline.observer import StepObserver


@pytest.mark.parametrize("length", [1, 59, 61, 119, 130])
def test_few_frames_are_held_and_a_face_without_features_is_a_problem(finished, tmp_path, monkeypatch, length):
    done, result = finished
    track = read_face_track(result.folders["perceive"] / "faces.safetensors")
    held = []

    def found(frames, count, *_):
        held.append(len(frames()))
        assert count == len(frames())
        return []

    def nobody(*_, **__):
        return dataclasses.replace(track, valid=np.zeros(len(track), bool))

    monkeypatch.setattr(check, "find_people", found)
    monkeypatch.setattr(check, "choose_person", lambda *_, **__: None)
    monkeypatch.setattr(check, "follow", nobody)
    clip = tmp_path / "clip.mp4"
    encode_rgb(clip, (np.full((16, 16, 3), t, np.uint8) for t in range(length)), (25, 1))
    report = check.check_input(done.sources[0], clip, None, StepObserver())
    assert not report.fit and len(report.problems) == 1 and "features" in report.problems[0]
    assert 0 < held[0] <= check.PROBE_FRAMES


@pytest.mark.parametrize(
    ("style", "seed", "ends_at_the_chin", "longer", "cut"),
    [("long", 311, True, 0, 1), ("long", 311, True, 256, 0), ("bob", 241, False, 0, 0)],
)
def test_photos_that_cut_the_hair_are_counted(style, seed, ends_at_the_chin, longer, cut):
    """Hair that hangs down to a border far below the head is followed no further than to there."""
    motion, scene = make_motion(seed, 1, config=MotionConfig(yaw=5)), make_scene(seed, head_fraction=0.42)
    frame = render(make_person(seed, style=style), motion[0], scene, 256)
    rows = round(frame.landmarks[CHIN, 1]) + 4 if ends_at_the_chin else 256
    marks = np.column_stack([frame.landmarks, np.zeros(478)])[None]
    one, nothing = np.ones(1, bool), np.zeros(1, bool)
    faces = FaceTrack(
        marks, one, np.ones(1), nothing, nothing, np.zeros((1, 2, 3)), np.zeros((1, 128)), np.zeros(1), (256, rows)
    )
    photo = np.pad(frame.rgb[:rows], ((0, longer), (0, 0), (0, 0)), mode="edge")
    assert check._cut_hair([photo], faces) == cut
