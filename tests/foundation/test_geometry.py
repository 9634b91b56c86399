"""Rotations, projection and alignment against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gswap.foundation import geometry as g
from gswap.foundation.types import Camera

CAMERA = Camera(500.0, 160.0, 120.0, 320, 240)
component = st.floats(-1.7, 1.7, allow_nan=False)


@given(st.tuples(component, component, component))
@settings(deadline=None)
def test_rotation_vector_round_trip(vector):
    vector = np.array(vector)
    matrix = g.rotvec_to_matrix(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(matrix), 1)
    assert np.allclose(g.matrix_to_rotvec(matrix), vector, atol=1e-7)
    assert np.allclose(g.quaternion_to_matrix(g.matrix_to_quaternion(matrix)), matrix, atol=1e-12)


def test_rotation_about_z_by_a_right_angle():
    assert np.allclose(g.rotvec_to_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_half_turns_survive_the_quaternion():
    for axis in np.eye(3):
        matrix = g.rotvec_to_matrix(axis * np.pi)
        assert np.allclose(g.quaternion_to_matrix(g.matrix_to_quaternion(matrix)), matrix, atol=1e-9)


def test_batches_equal_single_calls():
    vectors = np.random.default_rng(0).normal(size=(4, 5, 3))
    batch = g.rotvec_to_matrix(vectors)
    assert np.allclose(batch[2, 3], g.rotvec_to_matrix(vectors[2, 3]))


def test_unproject_inverts_project():
    points = np.random.default_rng(1).uniform([-1, -1, 1], [1, 1, 4], (20, 3))
    pixels = g.project(points, CAMERA)
    assert np.allclose(g.unproject(pixels, points[:, 2], CAMERA), points)
    assert np.allclose(g.project(np.array([0.0, 0, 2]), CAMERA), [160, 120])


@pytest.mark.parametrize("dimension", [2, 3])
def test_similarity_recovers_its_parameters(dimension):
    rng = np.random.default_rng(2)
    source = rng.normal(size=(12, dimension))
    angle = np.zeros(3)
    angle[2] = 0.4
    rotation = g.rotvec_to_matrix(angle)[:dimension, :dimension]
    shift = rng.normal(size=dimension)
    scale, found, offset = g.similarity(source, 1.7 * source @ rotation.T + shift)
    assert np.isclose(scale, 1.7)
    assert np.allclose(found, rotation)
    assert np.allclose(offset, shift)


def test_similarity_never_mirrors():
    source = np.random.default_rng(3).normal(size=(10, 3))
    _, rotation, _ = g.similarity(source, source * [1, 1, -1])
    assert np.isclose(np.linalg.det(rotation), 1)
