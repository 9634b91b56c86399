"""`gswap check` on clips that are long, or that show no face after all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gswap.foundation.store import read_face_track
from gswap.media.write import encode_rgb
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
