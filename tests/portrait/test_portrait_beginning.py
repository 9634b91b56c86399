from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.field.geometry import TrackGeometry
from gswap.portrait.beginning import CLOSED_OPACITY, MOST_HELD, begin_with_pictures, borrowed_colors, mark_hair
from gswap.portrait.config import FitConfig
from gswap.portrait.frames import TrainingFrames
from gswap.portrait.model import build_portrait
from gswap.portrait.soundness import soundness, thin_area

FRAMES = [0, 2, 4]


@pytest.fixture
def begun(scene, rasterize):
    """A portrait that has begun, and how the same one began before any picture."""
    portrait = build_portrait(scene.model, scene.track, None, 60, FitConfig(texels=60, opacity=0.6))
    geometry = TrackGeometry(portrait.surface, portrait.binding, scene.track, scene.model)
    frames = TrainingFrames(scene.target, scene.swap, scene.track, 1, least_confidence=0.3, budget=2**30)
    mark_hair(portrait, scene.model, scene.track)
    before = {k: v.detach().clone() for k, v in portrait.network.field.named_parameters()}

    def begin(**options):
        begin_with_pictures(portrait, scene.model, geometry, frames, FRAMES, rasterize, **options)
        return portrait, before

    return begin


def rest_points(portrait):
    corners = portrait.surface.vertices[portrait.surface.faces[portrait.binding.face]]
    return (corners * portrait.binding.bary[..., None]).sum(1)


def test_colours_are_those_of_the_picture(begun):
    field = begun()[0].network.field
    colors = field.features.detach().numpy()[:, :3] * 255
    face = field.head_weight.numpy()[:, 0] > 0.99
    np.testing.assert_allclose(np.median(colors[face], 0), (215, 150, 110), atol=12)


def test_what_no_picture_shows_begins_closed_and_held(begun):
    portrait, before = begun()
    field = portrait.network.field
    back = rest_points(portrait)[:, 2] > np.quantile(rest_points(portrait)[:, 2], 0.9)
    face = (field.hold[:, 0] < 1.5).numpy()
    assert face.sum() > 100
    back &= (field.hold[:, 0] > 0.99 * MOST_HELD).numpy()
    assert back.mean() > 0.09
    np.testing.assert_allclose(torch.sigmoid(field.opacity_logit.detach()[back]), CLOSED_OPACITY, atol=1e-3)
    larger = (field.log_scale - before["log_scale"]).detach().numpy()
    assert (larger[back][:, 0] > 0.2).all() and np.abs(larger[:, 1]).max() == 0
    assert np.abs(larger[face]).max() < 0.05
    assert torch.equal(field.initial_opacity_logit, field.opacity_logit)


def test_a_refined_portrait_keeps_what_it_has_and_is_held_the_same(begun):
    fresh = begun()[0].network.field.hold.clone()
    portrait, _ = begun(keep=True)
    kept = {k: v.detach().clone() for k, v in portrait.network.field.named_parameters()}
    begun(keep=True)
    for name, value in portrait.network.field.named_parameters():
        assert torch.equal(value, kept[name]), name
    assert torch.corrcoef(torch.stack([fresh[:, 0], portrait.network.field.hold[:, 0]]).log())[0, 1] > 0.95


def test_the_back_of_the_head_has_the_crowns_colour_not_the_ears(scene):
    portrait = build_portrait(scene.model, scene.track, None, 60, FitConfig(texels=60))
    mark_hair(portrait, scene.model, scene.track)
    points = rest_points(portrait)
    known = points[:, 2] < np.quantile(points[:, 2], 0.7)
    crown, skin = np.array([0.1, 0.1, 0.1]), np.array([0.9, 0.5, 0.4])
    hair = portrait.network.field.hair[:, 0].numpy()
    head = portrait.network.field.head_weight[:, 0].numpy() > 0.99
    high = points[:, 1] < np.quantile(points[head][:, 1], 0.3)
    colors = np.where((high & (hair > 0.5))[:, None], crown, skin)
    lent = borrowed_colors(portrait, scene.model, colors, known)
    middle = points[~known][:, 1] > np.quantile(points[head][:, 1], 0.4)
    behind = (points[~known][:, 2] > np.quantile(points[:, 2], 0.95)) & (hair[~known] > 0.95) & middle
    assert behind.sum() > 10
    np.testing.assert_allclose(lent[behind], np.tile(crown, (int(behind.sum()), 1)), atol=0.1)
    neck = hair[~known] == 0
    np.testing.assert_allclose(lent[neck], np.tile(skin, (int(neck.sum()), 1)), atol=0.02)


def test_what_is_thin_makes_an_outline_ragged():
    y, x = np.mgrid[:320, :320]
    smooth = ((x - 160) ** 2 + (y - 160) ** 2 < 100**2).astype(np.float32)
    spiked, slit = smooth.copy(), smooth.copy()
    spiked[20:70, 158:161] = 1
    slit[60:120, 158:161] = 0
    faint = smooth + 0.4 * (1 - smooth) * (np.abs(x - 160) < 2)
    assert thin_area(smooth) < 30
    assert thin_area(spiked) > thin_area(smooth) + 100
    assert thin_area(slit) > thin_area(smooth) + 150
    assert thin_area(faint) == thin_area(smooth)


def test_a_fitted_head_is_whole_and_holes_and_floaters_are_counted(scene, fitted, rasterize):
    portrait = fitted[0]
    judge = lambda p: soundness(p, scene.track, 0, scene.model, rasterize=rasterize)  # noqa: E731
    sound = judge(portrait)
    assert sound.holes < 7 and sound.floaters < 1 and sound.ragged < 1
    field = portrait.network.field
    kept = {k: v.detach().clone() for k, v in field.state_dict().items()}
    temple = torch.from_numpy(rest_points(portrait)[:, 2] > np.median(rest_points(portrait)[:, 2]))
    try:
        with torch.no_grad():
            field.opacity_logit[temple] = -6.0
            opened = judge(portrait)
            field.load_state_dict(kept)
            field.offset[temple, 1] += 0.05
            flying = judge(portrait)
    finally:
        field.load_state_dict(kept)
    assert opened.holes > sound.holes + 3 and opened.floaters <= sound.floaters
    assert flying.floaters > sound.floaters + 3
    narrow = soundness(portrait, scene.track, 0, scene.model, rasterize=rasterize, yaw=1.0)
    assert narrow.holes <= sound.holes + 0.1
