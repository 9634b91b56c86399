from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.foundation.geometry import project
from gswap.foundation.types import Camera
from gswap.portrait.config import FitConfig, preset
from gswap.portrait.frames import Box, TrainingFrames, box_of, cut_camera, shrink


class Counting(list):
    """A store that counts its reads."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def frames_of(scene, divisor=1, budget=2**30):
    return TrainingFrames(scene.target, scene.swap, scene.track, divisor, least_confidence=0.3, budget=budget)


def test_box_has_sides_of_multiples_of_sixteen_and_holds_the_mask():
    mask = np.zeros((200, 300), np.uint8)
    mask[50:90, 200:290] = 1
    box = box_of(mask)
    assert box.width % 16 == 0 and box.height % 16 == 0
    inside = np.zeros_like(mask)
    box.cut(inside)[:] = 1
    assert (inside[mask > 0] == 1).all()
    assert box.x >= 0 and box.x + box.width <= 300


def test_box_of_a_full_and_of_an_empty_mask():
    assert box_of(np.ones((50, 70), np.uint8)) == Box(0, 0, 70, 50)
    assert box_of(np.zeros((50, 70), np.uint8)) == Box(0, 0, 16, 16)


def test_cut_camera_sees_the_same_points():
    camera, box, point = Camera(400, 100, 90, 200, 180), Box(10, 20, 48, 32), np.array([0.02, -0.03, 0.9])
    np.testing.assert_allclose(project(point, cut_camera(camera, 2, box)), project(point, camera) / 2 - (10, 20))


def test_shrink_is_an_exact_block_average():
    image = np.random.default_rng(0).integers(0, 255, (9, 11, 3)).astype(np.float32)
    np.testing.assert_allclose(shrink(image, 2), image[:8, :10].reshape(4, 2, 5, 2, 3).mean((1, 3)), rtol=1e-5)


@pytest.mark.parametrize("divisor", [1, 2])
def test_frame_shows_the_generated_head_over_the_target(scene, divisor):
    frame = frames_of(scene, divisor)[2]
    height, width = frame.matte.shape
    assert frame.image.shape == frame.plate.shape == (1, 3, height, width)
    assert (frame.camera.width, frame.camera.height) == (width, height)
    assert frame.image.is_contiguous(memory_format=torch.channels_last)
    head = frame.matte > 0.99
    assert head.any()
    # The new head is warm, the old one is grey.
    assert float((frame.image[0, 0] - frame.image[0, 2])[head].mean()) > 0.2
    seen = frame.outside > 0.5
    torch.testing.assert_close(frame.image[0][:, seen], frame.plate[0][:, seen], atol=0.03, rtol=0)


def test_decoded_frames_are_kept_within_the_budget(scene):
    counted = Counting(scene.swap.rgb)
    swap = type(scene.swap)(counted, scene.swap.head, scene.swap.neck, scene.swap.plate, scene.swap.confidence)
    frames = TrainingFrames(scene.target, swap, scene.track, 1, least_confidence=0.3, budget=2**30)
    first = frames[0]
    torch.testing.assert_close(frames[0].image, first.image)
    assert counted.reads == 1
    tight = TrainingFrames(scene.target, swap, scene.track, 1, least_confidence=0.3, budget=70_000)
    for t in (0, 1, 2, 0):
        tight[t]
    assert counted.reads == 5 and tight._used <= 70_000


def test_sizes_of_the_stages():
    cfg = FitConfig()
    assert [cfg.divisor(s, s) for s in (200, 256, 480, 512, 1024)] == [1, 1, 2, 2, 4]
    assert cfg.texture_side(256, 256) == 256 and cfg.texture_side(480, 400) == 351
    assert FitConfig(texels=99).texture_side(480, 480) == 99


def test_presets_differ_in_effort():
    preview, standard, best = (preset(q) for q in ("preview", "standard", "best"))
    assert preview.coarse_steps < standard.coarse_steps < best.coarse_steps
    assert standard == FitConfig() and not preview.rerender
