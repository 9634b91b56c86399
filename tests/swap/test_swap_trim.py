"""What is cut from a photo's head."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.landmarks import CHIN
from gswap.swap.config import TrimConfig
from gswap.swap.embedded.regions import FaceRuler
from gswap.swap.embedded.trim import _strays, trim


def test_scraps_below_the_jaw_that_are_not_one_with_the_face_go():
    y, x = np.mgrid[:200, :200]
    face = (np.hypot(x - 100, y - 80) < 50).astype(np.float32)
    shown = face.copy()
    shown[128:136, 60:140] = 0.8  # joined to the chin
    shown[170:176, 80:130] = 0.9  # a scrap
    gone = _strays(shown, face, reach=8.0)
    assert gone[face > 0].max() < 0.01 and gone[128:136, 60:140].max() < 0.05
    assert gone[170:176, 80:130].min() > 0.95


def long_haired(points: np.ndarray, size: tuple[int, int], dark: bool) -> tuple[np.ndarray, np.ndarray, dict]:
    """A painted head with a fringe over its face, hair down to the chest, a neck, and clothes in the matte."""
    h, w = size
    height, lateral = FaceRuler.of(points).axes(h, w)
    skin, hair, cloth = np.array([190, 140, 115]), np.array([45, 32, 26] if dark else [176, 110, 72]), (20, 60, 110)
    colour = np.empty((h, w, 3), np.float32)
    colour[:] = skin
    areas = {
        "hair": (lateral > 0.48) & (lateral < 0.62) & (height < 0.95),
        "neck": (lateral < 0.3) & (height < -0.15) & (height > -0.6),
        "clothes": (lateral > 0.75) & (height < -0.2),
    }
    colour[areas["hair"]] = hair
    colour[(height > 0.75) | (lateral > 0.48) & (height > 0.3)] = hair
    colour[(height > 0.4) & (np.arange(w)[None] % 12 < 4)] = hair  # strands across the face
    colour[areas["clothes"]] = cloth
    alpha = ((lateral < 0.62) & (height > -0.6) | areas["clothes"]).astype(np.float32)
    return colour, alpha, areas


@pytest.mark.parametrize("dark", [True, False])
def test_long_hair_falls_over_the_clothes_and_takes_no_neck_and_no_cloth_along(clip, dark):
    marks, size = clip.faces.landmarks[0][:, :2].astype(np.float64), (420, 420)
    points = (marks - marks[CHIN]) * (140 / np.ptp(marks[:468, 0])) + (210, 250)
    colour, alpha, areas = long_haired(points, size, dark)
    kept, _ = trim(alpha, colour, points, np.zeros(size, np.float32), True, TrimConfig())
    height, _ = FaceRuler.of(points).axes(*size)
    falling = areas["hair"] & (height < -0.1) & (height > -0.5)
    assert falling.sum() > 200 and kept[falling].mean() > 0.85
    assert kept[areas["neck"]].mean() < 0.05
    assert kept[areas["clothes"] & (height < -0.3)].mean() < 0.05
    np.testing.assert_array_equal(kept[height > 0.6], alpha[height > 0.6])
