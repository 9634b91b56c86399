"""What is cut from a photo's head."""

from __future__ import annotations

import numpy as np

from gswap.swap.embedded.trim import _strays


def test_scraps_below_the_jaw_that_are_not_one_with_the_face_go():
    y, x = np.mgrid[:200, :200]
    face = (np.hypot(x - 100, y - 80) < 50).astype(np.float32)
    shown = face.copy()
    shown[128:136, 60:140] = 0.8  # joined to the chin
    shown[170:176, 80:130] = 0.9  # a scrap
    gone = _strays(shown, face, reach=8.0)
    assert gone[face > 0].max() < 0.01 and gone[128:136, 60:140].max() < 0.05
    assert gone[170:176, 80:130].min() > 0.95
