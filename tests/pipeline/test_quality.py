"""What the report says about the instrument itself."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.perception.refine import MEASURING
from gswap.pipeline.quality import SAMPLES, _lids, _single_looks, spread


def faces(openings: np.ndarray) -> np.ndarray:
    """Landmarks of both lids open by some amounts, eyes 1 wide."""
    points = np.zeros((*openings.shape, 478, 3))
    for outer, inner, upper, lower in ((33, 133, 159, 145), (263, 362, 386, 374)):
        points[..., inner, 0] = 1
        points[..., upper, 1] = openings / 2
        points[..., lower, 0] = 0
        points[..., outer, 0] = 0
    return points


def test_single_looks_show_the_detectors_noise():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 0.4, 400)
    noise = truth.std()  # half of what one look says is noise
    clip, result = (truth[:, None] + rng.normal(0, noise, (400, len(MEASURING))) + 5 for _ in range(2))
    looks = [{t: faces(rows[t]) for t in range(400)} for rows in (result, clip)]
    once, repeat = _single_looks(*looks)
    assert once == pytest.approx(0.5, abs=0.05)
    assert repeat == pytest.approx(0.5, abs=0.05)
    means = [_lids(np.stack([seen[t].mean(0) for t in range(400)])) for seen in looks]
    assert np.corrcoef(*means)[0, 1] == pytest.approx(8 / 9, abs=0.03)


def test_too_few_looks_say_nothing():
    assert np.isnan(_single_looks({0: faces(np.ones(8))}, {0: faces(np.ones(8))})).all()
    assert np.isnan(_single_looks({t: faces(np.ones(3)) for t in range(5)}, {})).all()


def test_measured_frames_are_spread_and_may_be_none():
    assert spread([]) == [] and spread([7]) == [7] and spread([3, 4, 9]) == [3, 4, 9]
    many = spread(list(range(100, 1100)))
    assert len(many) == SAMPLES and (many[0], many[-1]) == (100, 1099)
    assert np.ptp(np.diff(many)) <= 1
