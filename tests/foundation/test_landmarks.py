"""The landmark lists are what they say."""

from __future__ import annotations

import numpy as np

from gswap.foundation import landmarks as lm


def test_lists_do_not_repeat_points():
    for name in ("OVAL", "JAW", "LIPS_OUTER", "LIPS_INNER", "EYE_RIGHT", "EYE_LEFT", "BROW_RIGHT", "BROW_LEFT"):
        points = getattr(lm, name)
        assert len(set(points)) == len(points), name


def test_lip_chains_share_their_corners():
    for upper, lower in zip(lm.LIP_RINGS_UPPER, lm.LIP_RINGS_LOWER, strict=True):
        assert (upper[0], upper[-1]) == (lower[0], lower[-1])
        assert len(upper) == len(lower) == 11


def test_triangles_cover_the_face_mesh_without_eyes_and_mouth():
    triangles = lm.face_triangles()
    assert triangles.shape[1] == 3 and triangles.max() == 467
    assert len(np.unique(triangles)) == 468
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() <= 2 or (counts > 2).sum() < 10


def test_measures_on_a_made_up_face():
    points = np.zeros((478, 3))
    points[33], points[263] = (0, 0, 0), (10, 0, 0)
    points[133] = (4, 0, 0)
    points[13], points[14] = (5, 5, 0), (5, 7, 9)
    points[159], points[145] = (2, -0.5, 0), (2, 0.5, 0)
    assert lm.eye_distance(points) == 10
    assert lm.mouth_gap(points) == 0.2
    assert lm.lid_opening(points, "right") == 0.25
