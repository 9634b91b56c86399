"""Super-resolution guidance: the right pictures at the right size, from a third of the steps on, and they help."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from gswap.foundation.store import PngStore
from gswap.portrait.checkpoint import CHECKPOINT
from gswap.portrait.fit import costly_losses_due, fit_portrait
from gswap.portrait.frames import TrainingFrames
from gswap.portrait.guidance import SCALE, GuidingFrames, cut, enlarge_generated


def enlarged(scene, value: int | None = None) -> list[np.ndarray]:
    """I_gen at twice its size: nearest neighbours, or one grey value."""
    pictures = [scene.swap.rgb[t].repeat(SCALE, 0).repeat(SCALE, 1) for t in range(len(scene.track))]
    return pictures if value is None else [np.full_like(p, value) for p in pictures]


def test_guiding_frames_show_the_same_things_twice_as_large(scene, tiny_config):
    small = TrainingFrames(scene.target, scene.swap, scene.track, 1, least_confidence=0.3, budget=1 << 24)[2]
    large = GuidingFrames(enlarged(scene), scene.target, scene.swap, scene.track, tiny_config)[2]
    assert large.camera.focal == SCALE * small.camera.focal
    # Any point of the world lands at twice its place: x' + box' = 2 (x + box), and so do the principal points.
    box_small = np.array(
        [scene.target.window.size[0] / 2 - small.camera.cx, scene.target.window.size[1] / 2 - small.camera.cy]
    )
    box_large = np.array([scene.target.window.size[0] - large.camera.cx, scene.target.window.size[1] - large.camera.cy])
    assert np.abs(box_large - SCALE * box_small).max() <= 16
    x, y = (box_large).round().astype(int)
    sx, sy = (box_small).round().astype(int)
    middle = large.matte[64 - y, 64 - x]
    assert abs(float(middle) - float(small.matte[32 - sy, 32 - sx])) < 0.1


def test_the_super_resolved_picture_is_seen_inside_the_hole_only(scene, tiny_config):
    grey = GuidingFrames(enlarged(scene, 9), scene.target, scene.swap, scene.track, tiny_config)[1]
    image = grey.image[0].permute(1, 2, 0).numpy() * 255
    inside = np.abs(image - 9).max(-1) < 0.5
    assert (grey.matte.numpy()[inside] > 0.5).any() and 0.3 < inside.mean() < 0.99
    truth = cv2.resize(scene.target.rgb[1], (128, 128), interpolation=cv2.INTER_CUBIC)
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 3 and not inside.all()


def test_random_cuts_keep_their_camera(scene, tiny_config):
    frame = GuidingFrames(enlarged(scene), scene.target, scene.swap, scene.track, tiny_config)[0]
    part = cut(frame, np.random.default_rng(1), side=40)
    assert part.image.shape[-2:] == (40, 40) == part.matte.shape
    x, y = round(frame.camera.cx - part.camera.cx), round(frame.camera.cy - part.camera.cy)
    assert torch.equal(part.image, frame.image[..., y : y + 40, x : x + 40])
    assert torch.equal(part.weight, frame.weight[y : y + 40, x : x + 40])
    again = cut(frame, np.random.default_rng(1), side=40)
    assert again.camera == part.camera and torch.equal(again.image, part.image)
    assert cut(frame, np.random.default_rng(1), side=512) is frame


def test_costly_losses_begin_after_a_third_of_the_steps():
    due = [step for step in range(90) if costly_losses_due(step, 90)]
    assert due[0] == 32 and set(np.diff(due)) == {4}


class Counting:
    """An upscaler by nearest neighbours that counts its calls."""

    def __init__(self, scale: int) -> None:
        self.scale, self.calls = scale, 0

    def __call__(self, image):
        self.calls += 1
        return image.repeat(self.scale, 0).repeat(self.scale, 1)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_upscaler_ends_at_twice_the_size(tmp_path, scale):
    pictures = [np.full((20, 24, 3), 10 * t, np.uint8) for t in range(4)]
    upscale, store = Counting(scale), PngStore(tmp_path / "large", 4)
    enlarge_generated(pictures, [0, 2, 3], upscale, store)
    enlarge_generated(pictures, [0, 2, 3], upscale, store)
    assert upscale.calls == 3, "stored ones are kept"
    assert store[3].shape == (40, 48, 3) and (store[3] == 30).all() and 1 not in store


def fit(scene, cfg, rasterize, **options):
    return fit_portrait(scene.target, scene.swap, scene.track, scene.model, cfg, rasterize=rasterize, **options)


def test_a_guided_fit_follows_its_guide_and_resumes_to_the_same_bytes(scene, tiny_config, rasterize, tmp_path):
    class Killed(Exception):
        pass

    def kill(done, total, note=""):
        if done == 33:
            raise Killed

    guide = enlarged(scene)
    fit(scene, tiny_config, rasterize, state=tmp_path / "whole", enlarged=guide)
    with pytest.raises(Killed):
        fit(scene, tiny_config, rasterize, state=tmp_path / "killed", enlarged=guide, progress=kill)
    fit(scene, tiny_config, rasterize, state=tmp_path / "killed", enlarged=guide)
    assert (tmp_path / "whole" / CHECKPOINT).read_bytes() == (tmp_path / "killed" / CHECKPOINT).read_bytes()


def test_the_guide_pulls_the_portrait(scene, tiny_config, rasterize):
    """A guide that is darker than I_gen darkens the portrait: the term acts, and only through its weight."""
    dark = [picture // 2 for picture in enlarged(scene)]
    cfg = dataclasses.replace(tiny_config, weight_guidance=40.0)
    mean = lambda portrait: float(portrait.network.field.features[:, :3].detach().mean())  # noqa: E731
    plain = mean(fit(scene, cfg, rasterize))
    assert mean(fit(scene, cfg, rasterize, enlarged=dark)) < plain - 0.001
    unweighted = dataclasses.replace(cfg, weight_guidance=0.0)
    assert mean(fit(scene, unweighted, rasterize, enlarged=dark)) == pytest.approx(plain, abs=1e-6)


def test_a_perceptual_loss_is_asked_for_both_sizes(scene, tiny_config, rasterize):
    sizes = []

    def perceptual(image, reference):
        sizes.append(max(image.shape[-2:]))
        return (image - reference).square().mean()

    fit(scene, tiny_config, rasterize, enlarged=enlarged(scene), perceptual=perceptual)
    assert len(sizes) == 2 * 6 and len(set(sizes)) >= 2
