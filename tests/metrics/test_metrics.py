"""Every measure on known answers: identical, shifted, permuted, noisy."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from gswap.foundation.landmarks import head_angles
from gswap.metrics.expression import difference, expression_signals
from gswap.metrics.flicker import flicker_ratio, motion_residual
from gswap.metrics.identity import calibrated_similarity, identity_distance, typical_distance
from gswap.metrics.picture import Box, head_box, iou, outside_change, sharpness_ratio, ssim_map
from gswap.metrics.regions import to_psnr


def face(yaw: float = 0, pitch: float = 0, roll: float = 0, gap: float = 0, scale: float = 100) -> np.ndarray:
    """A rigid random point set with the named landmarks in place, turned, in pixels."""
    points = np.random.default_rng(4).normal(0, 0.4, (478, 3))
    points[33], points[263] = (-0.5, 0, 0), (0.5, 0, 0)
    points[10], points[152] = (0, -0.8, 0), (0, 1.0, 0)
    points[13], points[14] = (0, 0.5, -0.1), (0, 0.5 + gap, -0.1)
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (points @ (about_z @ about_y @ about_x).T) * scale + 200


def texture(seed: int = 0, size: int = 96) -> np.ndarray:
    noise = np.random.default_rng(seed).random((size, size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip((smooth - smooth.min()) / np.ptp(smooth) * 255, 0, 255).astype(np.uint8)


def test_similarity_of_the_source_itself_and_of_the_target() -> None:
    rng = np.random.default_rng(1)
    person, other = rng.normal(0, 0.05, (2, 128))
    photos = person + rng.normal(0, 0.01, (5, 128))
    people = identity_distance(other + rng.normal(0, 0.005, (9, 128)), photos)
    source = identity_distance(photos[np.arange(9) % 5], photos)
    assert not source.any() and (calibrated_similarity(source, people, photos) > 1).all()
    assert calibrated_similarity(people, people, photos).mean() == pytest.approx(0, abs=1e-12)
    lost = np.append(people, np.nan)
    np.testing.assert_array_equal(
        calibrated_similarity(source, lost, photos), calibrated_similarity(source, people, photos)
    )


def test_identity_closed_forms() -> None:
    photos = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(identity_distance(np.array([[0.0, 0.0], [3.0, 3.0]]), photos), [0, 1])
    assert typical_distance(photos) == pytest.approx(np.median([5, 1, np.hypot(3, 3)]))
    assert np.isnan(typical_distance(photos[:1]))
    same = typical_distance(photos)
    found = calibrated_similarity(np.array([1.0, same, 7.0]), np.array([6.0, 8.0]), photos)
    np.testing.assert_allclose(found, [(7 - 1) / (7 - same), 1, 0])


def test_nothing_to_measure_is_nan() -> None:
    photos = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert np.isnan(calibrated_similarity(np.ones(2), np.full(3, np.nan), photos)).all()
    assert np.isnan(calibrated_similarity(np.ones(2), np.ones(3), photos[:1])).all()


def test_expression_signals_have_their_unit_and_ignore_size_and_place() -> None:
    signals = expression_signals(face(gap=0.2))
    assert signals[0] == pytest.approx(0.2)  # the eyes are one unit apart
    np.testing.assert_allclose(expression_signals(face(gap=0.2, scale=37) * 1.0 + 11), signals)


def error(of, clip: np.ndarray, reference: np.ndarray) -> float:
    return float(difference(of(clip), of(reference)).mean())


def test_expression_ignores_constant_identity_and_sees_lost_motion() -> None:
    gaps = 0.15 * (1 + np.sin(np.arange(40)))
    clip = np.stack([face(gap=g) for g in gaps])
    assert error(expression_signals, clip, clip) == 0
    other_person = np.stack([face(gap=g + 0.1) for g in gaps])
    assert error(expression_signals, other_person, clip) == pytest.approx(0, abs=1e-12)
    frozen = np.repeat(clip[:1], 40, 0)
    expected = np.abs(gaps - np.median(gaps)).mean() / 7
    assert error(expression_signals, frozen, clip) == pytest.approx(expected)
    assert error(expression_signals, clip[::-1], clip) > 0.2 * expected


@pytest.mark.parametrize(("axis", "name"), [(0, "yaw"), (1, "pitch"), (2, "roll")])
def test_head_angles(axis: int, name: str) -> None:
    reference = head_angles(face())
    for angle in (-30.0, 10.0, 25.0):
        change = head_angles(face(**{name: angle})) - reference
        assert abs(change[axis]) == pytest.approx(abs(angle), abs=1e-6)
        np.testing.assert_allclose(np.delete(change, axis), 0, atol=1e-6)


def test_pose_ignores_a_constant_turn_and_sees_lost_motion() -> None:
    angles = 15 * np.sin(np.arange(30) / 3)
    clip = np.stack([face(yaw=a) for a in angles])
    assert error(head_angles, clip, clip) == 0
    assert error(head_angles, np.stack([face(yaw=a + 6) for a in angles]), clip) == pytest.approx(0, abs=1e-9)
    still = np.repeat(clip[:1], 30, 0)
    assert error(head_angles, still, clip) == pytest.approx(np.abs(angles - np.median(angles)).mean() / 3)


def test_difference_removes_medians() -> None:
    a = np.array([[0.0], [1.0], [2.0]])
    np.testing.assert_allclose(difference(a + 5, a), 0)
    np.testing.assert_allclose(difference(2 * a, a), [1, 0, 1])


def test_psnr_closed_forms() -> None:
    assert to_psnr(0) == float("inf")
    assert to_psnr(255**2) == pytest.approx(0)
    assert to_psnr(25.5**2) == pytest.approx(20)


def test_ssim_known_answers() -> None:
    def ssim(a: np.ndarray, b: np.ndarray) -> float:
        return float(ssim_map(a, b).mean())

    image = texture()
    assert ssim(image, image) == pytest.approx(1)
    flat, other = np.full((32, 32), 100, np.uint8), np.full((32, 32), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(flat, other) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))
    shifted = np.roll(image, 1, 1)
    far = np.roll(image, 8, 1)
    assert 1 > ssim(shifted, image) > ssim(far, image)
    assert ssim(image, far) == pytest.approx(ssim(far, image))
    negative = 255 - image
    assert ssim(negative, image) < 0


def test_iou() -> None:
    a = np.zeros((10, 10), np.uint8)
    a[:, :6] = 255
    b = np.roll(a, 3, 1)
    assert iou(a, a) == 1 and iou(a, b) == pytest.approx(3 / 9)
    assert iou(a > 0, b > 0) == iou(b, a)
    assert iou(a * 0, a * 0) == 1 and iou(a, a * 0) == 0


def test_sharpness_ratio() -> None:
    image = texture()
    assert sharpness_ratio(image, image) == 1
    soft = cv2.GaussianBlur(image, (0, 0), 2)
    assert sharpness_ratio(soft, image) < 0.5 < 2 < sharpness_ratio(image, soft)
    half = np.zeros(image.shape[:2], bool)
    half[:, 50:] = True
    mixed = image.copy()
    mixed[:, :40] = soft[:, :40]
    assert sharpness_ratio(mixed, image, half) == 1
    assert sharpness_ratio(np.full_like(image, 7), np.full_like(image, 90)) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_outside_change_counts_untouched_samples_only(dtype: type) -> None:
    rng = np.random.default_rng(0)
    before = [rng.integers(20, 200, shape).astype(dtype) for shape in [(7, 9), (4, 5), (4, 5)]]
    edited = np.zeros((7, 9), bool)
    edited[3, 4] = True
    after = [plane.copy() for plane in before]
    assert outside_change(after, before, edited) == 0
    after[0][3, 4] += 50
    after[1][1, 2] -= 10  # touches the edited luma sample
    assert outside_change(after, before, edited) == 0
    after[2][1, 3] += 2
    assert outside_change(after, before, edited) == 2
    after[0][6, 8] -= 9
    assert outside_change(after, before, edited) == 9
    assert outside_change(after, before, np.ones((7, 9), bool)) == 0


def test_head_box_is_grown_and_clipped() -> None:
    points = np.array([[100.0, 100.0, 0.0], [140.0, 160.0, 0.0]])
    assert head_box(points, 640, 480) == Box(78, 55, 162, 187)
    assert head_box(points - 90, 60, 90) == Box(0, 0, 60, 90)


def test_moving_picture_leaves_little_residual() -> None:
    image = texture(3, 160)
    moved = np.roll(image, (2, 3), (0, 1))
    box = Box(20, 20, 140, 140)
    assert motion_residual(image, image) < 0.02
    assert motion_residual(image, moved, box) < 0.15 * np.abs(moved.astype(int) - image)[box.slices].mean()


def test_flicker() -> None:
    def flicker(result: list[np.ndarray], target: list[np.ndarray]) -> float:
        box = Box(16, 16, 112, 112)
        mine, theirs = (np.mean([motion_residual(a, b, box) for a, b in pairwise(clip)]) for clip in (result, target))
        return float(flicker_ratio(mine, theirs))

    image = texture(5, 128)
    target = [np.roll(image, i, 1) for i in range(6)]
    assert flicker(target, target) == 1
    unsteady = [np.clip(f.astype(int) + 12 * (i % 2), 0, 255).astype(np.uint8) for i, f in enumerate(target)]
    assert flicker(unsteady, target) > 3
    assert flicker([image] * 6, target) < 1
    assert flicker([image] * 6, [image] * 6) == 1  # two still clips
