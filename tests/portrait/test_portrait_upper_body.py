"""The upper-body field: it learns the torso, and changes nothing of what is composited into the clip."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gswap.field.surface import head_surface
from gswap.portrait.drive import render_portrait
from gswap.portrait.fit import fit_portrait
from gswap.portrait.frames import TrainingFrames
from gswap.portrait.io import load_portrait, save_portrait
from gswap.portrait.orbit import orbit_track, render_alone

TORSO = np.array((40, 60, 160))


@pytest.fixture(scope="module")
def upper(scene, tiny_config, rasterize):
    cfg = dataclasses.replace(tiny_config, region="upper-body", texels=56)
    return fit_portrait(scene.target, scene.swap, scene.track, scene.model, cfg, rasterize=rasterize)


def test_the_surface_reaches_the_shoulders(scene):
    head, whole = (head_surface(scene.model, scene.track.shape, upper_body=u) for u in (False, True))
    assert len(whole.faces) > 1.1 * len(head.faces)
    assert whole.vertices[:, 1].max() > head.vertices[:, 1].max() + 0.05, "y points down"
    assert (np.isin(head.body_vertices, whole.body_vertices)).all()


def test_mattes_hold_the_torso_and_the_gate_does_not(scene):
    make = lambda upper: TrainingFrames(  # noqa: E731
        scene.target, scene.swap, scene.track, 1, least_confidence=0.3, budget=1 << 24, upper_body=upper
    )[0]
    head, whole = make(False), make(True)
    assert whole.matte.shape[0] >= head.matte.shape[0] and whole.matte.mean() > head.matte.mean()
    assert float(whole.mask_weight.min()) == 1.0
    assert float(whole.gate.sum()) == pytest.approx(float(head.gate.sum()), rel=0.02)


def test_the_torso_is_learnt_and_shown_from_the_side(scene, upper, rasterize):
    track = orbit_track(scene.track, 0, [0.0, 20.0], [0.0, 0.0])
    for image in render_alone(upper, track, scene.model, rasterize=rasterize, side=96):
        blue = np.abs(image.astype(int) - TORSO).max(-1) < 60
        assert blue.mean() > 0.05, "chest and shoulders are in the picture"


def test_the_clip_changes_nowhere_else(scene, upper, rasterize):
    frames = render_portrait(upper, scene.target, scene.swap, scene.track, scene.model, rasterize=rasterize)
    for t, render in frames:
        untouched = render.edited == 0
        assert (render.rgb[untouched] == scene.target.rgb[t][untouched]).all()
        assert untouched.mean() > 0.1


def test_it_is_stored_and_loaded_with_its_region(scene, upper, tmp_path):
    save_portrait(tmp_path / "portrait.safetensors", upper)
    again = load_portrait(tmp_path / "portrait.safetensors", scene.model)
    assert again.cfg.region == "upper-body" and len(again.surface.faces) == len(upper.surface.faces)
