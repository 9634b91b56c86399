from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from gswap.field.geometry import TrackGeometry
from gswap.foundation.errors import InputError
from gswap.portrait.checkpoint import CHECKPOINT, CURVE
from gswap.portrait.config import FitConfig
from gswap.portrait.drive import driving_condition
from gswap.portrait.fit import PASSES, RUN, fit_portrait, frame_of_step, rate_factor, training_frames
from gswap.portrait.frames import TrainingFrames
from gswap.portrait.model import View


class Killed(Exception):
    pass


def fit(scene, cfg, rasterize, **options):
    return fit_portrait(
        options.pop("target", scene.target),
        options.pop("swap", scene.swap),
        scene.track,
        scene.model,
        cfg,
        rasterize=rasterize,
        **options,
    )


def test_the_loss_falls_tenfold(fitted):
    _, losses = fitted
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


def test_a_killed_fit_ends_with_the_same_bytes(scene, tiny_config, rasterize, tmp_path):
    fit(scene, tiny_config, rasterize, state=tmp_path / "whole")

    def kill(done, total, note=""):
        if done == 33:
            raise Killed

    with pytest.raises(Killed):
        fit(scene, tiny_config, rasterize, state=tmp_path / "killed", progress=kill)
    steps = []
    fit(scene, tiny_config, rasterize, state=tmp_path / "killed", progress=lambda d, n, note="": steps.append(d))
    assert steps[0] == 21  # the checkpoint was written after 20 steps
    for name in (CHECKPOINT, CURVE):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole" / CURVE).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(40)) and rows[0]["reconstruction"] > 0


def test_a_finished_fit_is_not_repeated(scene, tiny_config, rasterize, tmp_path):
    cfg = dataclasses.replace(tiny_config, coarse_steps=3, fine_steps=1)
    first = fit(scene, cfg, rasterize, state=tmp_path)
    steps = []
    again = fit(scene, cfg, rasterize, state=tmp_path, progress=lambda d, n, note="": steps.append(d))
    assert not steps
    torch.testing.assert_close(again.network.field.features, first.network.field.features, rtol=0, atol=0)
    np.testing.assert_array_equal(again.visits, first.visits)


def test_a_checkpoint_of_another_configuration_is_not_used(scene, tiny_config, rasterize, tmp_path):
    cfg = dataclasses.replace(tiny_config, coarse_steps=2, fine_steps=0)
    fit(scene, cfg, rasterize, state=tmp_path)
    steps = []
    other = dataclasses.replace(cfg, weight_ssim=0.1)
    fit(scene, other, rasterize, state=tmp_path, progress=lambda d, n, note="": steps.append(d))
    assert steps == [1, 2]


def test_previews_are_sheets_of_pictures(scene, tiny_config, rasterize):
    sheets = {}
    fit(scene, tiny_config, rasterize, on_preview=lambda step, image: sheets.update({step: image}))
    assert list(sheets) == [20, 40]
    assert sheets[40].shape == (4 * 240, 3 * 240, 3) and sheets[40].dtype == np.uint8


@pytest.mark.parametrize("temporal", ["add", "mlp"])
def test_the_temporal_condition_absorbs_colour_jitter(scene, rasterize, temporal):
    gains = np.array([0.8, 1.15, 0.9, 1.1, 0.85, 1.2])
    jittered = [
        np.where(head[..., None] > 0, rgb * gain, rgb).clip(0, 255).astype(np.uint8)
        for rgb, head, gain in zip(scene.swap.rgb, scene.swap.head, gains, strict=True)
    ]
    swap = dataclasses.replace(scene.swap, rgb=jittered)
    cfg = FitConfig(
        coarse_steps=0,
        fine_steps=150,
        coarse_side=64,
        texels=24,
        temporal=temporal,
        expressions=0,
        rate_condition=1e-2,
        rerender=False,
    )
    portrait = fit(scene, cfg, rasterize, swap=swap)
    geometry = TrackGeometry(portrait.surface, portrait.binding, scene.track, scene.model)
    frames = TrainingFrames(scene.target, swap, scene.track, 1, least_confidence=0.3, budget=2**30)

    def brightness(t, condition):
        frame = frames[t]
        view = View(frame.plate, frame.gate, frame.camera)
        with torch.no_grad():
            image = portrait.network(geometry[t], view, rasterize, condition=condition).image
        return float(image[0, 0][frame.matte > 0.9].mean())

    own = np.array([brightness(t, portrait.network.field.condition[t]) for t in range(len(gains))])
    mean = np.array([brightness(t, driving_condition(portrait)) for t in range(len(gains))])
    assert np.corrcoef(own, gains)[0, 1] > 0.9
    assert mean.std() < own.std() / 3


# ---------------------------------------------------------------- which frame, at what rate
def test_frames_that_are_held_out_or_lost_are_not_used(scene):
    track = dataclasses.replace(scene.track, valid=np.array([1, 0, 1, 1, 1, 1], bool))
    cfg = FitConfig(hold_out=4, emphasis=1)
    np.testing.assert_array_equal(training_frames(track, scene.model, cfg), [0, 3, 4, 5])
    with pytest.raises(InputError, match="at least one frame"):
        training_frames(dataclasses.replace(track, valid=np.zeros(6, bool)), scene.model, cfg)


def test_blinks_and_wide_mouths_are_visited_more_often(scene):
    chosen = training_frames(scene.track, scene.model, FitConfig(emphasis=3))
    counts = np.bincount(chosen)
    assert counts[5] == 3 and (counts[:5] == 1).all()


@pytest.mark.parametrize("count", [1, RUN, 2 * RUN + 3])
def test_every_epoch_visits_every_frame_equally_often_in_a_new_order(count):
    frames, steps = np.arange(3, 3 + count), PASSES * count
    first, second = ([frame_of_step(frames, e * steps + k, seed=0) for k in range(steps)] for e in range(2))
    assert sorted(first) == sorted(second) == np.repeat(frames, PASSES).tolist()
    assert first != second or count == 1
    assert first == [frame_of_step(frames, k, seed=0) for k in range(steps)]


def test_few_frames_are_needed_at_a_time():
    frames = np.arange(100)
    order = [frame_of_step(frames, k, seed=1) for k in range(PASSES * len(frames))]
    runs = [order[i : i + PASSES * RUN] for i in range(0, len(order), PASSES * RUN)]
    assert all(len(set(run)) == len(run) // PASSES for run in runs)
    assert all(run[:RUN] != run[RUN:] for run in runs[:-1])


def test_rates_are_constant_then_fall():
    cfg = FitConfig(warm=0.3, final_rate=0.05)
    assert rate_factor(0.0, cfg) == rate_factor(0.3, cfg) == 1
    assert rate_factor(1.0, cfg) == pytest.approx(0.05)
    assert rate_factor(0.9, FitConfig(warm=1.0)) == 1, "constant to the end"


# ---------------------------------------------------------------- refining
def test_refining_goes_on_from_a_portrait(scene, fitted, rasterize):
    portrait, losses = fitted
    refined_losses = []
    cfg = dataclasses.replace(portrait.cfg, fine_steps=3)
    refined = fit(
        scene,
        cfg,
        rasterize,
        start=portrait,
        progress=lambda d, n, note="": refined_losses.append(float(note.split()[-1])),
    )
    assert refined_losses[0] < 2 * np.mean(losses[-10:])
    assert refined.visits.sum() == 3 and portrait.visits.sum() == 200


def test_refining_needs_the_same_configuration(scene, fitted, rasterize):
    cfg = dataclasses.replace(fitted[0].cfg, rerender=False, temporal="mlp", fine_steps=1)
    with pytest.raises(InputError, match="does not fit"):
        fit(scene, cfg, rasterize, start=fitted[0])
