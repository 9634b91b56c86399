"""Hair that the masks missed is not taken for background."""

from __future__ import annotations

import numpy as np

from gswap.foundation.imaging import blur
from gswap.segmentation.canvas import Keyframe, _remnants, median_background
from gswap.segmentation.registration import Scenery, translation


def canvas_with_hair(contrast: float):
    """A wall with a hole, and hairs and blotches in the unsure rim around it."""
    noise = blur(np.random.default_rng(0).normal(0, 1, (160, 200)).astype(np.float32), 1.5)[..., None]
    canvas = np.repeat(80 + contrast * noise / noise.std(), 3, 2)
    y, x = np.mgrid[:160, :200]
    away = np.hypot(x - 100, y - 80)
    known, sure = away > 40, away > 60
    hair = np.zeros_like(known)
    hair[78:80, 45:58] = hair[100:130, 60] = True
    canvas[hair] = 190
    canvas[~known] = 0
    return canvas.clip(0, 255).astype(np.uint8), known, sure, hair & known & ~sure


def test_hairs_in_the_rim_before_a_blurred_wall_are_unknown():
    canvas, known, sure, hair = canvas_with_hair(1.5)
    found = _remnants(canvas, known, sure, known & ~sure)
    assert hair.any() and found[hair].all()
    assert not found[sure].any() and found.sum() < 8 * hair.sum()


def test_what_many_frames_show_and_what_is_like_the_rest_stays():
    canvas, known, sure, _ = canvas_with_hair(1.5)
    assert not _remnants(canvas, known, sure, np.zeros_like(known)).any()
    foliage, known, sure, _ = canvas_with_hair(60)
    assert not _remnants(foliage, known, sure, known & ~sure).any()
    assert not _remnants(canvas, known, np.zeros_like(sure), known).any()


def test_a_hair_that_is_taken_out_is_not_revealed():
    """Three of twelve frames show what is behind the head, with the same hair before it in each."""
    canvas, _, _, _ = canvas_with_hair(1.5)
    wall = np.full_like(canvas, 80)
    hairy = wall.copy()
    hairy[78:80, 80:93] = 190
    y, x = np.mgrid[:160, :200]
    hole, nothing = np.hypot(x - 100, y - 80) < 40, np.zeros((160, 200), bool)
    frames = [
        Keyframe(t, rgb, Scenery.of(rgb, ~covered), covered, ~covered)
        for t, (rgb, covered) in enumerate([(hairy, nothing)] * 3 + [(wall, hole)] * 9)
    ]
    canvas, revealed, known = median_background(frames, [translation(0, 0)] * 12, (200, 160), 3)
    assert not known[78:80, 80:93].any() and known[hole].mean() > 0.9
    assert not (revealed & ~known).any() and revealed[known].all()
