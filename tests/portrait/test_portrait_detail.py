from __future__ import annotations

import cv2
import numpy as np

from gswap.foundation.types import Camera
from gswap.portrait.detail import lip_band, lively_parts, transfer_detail, transfer_parts

UNIT = 480


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(60, 200, (60, 60, 3)).astype(np.float32)


def test_texture_returns_where_low_frequencies_agree():
    generated = picture(0)
    image = cv2.GaussianBlur(generated, (0, 0), 1.5)
    out = transfer_detail(image, generated, np.ones((60, 60), np.float32), UNIT)
    inner = np.s_[8:-8, 8:-8]
    before = np.abs(image - generated)[inner].mean()
    assert np.abs(out - generated)[inner].mean() < 0.5 * before


def test_smeared_strands_return():
    across = np.arange(90)[None, :, None]
    generated = np.broadcast_to(110 + 55 * np.sin(2 * np.pi * across / 9.0), (90, 90, 3)).astype(np.float32)
    smeared = cv2.GaussianBlur(generated, (0, 0), 1.6)  # strands of 4 pixels: they differ at the finer low-pass
    out = transfer_detail(smeared, generated, np.ones((90, 90), np.float32), UNIT)
    inner = np.s_[15:-15, 15:-15]
    assert out[inner].std() > 0.95 * generated[inner].std() > 1.3 * smeared[inner].std()


def test_nothing_is_taken_where_pictures_differ_or_the_weight_is_zero():
    generated, image = picture(0), cv2.GaussianBlur(picture(0), (0, 0), 1.5) + 60
    out = transfer_detail(image, generated, np.ones((60, 60), np.float32), UNIT)
    np.testing.assert_allclose(out, image, atol=1e-3)
    out = transfer_detail(image, generated, np.zeros((60, 60), np.float32), UNIT)
    np.testing.assert_array_equal(out, image)


def test_colour_stays_the_fields():
    generated = picture(0)
    image = cv2.GaussianBlur(generated, (0, 0), 1.5) + 2
    out = transfer_detail(image, generated, np.ones((60, 60), np.float32), UNIT)
    assert abs(float((out - image).mean())) < 0.1


def test_the_band_runs_along_the_lips(scene):
    mesh = scene.model.pose(scene.track, scene.model.rest(scene.track.shape), 3)
    band = lip_band(mesh, scene.model, Camera(170 * 6, 32 * 6, 32 * 6, 64 * 6, 64 * 6))
    lips = cv2.resize(scene.swap.rgb[3], None, fx=6, fy=6)
    red = (lips[..., 0].astype(int) - lips[..., 1] > 90) & (band < 2)
    assert 0.002 < (band > 0.5).mean() < 0.05
    assert red[band > 0.5].mean() > 0.3


def test_the_lively_parts_are_eyes_and_mouth(scene):
    mesh = scene.model.pose(scene.track, scene.model.rest(scene.track.shape), 3)
    parts = lively_parts(mesh, scene.model, Camera(170 * 6, 32 * 6, 32 * 6, 64 * 6, 64 * 6))
    lips = cv2.resize(scene.swap.rgb[3], None, fx=6, fy=6)
    red = lips[..., 0].astype(int) - lips[..., 1] > 90
    count, *_ = cv2.connectedComponents((parts > 0.5).astype(np.uint8))
    assert count == 4
    assert parts[red].mean() > 0.9
    assert 0.01 < parts.mean() < 0.25


def test_parts_are_taken_whole_and_nothing_changes_elsewhere():
    image, generated = picture(1), picture(0)
    parts = np.zeros((60, 60), np.float32)
    parts[20:40, 20:40] = 1
    out = transfer_parts(image, generated, parts)
    assert np.abs(out - generated)[26:34, 26:34].mean() < 2
    np.testing.assert_array_equal(transfer_parts(image, generated, np.zeros_like(parts)).round(2), image.round(2))
