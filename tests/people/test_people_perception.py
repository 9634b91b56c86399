"""Synthetic people are only of use if detectors made for real ones work on them."""

import numpy as np
import pytest

from gswap.foundation import landmarks as lm
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene

pytestmark = pytest.mark.slow
YAWS = (0, 15, -30, 45)
LIMITS = {0: 3.5, 15: 4.0, 30: 5.0, 45: 7.0}
"""Median landmark error by yaw, per cent of the distance between the outer eye corners."""


@pytest.mark.filterwarnings("ignore")
def test_detectors_find_everybody():
    from gswap.perception.adapters.mediapipe import FaceDetector, FaceMesh, MediaPipeMatte

    inner = np.setdiff1d(np.arange(468), lm.OVAL)
    errors: dict[int, list[float]] = {abs(y): [] for y in YAWS}
    overlap = []
    with FaceDetector(0.3) as detect, FaceMesh(video=False) as mesh, MediaPipeMatte() as matte:
        for seed in range(30, 40):
            person, scene = make_person(seed), make_scene(seed)
            for yaw in YAWS:
                frame = render(person, Pose(yaw=yaw, gaze=(-0.5 * yaw, 0)), scene, 256)
                faces = detect(frame.rgb)
                assert faces, f"person {seed} at {yaw} degrees"
                found = mesh(frame.rgb, (faces[0].x, faces[0].y), 2.2 * faces[0].size, 384)
                assert found is not None, f"person {seed} at {yaw} degrees"
                marks = frame.landmarks_3d
                eyes = np.linalg.norm(marks[33] - marks[263]) * frame.camera.focal / marks[:468, 2].mean()
                error = np.linalg.norm(found[inner, :2] - frame.landmarks[inner], axis=1).mean() / eyes
                errors[abs(yaw)].append(100 * error)
                seen, true = matte(frame.rgb) > 127, frame.masks.person > 127
                overlap.append((seen & true).sum() / (seen | true).sum())
    for yaw, limit in LIMITS.items():
        assert np.median(errors[yaw]) < limit, (yaw, errors[yaw])
    assert np.median(overlap) > 0.97 and min(overlap) > 0.88
