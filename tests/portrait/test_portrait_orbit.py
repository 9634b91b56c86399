from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.portrait.orbit import expression_track, orbit_track, render_alone, repeat_frame


def test_orbit_turns_the_whole_body_about_the_head_joint(scene):
    track = orbit_track(scene.track, 1, [0, 30, -30], [0, 0, 10])
    assert len(track) == 3
    np.testing.assert_allclose(track.rotation[0], scene.track.rotation[1], atol=1e-9)
    np.testing.assert_array_equal(track.translation, scene.track.translation[[1, 1, 1]])
    rest = scene.model.rest(scene.track.shape)
    first, turned = (scene.model.pose(track, rest, t).vertices - track.translation[t] for t in (0, 1))
    expected = first @ rotvec_to_matrix(np.radians([0, -30, 0])).T
    np.testing.assert_allclose(turned, expected, atol=1e-6)


def test_a_positive_yaw_shows_the_face_looking_to_the_right_of_the_image(scene):
    track = orbit_track(scene.track, 0, [0, 30], [0, 0])
    rest = scene.model.rest(scene.track.shape)
    nose = scene.model.landmark_triangles[1][0]
    x = [scene.model.pose(track, rest, t).vertices[nose, 0] for t in (0, 1)]
    assert x[1] > x[0] + 0.02


def test_expressions_replace_named_actions(scene):
    track = expression_track(scene.track, 0, [{"jawOpen": 0.7}, {"mouthSmileLeft": 1.0}], scene.model)
    index = scene.model.action_names.index
    np.testing.assert_allclose(track.actions[:, index("jawOpen")], [0.7, 0])
    np.testing.assert_allclose(track.actions[:, index("mouthSmileLeft")], [0, 1])
    with pytest.raises(UsageError, match="no facial action 'wink'"):
        expression_track(scene.track, 0, [{"wink": 1.0}], scene.model)


def test_angles_must_pair(scene):
    with pytest.raises(UsageError, match="as many yaw"):
        orbit_track(scene.track, 0, [0, 1], [0])


def test_novel_views_show_a_whole_head_over_the_background(scene, fitted, rasterize):
    track = orbit_track(scene.track, 0, [-30, 0, 30], [0, 0, 0])
    pictures = list(
        render_alone(fitted[0], track, scene.model, rasterize=rasterize, side=96, background=(0.0, 0.0, 1.0))
    )
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.shape == (96, 96, 3)
        np.testing.assert_allclose(picture[2, 2], (0, 0, 255), atol=12)
        head = picture[..., 0] > 120
        ys, xs = np.nonzero(head)
        assert 0.1 < head.mean() < 0.6
        centre = head[int(np.quantile(ys, 0.2)) : int(np.quantile(ys, 0.6)), int(xs.mean()) - 4 : int(xs.mean()) + 4]
        assert centre.mean() > 0.95  # no holes


def test_a_held_frame_is_the_same_everywhere(scene):
    track = repeat_frame(scene.track, 4, 3)
    np.testing.assert_array_equal(track.actions, scene.track.actions[[4, 4, 4]])
    assert len(track) == 3
