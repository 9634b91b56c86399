from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from swap_scenes import Scene, body_track, render

from gswap.body.models import load_body


@pytest.fixture(scope="session")
def model():
    return load_body("anny")


@pytest.fixture(scope="session")
def clip(model) -> Scene:
    """Eight frames: turning, speaking, one blink."""
    yaw = np.array([0.0, 0.05, 0.1, 0.1, 0.05, 0.0, -0.05, -0.1])
    jaw = np.array([0.0, 0.0, 0.15, 0.4, 0.15, 0.0, 0.0, 0.0])
    blink = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.9, 0.2])
    return render(model, body_track(model, yaw, jaw, blink))


@pytest.fixture(scope="session")
def people(model) -> Scene:
    """Three photos of somebody else, darker and lit differently."""
    names = [n for n in model.local_names if n.startswith(("nose", "chin", "mouth", "head"))]
    values = np.random.default_rng(3).normal(0, 0.15, len(names))
    shape = model.coefficients(local=dict(zip(names, values.tolist(), strict=True)))
    other = dataclasses.replace(model.neutral_shape(), coefficients=shape)
    body = body_track(model, np.array([0.02, 0.2, -0.15]), np.array([0.0, 0.05, 0.0]), np.zeros(3), other)
    return render(model, body, skin=(120, 82, 60), backdrop=(60, 160, 80))
