"""Landmarks that are read several times: nearer to each other, as near to the truth, never of something else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.foundation.landmarks import eye_distance, lid_opening
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.perception.clip import landmarks_near
from gswap.perception.config import PerceptionConfig
from gswap.perception.refine import FEW, LOOKS, MEASURING, look_often, refine_landmarks, reliability

CFG = PerceptionConfig()


@pytest.fixture(scope="module")
def frames():
    motion = make_motion(205, 4, 25.0, MotionConfig(yaw=12.0))
    return [render(make_person(205), pose, make_scene(205), 224) for pose in motion.poses]


def hints_of(frames):
    return {t: np.column_stack([frame.landmarks, np.zeros(478)]) for t, frame in enumerate(frames)}


def test_they_lie_where_the_face_is(frames):
    found = refine_landmarks([f.rgb for f in frames], hints_of(frames), CFG)
    assert set(found) == set(range(len(frames)))
    inner = [1, 33, 133, 263, 362, 61, 291, 13, 14, 4]
    for t, frame in enumerate(frames):
        error = np.linalg.norm(found[t][inner, :2] - frame.landmarks[inner, :2], axis=1).mean()
        assert error < 0.05 * eye_distance(frame.landmarks)


def test_lids_move_less_when_a_still_face_is_shifted(frames):
    image, hint = frames[0].rgb, hints_of(frames)[0]
    shifts = [(0.0, 0.0), (3.4, 1.7), (6.1, 5.2), (1.3, 7.6), (8.2, 2.9)]
    images = [
        cv2.warpAffine(image, np.array([[1, 0, x], [0, 1, y]], np.float64), image.shape[1::-1]) for x, y in shifts
    ]
    hints = {k: hint + np.array([x, y, 0.0]) for k, (x, y) in enumerate(shifts)}

    def unrest(found):
        points = np.stack([found[k] for k in hints])
        return (lid_opening(points, "right") + lid_opening(points, "left")).std()

    assert unrest(refine_landmarks(images, hints, CFG)) < unrest(landmarks_near(images, hints, CFG))


def test_the_same_images_give_the_same_bytes(frames):
    images, hints = [f.rgb for f in frames[:2]], {t: h for t, h in hints_of(frames).items() if t < 2}
    a, b = refine_landmarks(images, hints, CFG), refine_landmarks(images, hints, CFG)
    assert all(np.array_equal(a[t], b[t]) for t in hints)


def test_what_is_not_this_face_is_left_out(frames):
    image, hint = frames[0].rgb, hints_of(frames)[0]
    assert refine_landmarks([np.zeros_like(image)], {0: hint}, CFG) == {}
    away = hint + np.array([0.45 * np.ptp(hint[:468, 0]), 0.0, 0.0])
    found = refine_landmarks([image], {0: away}, CFG)
    assert 0 not in found


def test_every_look_is_told_and_their_mean_is_the_refined_face(frames):
    images, hints = [frames[0].rgb], {0: hints_of(frames)[0]}
    seen = look_often(images, hints, CFG, looks=LOOKS)
    assert seen[0].shape == (len(LOOKS), 478, 3)
    assert np.array_equal(seen[0].mean(0), refine_landmarks(images, hints, CFG, looks=LOOKS)[0])
    assert np.array_equal(seen[0][:FEW].mean(0), refine_landmarks(images, hints, CFG)[0])


def test_what_measures_looks_from_elsewhere_than_what_steers():
    assert not set(LOOKS) & set(MEASURING)


def test_reliability_follows_spearman_and_brown():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (4000, 1))
    for count in (1, 2, 4, 8):
        looks = truth + rng.normal(0, 0.7, (4000, count))
        single = 1 / (1 + 0.49)
        expected = count * single / (1 + (count - 1) * single)
        assert reliability(looks) == (1.0 if count == 1 else pytest.approx(expected, abs=0.03))
    assert reliability(rng.normal(0, 1, (4000, 8))) < 0.06
    assert reliability(np.zeros((5, 4))) == 1.0
