from __future__ import annotations

import itertools

import numpy as np
import pytest

from gswap.swap.config import SelectConfig
from gswap.swap.embedded.select import (
    Missing,
    MouthLook,
    advise,
    crossfade,
    frames_text,
    interior_fits,
    mouth_mismatch,
    viterbi,
)


def _price(costs, path, switch):
    return costs[np.arange(len(path)), path].sum() + switch * (np.diff(path) != 0).sum()


@pytest.mark.parametrize("switch", [0.0, 0.3, 1.0, 5.0])
def test_the_path_is_the_cheapest(switch):
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.random((6, 3))
        best = min(_price(costs, np.array(p), switch) for p in itertools.product(range(3), repeat=6))
        assert _price(costs, viterbi(costs, switch), switch) == pytest.approx(best)


def test_noise_below_the_price_changes_nothing():
    rng = np.random.default_rng(1)
    costs = np.array([1.0, 1.1]) + 0.4 * rng.random((50, 2))
    assert len(np.unique(viterbi(costs, 30.0))) == 1
    assert len(np.unique(viterbi(costs, 0.0))) == 2


def test_a_lasting_change_is_followed():
    costs = np.zeros((20, 2))
    costs[10:, 0] = 1
    costs[:10, 1] = 1
    assert np.array_equal(viterbi(costs, 2.0), np.repeat([0, 1], 10))


def test_crossfades_sum_to_one():
    weights = crossfade(np.repeat([0, 2, 1], 5), 3, 1.2)
    assert np.allclose(weights.sum(1), 1) and (weights >= 0).all()
    assert weights[4, 0] > weights[4, 2] > 0.05
    assert np.array_equal(crossfade(np.array([1, 0]), 2, 0.0), [[0, 1], [1, 0]])


def test_a_closing_mouth_does_not_take_a_grin():
    frames = MouthLook(np.array([0.05, 0.12, 0.15]), np.array([0.0, 0.0, 0.5]))
    photos = MouthLook(np.array([0.12, 0.0]), np.array([0.6, 0.0]))
    cfg = SelectConfig()
    assert np.array_equal(interior_fits(frames, photos, cfg)[:, 0], [False, False, True])
    price = mouth_mismatch(frames, photos, cfg)
    assert price[0, 0] > price[0, 1]
    assert price[2, 0] < price[2, 1]


def test_frames_are_named_in_runs():
    assert frames_text(np.array([3, 4, 5, 9])) == "3-5, 9"
    assert frames_text(np.array([0])) == "0"


def test_advice_names_what_is_missing():
    no = np.zeros(30, bool)
    opened = no.copy()
    opened[10:14] = True
    angle = np.full(30, 5.0)
    angle[20:25] = 38
    yaw = np.zeros(30)
    yaw[20:25] = 41
    said = advise(Missing(opened, no, angle, yaw), SelectConfig())
    assert said == (
        "add a photo with the mouth open (frames 10-13)",
        "add a photo turned to the person's left by about 41 degrees (frames 20-24)",
    )
    assert advise(Missing(no, no, np.zeros(30), yaw), SelectConfig()) == ()
