from __future__ import annotations

import numpy as np
import pytest

from gswap.body.models.anny import AnnyModel, load_anny
from gswap.field.surface import Surface, head_surface
from gswap.foundation.types import BodyTrack


@pytest.fixture(scope="session")
def model() -> AnnyModel:
    return load_anny()


@pytest.fixture(scope="session")
def surface(model) -> Surface:
    return head_surface(model, model.neutral_shape())


@pytest.fixture
def track(model) -> BodyTrack:
    """Three frames: neutral; jaw open and turned; blink, neck bent and eyes turned."""
    actions = np.zeros((3, len(model.action_names)))
    actions[1, model.action_names.index("jawOpen")] = 0.8
    actions[2, model.action_names.index("eyeBlinkLeft")] = 1.0
    eyes = np.zeros((3, 2, 3))
    eyes[2] = (0.1, 0.2, 0.0)
    return BodyTrack(
        shape=model.neutral_shape(),
        focal=np.full(3, 400.0),
        rotation=np.array([[0, 0, 0], [0.1, 0.5, -0.2], [0.2, -0.3, 0.1]]),
        translation=np.array([[0, 0, 0.8], [0.05, -0.02, 0.9], [0, 0.1, 0.7]]),
        neck=np.array([[0, 0, 0], [0, 0.2, 0], [0.2, 0, 0.1]]),
        eyes=eyes,
        actions=actions,
        valid=np.ones(3, bool),
        confidence=np.ones(3),
        residual=np.zeros(3),
        sizes=np.tile([256, 256], (3, 1)),
    )
