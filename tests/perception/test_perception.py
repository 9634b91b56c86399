"""Perception on synthetic people: who is found, who is chosen, what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import eye_distance, head_angles
from gswap.foundation.types import Shot
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.perception.adapters.mediapipe import Detection
from gswap.perception.clip import (
    IDENTITY_SPACING,
    Person,
    _bridge,
    _continued,
    _Tracklet,
    _with_hidden,
    choose_person,
    find_people,
    follow,
    landmarks_near,
)
from gswap.perception.config import PerceptionConfig
from gswap.perception.identity import embed, face_chip
from gswap.perception.photos import perceive_photos, pick_photos
from gswap.perception.quality import sharpness

CFG = PerceptionConfig()
SIZE = 224


def clip_of(seed: int, frames: int = 6):
    person, scene = make_person(seed), make_scene(seed)
    motion = make_motion(seed, frames, 25.0, MotionConfig(yaw=12.0))
    return [render(person, pose, scene, SIZE) for pose in motion.poses]


@pytest.fixture(scope="module")
def one():
    return clip_of(205)


@pytest.fixture(scope="module")
def other():
    return clip_of(234)


def whole(images):
    return (Shot(0, len(images)),)


def track(images, **choice):
    shots = whole(images)
    people = find_people(lambda: images, len(images), shots, CFG)
    person = choose_person(people, CFG, **choice)
    size = images[0].shape[1::-1]
    return follow(lambda: images, person, size=size, shots=shots, duplicate=np.zeros(len(images), bool), cfg=CFG)


def test_landmarks_are_near_the_truth(one):
    faces = track([f.rgb for f in one])
    assert faces.valid.all() and not faces.bridged.any()
    for t, frame in enumerate(one):
        inner = [1, 33, 133, 263, 362, 61, 291, 13, 14, 4]
        error = np.linalg.norm(faces.landmarks[t][inner, :2] - frame.landmarks[inner, :2], axis=1).mean()
        assert error < 0.06 * eye_distance(frame.landmarks)
    assert np.isfinite(faces.embedding[:, 0]).any()


def test_the_same_frames_give_the_same_bytes(one):
    images = [f.rgb for f in one]
    a, b = track(images), track(images)
    assert np.array_equal(a.landmarks, b.landmarks, equal_nan=True)
    assert np.array_equal(a.embedding, b.embedding, equal_nan=True)


def test_two_people_must_be_chosen_between(one, other):
    images = [np.hstack([a.rgb, b.rgb]) for a, b in zip(one, other, strict=True)]
    people = find_people(lambda: images, len(images), whole(images), CFG)
    assert len(people) == 2
    with pytest.raises(InputError, match="found 2") as refusal:
        choose_person(people, CFG)
    assert "--person" in (refusal.value.hint or "")
    left = track(images, index=1 + int(np.nanmedian(people[0].boxes[:, 0]) > SIZE))
    assert (left.landmarks[:, :, 0].mean(1) < SIZE).all()
    portrait = perceive_photos([other[0].rgb], ["photo"], CFG)
    right = track(images, identity=portrait.embedding[0].astype(float))
    assert (right.landmarks[:, :, 0].mean(1) > SIZE).all()
    with pytest.raises(InputError, match="between 1 and 2"):
        choose_person(people, CFG, index=3)


def test_nobody_is_said_so():
    images = [np.full((SIZE, SIZE, 3), 90, np.uint8)] * 3
    with pytest.raises(InputError, match="found none"):
        track(images)


def hidden(frame):
    """The frame with the face under noise: lost to the detector, but plainly there."""
    image = frame.rgb.copy()
    (x0, y0), (x1, y1) = frame.landmarks[:468].min(0).astype(int), frame.landmarks[:468].max(0).astype(int)
    x0, y0, x1, y1 = x0 - 12, y0 - 30, x1 + 12, y1 + 12
    noise = np.random.default_rng(0).normal(0, 70, (y1 - y0, x1 - x0, 1))
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1].mean((0, 1)) + noise).clip(0, 255).astype(np.uint8)
    return image


def test_a_short_gap_is_bridged_and_a_long_one_is_not(one):
    images = [f.rgb for f in one]
    short = track([images[0], images[1], hidden(one[2]), images[3], images[4]])
    assert short.valid.all() and short.bridged.tolist() == [False, False, True, False, False]
    long = track([images[0], images[1], *[hidden(one[2])] * (CFG.max_bridge + 1), images[2]])
    assert long.valid.tolist() == [True, True, *[False] * (CFG.max_bridge + 1), True]


def test_identities_are_read_now_and_then_and_not_missed_with_a_frame(one):
    """The first frame shows no face although one is expected there: the second is read, and the one 15 later."""
    good = one[0].rgb
    images = [np.full_like(good, (200, 220, 60)), *[good] * (IDENTITY_SPACING + 2)]
    count, shots = len(images), whole(images)
    [person] = find_people(lambda: [good], 1, (Shot(0, 1),), CFG)
    person = Person(np.repeat(person.boxes, count, 0), None)
    read = []

    def counted(image, points):
        read.append(points)
        return np.ones(3)

    faces = follow(
        lambda: images,
        person,
        size=good.shape[1::-1],
        shots=shots,
        duplicate=np.zeros(count, bool),
        cfg=CFG,
        embed=counted,
    )
    assert not faces.valid[0]
    assert np.flatnonzero(np.isfinite(faces.embedding[:, 0])).tolist() == [1, 1 + IDENTITY_SPACING] and len(read) == 2


def test_no_face_is_imagined_in_an_insert(one):
    images = [f.rgb for f in one]
    images[2] = np.full_like(images[2], (200, 220, 60))
    faces = track(images)
    assert faces.valid.tolist() == [True, True, False, True, True, True]


def test_bridging_interpolates_linearly():
    values = np.array([[0.0], [np.nan], [np.nan], [3.0], [np.nan]])
    seen, bridged = np.isfinite(values[:, 0]), np.zeros(5, bool)
    _bridge(values, seen, bridged, 2)
    assert np.allclose(values[:4, 0], [0, 1, 2, 3]) and np.isnan(values[4, 0])
    assert bridged.tolist() == [False, True, True, False, False]


def test_photos_of_one_person_pass_and_are_described(one):
    faces = perceive_photos([one[0].rgb, one[3].rgb], ["a", "b"], CFG)
    assert faces.valid.all() and faces.sizes == ((SIZE, SIZE),) * 2
    assert np.linalg.norm(faces.embedding[0] - faces.embedding[1]) < 0.4


def test_photos_that_do_not_fit_are_named(one, other):
    with pytest.raises(InputError, match="found none") as refusal:
        perceive_photos([np.zeros((64, 64, 3), np.uint8)], ["black.png"], CFG)
    assert refusal.value.path == "black.png"
    with pytest.raises(InputError, match="found 2"):
        perceive_photos([np.hstack([one[0].rgb, other[0].rgb])], ["two.png"], CFG)
    with pytest.raises(InputError, match="blurred"):
        perceive_photos([cv2.GaussianBlur(one[0].rgb, (0, 0), 6)], ["blurred.png"], CFG)


def test_picked_frames_differ_and_blurred_ones_are_left_out(one):
    images = [one[0].rgb, one[0].rgb, cv2.GaussianBlur(one[1].rgb, (0, 0), 6), one[5].rgb]
    chosen = pick_photos(images, CFG)
    assert 2 not in chosen and not {0, 1} <= set(chosen)
    with pytest.raises(InputError):
        pick_photos([np.zeros((64, 64, 3), np.uint8)], CFG)


def test_landmarks_near_a_hint(one):
    images = [f.rgb for f in one]
    hints = {t: np.column_stack([one[t].landmarks, np.zeros(478)]) for t in (0, 4)}
    found = landmarks_near(images, hints, CFG)
    assert set(found) == {0, 4}
    blank = landmarks_near([np.zeros_like(images[0])], {0: hints[0]}, CFG)
    assert blank == {}


def test_focus_falls_with_blur(one):
    points = np.column_stack([one[0].landmarks, np.zeros(478)])
    values = [sharpness(one[0].rgb if s == 0 else cv2.GaussianBlur(one[0].rgb, (0, 0), s), points) for s in (0, 1, 3)]
    assert values[0] > values[1] > values[2]


def test_head_angles_of_a_turned_face():
    points = np.zeros((478, 3))
    points[33], points[263] = (-1, 0, 0), (1, 0, 0)
    points[10], points[152] = (0, -1, 0), (0, 1, 0)
    assert np.allclose(head_angles(points), 0)
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert np.isclose(abs(head_angles(points @ turn.T)[0]), 20)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert np.isclose(head_angles(points @ roll.T)[2], 20)


def test_identity_tells_people_apart_and_ignores_the_images_size(one, other):
    def points(frame):
        return np.column_stack([frame.landmarks, np.zeros(478)])

    a, b = embed(one[0].rgb, points(one[0])), embed(one[4].rgb, points(one[4]))
    c = embed(other[0].rgb, points(other[0]))
    assert np.linalg.norm(a - b) < np.linalg.norm(a - c)
    double = cv2.resize(one[0].rgb, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    small, large = face_chip(one[0].rgb, points(one[0])), face_chip(double, points(one[0]) * 2)
    assert np.abs(small.astype(float) - large).mean() < 6


def test_faces_that_cross_keep_their_identity():
    """Two faces pass each other, the smaller one hidden for a while: each detection goes on with its own track."""
    tracklets = [_Tracklet([], []), _Tracklet([], [])]
    for t in range(20):
        near, far = Detection(100 + 10 * t, 100, 60, 0.9), Detection(300 - 10 * t, 102, 45, 0.8)
        found = [near] if 8 <= t <= 12 else [far, near]
        if t == 0:
            chosen = [tracklets[1], tracklets[0]]
        else:
            chosen = _continued(tracklets, found, t, 24)
        for face, tracklet in zip(found, chosen, strict=True):
            assert tracklet is (tracklets[0] if face.size == 60 else tracklets[1]), t
            tracklet.frames.append(t)
            tracklet.faces.append(face)


def test_a_hidden_person_is_not_looked_for():
    boxes = np.tile([100.0, 100.0, 50.0, 0.9], (12, 1))
    behind = boxes.copy()
    behind[4:8] = np.nan
    away = np.tile([400.0, 100.0, 50.0, 0.9], (12, 1))
    shots = (Shot(0, 12),)
    people = _with_hidden([Person(behind, None), Person(boxes, None)], shots, CFG)
    assert np.flatnonzero(people[0].hidden).tolist() == [4, 5, 6, 7] and not people[1].hidden.any()
    people = _with_hidden([Person(behind, None), Person(away, None)], shots, CFG)
    assert not people[0].hidden.any(), "somebody elsewhere hides nobody"
