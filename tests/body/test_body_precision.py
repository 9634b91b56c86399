"""Inverse covariances against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.body.lbs import SkinWeights
from gswap.body.precision import Precision


@pytest.mark.parametrize("count", [0, 1, 3])
def test_common_errors_are_left_out_as_by_the_inverse_covariance(count):
    rng = np.random.default_rng(count)
    weight, modes, columns = rng.uniform(0.1, 4, 9), rng.normal(0, 1, (9, count)), rng.normal(0, 1, (9, 4))
    dense = np.linalg.inv(np.diag(1 / weight) + modes @ modes.T)
    precision = Precision.of(weight, modes)
    np.testing.assert_allclose(precision.gram(columns), columns.T @ dense @ columns, atol=1e-12)
    np.testing.assert_allclose(precision.times(2.5).gram(columns), 2.5 * columns.T @ dense @ columns, atol=1e-12)
    assert not precision.times(0).gram(columns).any()


def test_what_was_not_measured_tells_nothing():
    rng = np.random.default_rng(0)
    weight, modes, columns = rng.uniform(0.1, 4, 9), rng.normal(0, 1, (9, 2)), rng.normal(0, 1, (9, 4))
    known = np.arange(9) >= 3
    found = Precision.of(weight * known, modes).gram(columns)
    np.testing.assert_allclose(found, Precision.of(weight[known], modes[known]).gram(columns[known]), atol=1e-12)
    assert not Precision.of(np.zeros(9), modes).gram(columns).any()


def test_dense_skinning_weights_are_made_once_and_cannot_be_changed():
    skin = SkinWeights(np.array([[0, 2], [1, 1]]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    full = skin.dense(4)
    np.testing.assert_array_equal(full, [[0.25, 0, 0.75, 0], [0, 1, 0, 0]])
    assert skin.dense(4) is full and skin.dense(3).shape == (2, 3)
    with pytest.raises(ValueError, match="read-only"):
        full[0, 0] = 1
