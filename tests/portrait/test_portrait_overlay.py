"""The mesh over the picture before and after delta_M."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.portrait.frames import window_camera
from gswap.portrait.model import build_portrait
from gswap.portrait.overlay import mesh_before_and_after


@pytest.fixture
def portrait(scene, tiny_config):
    return build_portrait(scene.model, scene.track, None, 24, tiny_config)


def pair(scene, portrait):
    camera = window_camera(scene.target, scene.track, 2)
    return mesh_before_and_after(portrait, scene.swap.rgb[2], scene.track, 2, camera, scene.model)


def test_lines_lie_on_the_head_and_nothing_else_changes(scene, portrait):
    before, after = pair(scene, portrait)
    np.testing.assert_array_equal(before, after)  # nothing was learned
    changed = (before != scene.swap.rgb[2]).any(-1)
    head = np.maximum(scene.swap.head[2], scene.swap.neck[2]) > 127
    assert changed[head].mean() > 0.8
    assert not changed[:8, :8].any()


def test_the_second_mesh_shows_what_was_learned(scene, portrait):
    before, _ = pair(scene, portrait)
    with torch.no_grad():
        portrait.network.field.delta[:, 1] -= 0.02
    again, after = pair(scene, portrait)
    np.testing.assert_array_equal(before, again)
    assert (after != before).mean() > 0.05
