"""Table II's measures, regions and stand-ins on known answers, and that irrelevant changes do not move them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.metrics import parameters as p
from gswap.metrics.descriptor import describe
from gswap.metrics.expression import gaze_signals, landmark_distance, placed_landmarks
from gswap.metrics.regions import color_distance, gradient_deviation, masked_ssim, regions, squared_error, to_psnr


def picture(seed: int = 0, size: int = 96, blur: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((size, size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.clip((smooth - smooth.min()) / np.ptp(smooth) * 255, 0, 255).astype(np.uint8)


def face(seed: int = 1) -> np.ndarray:
    points = np.random.default_rng(seed).normal(0, 40, (478, 3)) + 200
    points[[33, 133, 362, 263], :2] = [[150, 200], [180, 200], [220, 200], [250, 200]]
    points[[468, 473], :2] = [[165, 200], [235, 200]]
    return points


# ---------------------------------------------------------------- similarity
def test_csim_of_the_same_and_of_another_person() -> None:
    rng = np.random.default_rng(0)
    me, other = rng.normal(size=(2, 512))
    photos = me + 0.05 * rng.normal(size=(4, 512))
    assert p.csim(me[None], me[None])[0] == pytest.approx(1)
    assert p.csim(me[None], photos)[0] > 0.99 and abs(p.csim(other[None], photos)[0]) < 0.2
    np.testing.assert_allclose(p.csim(3.7 * me[None], photos), p.csim(me[None], photos[::-1]))
    assert np.isnan(p.csim(np.zeros((1, 512)), photos)[0])


def test_cosine_closed_form() -> None:
    a = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(p.cosine_similarity(a, a[::-1]), np.sqrt(0.5))


def test_parameter_distance_is_the_mean_l1() -> None:
    a = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(p.parameter_distance(a, np.zeros_like(a)), [1, 1])
    np.testing.assert_allclose(p.parameter_distance(a, a), 0)


def test_permuted_frames_are_less_consistent() -> None:
    phase = np.arange(40)[:, None] * 0.05
    walk = np.concatenate([np.cos(phase), np.sin(phase)], 1)
    smooth = p.consistency(walk[:-1], walk[1:])
    np.testing.assert_allclose(smooth, np.cos(0.05))
    mixed = walk[np.random.default_rng(2).permutation(40)]
    assert p.consistency(mixed[:-1], mixed[1:]).mean() < smooth.mean() - 0.1


def test_descriptor_sees_change_and_ignores_size() -> None:
    image = picture(size=256, blur=8)
    same = cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC)
    near = np.roll(image, 2, 1)

    def likeness(other: np.ndarray) -> float:
        return float(p.cosine_similarity(describe(image), describe(other)))

    assert likeness(image) == pytest.approx(1)
    assert likeness(same) > 0.995
    assert likeness(picture(5, 256, 8)) < likeness(np.roll(image, 20, 1)) < likeness(near) < 1


# ---------------------------------------------------------------- landmarks
def test_landmark_distance_ignores_where_parts_always_are() -> None:
    clip = np.stack([face() + np.array([3.0 * t, t, 0]) for t in range(9)])
    placed = placed_landmarks(clip, clip)
    np.testing.assert_allclose(landmark_distance(placed, placed), 0, atol=1e-12)
    identity = np.random.default_rng(3).normal(0, 5, (478, 3))
    np.testing.assert_allclose(landmark_distance(placed_landmarks(clip + identity, clip), placed), 0, atol=1e-12)
    moved = clip.copy()
    moved[4, :, 0] += 10  # eyes are 100 apart
    found = landmark_distance(placed_landmarks(moved, clip), placed)
    np.testing.assert_allclose(found, [0.1 if t == 4 else 0 for t in range(9)], atol=1e-12)


def test_gaze_is_read_in_eye_widths_and_ignores_size_and_turn() -> None:
    points = face()
    np.testing.assert_allclose(gaze_signals(points), [0.5, 0, 0.5, 0], atol=1e-12)
    points[[468, 473], 0] += 6
    np.testing.assert_allclose(gaze_signals(points), [0.7, 0, 0.7, 0], atol=1e-12)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    turned = points.copy()
    turned[:, :2] = 1.7 * points[:, :2] @ turn.T + 11
    np.testing.assert_allclose(gaze_signals(turned), gaze_signals(points), atol=1e-12)


# ---------------------------------------------------------------- regions
def test_regions_cover_the_picture_and_meet_at_the_seam() -> None:
    head = np.zeros((100, 100), np.uint8)
    cv2.circle(head, (50, 50), 20, 255, -1)
    found = regions(head)
    assert not (found.head & found.outside).any() and (found.head | found.outside).all()
    distance = cv2.distanceTransform(255 - head, cv2.DIST_L2, 5) + cv2.distanceTransform(head, cv2.DIST_L2, 5)
    assert found.seam[distance < 1.5].all() and not found.seam[distance > 4].any()
    empty = regions(np.zeros((50, 50), np.uint8))
    assert not empty.head.any() and not empty.seam.any()


def test_the_truths_larger_head_is_head_and_its_noise_is_not() -> None:
    target, head = picture(), np.zeros((96, 96), np.uint8)
    head[40:60, 40:60] = 255
    truth = target.copy()
    truth[20:40, 40:60] = 255 - truth[20:40, 40:60]
    truth[5, 5] ^= 255
    found = regions(head, target, truth)
    assert found.head[25:38, 42:58].mean() > 0.95 and not found.head[5, 5]


def test_masked_fidelity_looks_inside_only() -> None:
    a, b = picture(), picture()
    b[:30] = 0
    where = np.zeros((96, 96), bool)
    where[45:80, 20:70] = True
    assert squared_error(a, b, where) == 0 and to_psnr(0) == float("inf")
    assert masked_ssim(a, b, where) == pytest.approx(1) and masked_ssim(a, b, ~where) < 0.9
    assert np.isnan(squared_error(a, b, where & False))
    assert to_psnr(255.0**2) == pytest.approx(0)


def test_colour_distance_is_of_means_inside_the_mask() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(60, 200, (32, 32, 3)).astype(np.uint8)
    where = np.zeros((32, 32), bool)
    where[4:20, 4:20] = True
    moved = rgb.copy()
    moved[where] = rng.permutation(rgb[where])
    moved[~where] = 0
    assert color_distance(moved, rgb, where) < 1e-4
    greys = [np.full((8, 8, 3), level, np.uint8) for level in (119, 145)]  # L* 50 and 60
    assert color_distance(*greys, np.ones((8, 8), bool)) == pytest.approx(10, abs=0.3)
    assert np.isnan(color_distance(*greys, np.zeros((8, 8), bool)))


def test_gradient_deviation_grows_with_blur_and_ignores_a_constant_shift() -> None:
    image = picture(blur=1.2)
    blurred = [cv2.GaussianBlur(image, (0, 0), s) for s in (0.8, 1.5, 3.0)]
    values = [gradient_deviation(b, image) for b in blurred]
    assert gradient_deviation(image, image) == 0
    assert 0 < values[0] < values[1] < values[2]
    darker = (image.astype(np.float64) * 0.5 + 40).astype(np.uint8)
    assert gradient_deviation((darker + 7).astype(np.uint8), darker) < 1e-6
