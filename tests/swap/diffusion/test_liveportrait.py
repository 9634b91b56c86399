"""LivePortrait's formulas, and its adapter on tiny networks of the same inputs and outputs."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_onnx import tiny_liveportrait

from gswap.foundation.errors import InputError
from gswap.swap.adapters.liveportrait import LivePortrait, Motion, Sight, crop_face, drive

ANGLES = (10.0, -20.0, 5.0)


def motion(seed: int, rotation=None) -> Motion:
    random = np.random.default_rng(seed)
    turn = np.eye(3) if rotation is None else rotation
    shapes = ((1, 1), (1, 3), (1, 21, 3), (1, 21, 3))
    return Motion(turn, *(random.uniform(0.5, 1.5, s) for s in shapes))


def rotation_of(pitch, yaw, roll):
    """The published head rotation: (Rz Ry Rx) transposed, degrees."""
    x, y, z = np.radians([pitch, yaw, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return (rz @ ry @ rx).T


@pytest.fixture
def folder(tmp_path):
    return tiny_liveportrait(tmp_path, ANGLES)


def test_keypoints_follow_the_frame_but_keep_the_photos_size():
    photo, frame = motion(0), motion(1, rotation_of(*ANGLES))
    shift = frame.translation * [1, 1, 0]
    expected = photo.scale * (photo.canonical @ frame.rotation + frame.expression) + shift
    assert np.allclose(drive(photo, frame), expected)
    assert np.allclose(photo.keypoints(), photo.scale * (photo.canonical + photo.expression) + photo.translation)


def test_the_crop_is_2_3_faces_and_raised():
    points = np.zeros((478, 2))
    points[0], points[1] = (100, 200), (200, 320)
    points[2:] = (150, 260)
    framing = crop_face(points)
    assert framing.side == pytest.approx(2.3 * 120)
    assert (framing.x, framing.y) == pytest.approx((150, 260 - 0.125 * 2.3 * 120))


def test_the_networks_are_fed_as_published(folder):
    image = np.random.default_rng(2).integers(0, 200, (300, 300, 3), dtype=np.uint8)
    points = np.random.default_rng(3).uniform(100, 200, (478, 2))
    seen = []

    def landmarks(rgb, hint):
        seen.append((rgb, hint))
        return np.column_stack([hint, np.zeros(478)])

    head = lambda rgb, found: np.full(rgb.shape[:2], 255, np.uint8)  # noqa: E731
    made = LivePortrait(folder, lambda t: (image, points), lambda t: (image, points), Sight(landmarks, head))
    motion = made.motion(crop_face(points).cut(image, 256))
    assert np.allclose(motion.rotation, rotation_of(*ANGLES), atol=1e-6)
    out = made(0)
    assert out.rgb.shape == (512, 512, 3) and out.head.shape == (512, 512)
    picture = crop_face(points).cut(image, 256).repeat(2, 0).repeat(2, 1) / 255
    moved = drive(motion, motion) - motion.keypoints()
    assert np.allclose(out.rgb / 255, (picture + moved.mean()).clip(0, 1), atol=0.003)
    assert np.allclose(out.landmarks, crop_face(points).to_picture(points, 512))


def test_a_picture_without_a_face_is_refused(folder):
    image, points = np.zeros((300, 300, 3), np.uint8), np.random.default_rng(3).uniform(100, 200, (478, 2))
    sight = Sight(lambda rgb, hint: None, lambda rgb, found: rgb[..., 0])
    with pytest.raises(InputError, match="LivePortrait"):
        LivePortrait(folder, lambda t: (image, points), lambda t: (image, points), sight)(3)
