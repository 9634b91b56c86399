"""What changes with the expression: colours that one colour per point cannot hold, and a surface that follows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gswap.portrait.config import FitConfig
from gswap.portrait.drive import render_portrait
from gswap.portrait.fit import fit_portrait
from gswap.portrait.io import load_portrait, save_portrait
from gswap.portrait.model import track_digest
from gswap.portrait.orbit import orbit_track

BLUSH = 90.0
"""Levels of green that leave the face from the first frame to the last, as the jaw opens."""
HELD_OUT = 3


@pytest.fixture(scope="module")
def blushing(scene):
    """The scene with a face that reddens as its mouth opens."""
    jaw = scene.track.actions[:, scene.model.action_names.index("jawOpen")] / 0.6
    rgb = []
    for image, head, share in zip(scene.swap.rgb, scene.swap.head, jaw, strict=True):
        less = np.zeros(image.shape)
        less[..., 1] = BLUSH * share * (np.asarray(head) / 255)
        rgb.append((image - less).clip(0, 255).astype(np.uint8))
    return dataclasses.replace(scene, swap=dataclasses.replace(scene.swap, rgb=rgb))


def fit(scene, rasterize, start=None, **changes):
    cfg = FitConfig(coarse_steps=0, fine_steps=110, coarse_side=64, texels=40, hold_out=2 * HELD_OUT, **changes)
    return fit_portrait(scene.target, scene.swap, scene.track, scene.model, cfg, rasterize=rasterize, start=start)


def greens(portrait, scene, rasterize, track=None):
    """Mean green of the solid head, rendered and true, frame by frame."""
    renders = render_portrait(
        portrait, scene.target, None, track or scene.track, scene.model, rasterize=rasterize, detail=False
    )
    pairs = []
    for t, render in renders:
        solid = np.asarray(scene.swap.head[t]) > 250
        pairs.append((render.rgb[solid, 1].mean(), np.asarray(scene.swap.rgb[t])[solid, 1].mean()))
    return np.array(pairs).T


def test_colours_follow_the_expression_also_where_the_fit_did_not_look(blushing, rasterize, tmp_path):
    still = fit(blushing, rasterize, expressions=0)
    lively = fit(blushing, rasterize)
    assert lively.visits[HELD_OUT] == 0
    found, true = greens(still, blushing, rasterize)
    assert np.abs(found - true).max() > 20
    found, true = greens(lively, blushing, rasterize)
    assert np.abs(found - true).max() < 8
    refined = fit(blushing, rasterize, start=still)
    found, true = greens(refined, blushing, rasterize)
    assert np.abs(found - true).max() < 8, "a portrait without expressions learns them when it is refined"

    save_portrait(tmp_path / "file", lively)
    again = load_portrait(tmp_path / "file", blushing.model).network.state_dict()
    for name, value in lively.network.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)
    assert "field.expression.basis" in again


def test_a_portrait_from_before_there_were_expressions_is_read(blushing, rasterize, tmp_path):
    from gswap.foundation.store import read_arrays, write_arrays

    cfg = FitConfig(coarse_steps=0, fine_steps=1, texels=24, expressions=0)
    portrait = fit_portrait(blushing.target, blushing.swap, blushing.track, blushing.model, cfg, rasterize=rasterize)
    save_portrait(tmp_path / "new", portrait)
    arrays, meta = read_arrays(tmp_path / "new")
    for name in ("expressions", "rate_delta_modes", "rate_feature_modes", "weight_feature_modes"):
        del meta["config"][name]
    write_arrays(tmp_path / "old", arrays, meta)
    assert load_portrait(tmp_path / "old", blushing.model).cfg.expressions == 0


def test_moves_belong_to_the_track(scene):
    moves = np.zeros((len(scene.track), 468, 3), np.float32)
    moves[2, :, 0] = 1e-3
    moved = dataclasses.replace(scene.track, moves=moves)
    assert track_digest(moved) != track_digest(scene.track)
    turned = orbit_track(moved, 2, [0.0, 20.0], [0.0, 0.0])
    np.testing.assert_array_equal(turned.moves, np.repeat(moves[2:3], 2, axis=0))
    assert orbit_track(scene.track, 2, [0.0], [0.0]).moves is None
