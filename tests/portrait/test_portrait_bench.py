from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gswap.apps.bench.portrait import own_frames, reconstruct, resized, run
from gswap.apps.bench.portrait_config import PortraitBenchConfig
from gswap.foundation.errors import UsageError
from gswap.pipeline.observer import StepObserver


def test_a_clip_reconstructs_itself_on_frames_it_has_not_learned_from(scene, tiny_config):
    steps = dataclasses.replace(tiny_config, coarse_steps=0, fine_steps=80, hold_out=3)
    own = dataclasses.replace(scene.target, rgb=scene.swap.rgb)
    after = reconstruct(own, scene.track, scene.model, steps, StepObserver())
    before = reconstruct(own, scene.track, scene.model, dataclasses.replace(steps, fine_steps=1), StepObserver())
    assert after.psnr_held_out > before.psnr_held_out + 2
    assert after.psnr_held_out > 22 and abs(after.psnr_seen - after.psnr_held_out) < 4
    assert 0 <= after.holes < 10 and after.steps == 80 and after.cpu_minutes > 0


def test_a_smaller_clip_keeps_its_geometry(scene):
    small = resized(scene.target, 32)
    assert small.window.size == (32, 32) and small.rgb[0].shape == (32, 32, 3) and len(small.rgb) == len(scene.track)
    camera, whole = (t.window.camera(0, 170.0, 64, 64) for t in (small, scene.target))
    np.testing.assert_allclose((camera.focal, camera.cx), (whole.focal / 2, whole.cx / 2))
    assert resized(scene.target, 0) is scene.target and resized(scene.target, 64) is scene.target


def test_a_clip_is_trusted_as_its_own_generated_images(scene):
    own = own_frames(scene.target)
    assert own.rgb is scene.target.rgb and (own.confidence[1] == 255).all() and len(own.confidence) == len(own.head)


def test_numbers_are_checked(tmp_path):
    with pytest.raises(UsageError, match="hold-out"):
        run(PortraitBenchConfig(hold_out=1, work=tmp_path), StepObserver())
