"""The triangle raster against a plain loop and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation import raster
from gswap.foundation.geometry import project
from gswap.foundation.types import Camera


@pytest.fixture(params=["native", "numpy"])
def backend(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(raster, "_native", None)
    elif raster._native is None:
        pytest.skip("the native kernel is not built")
    return request.param


def test_a_full_square_covers_every_pixel_once(backend):
    points = np.array([[0, 0], [8, 0], [8, 6], [0, 6]], float)
    fragments = raster.rasterize(points, np.ones(4), np.array([[0, 1, 2], [0, 2, 3]]), 6, 8)
    assert (fragments.face >= 0).all()
    assert np.allclose(fragments.bary.sum(-1), 1, atol=1e-6)
    corners = points[np.array([[0, 1, 2], [0, 2, 3]])[fragments.face]]
    seen = (corners * fragments.bary[..., None]).sum(2)
    centres = np.stack(np.meshgrid(np.arange(8) + 0.5, np.arange(6) + 0.5), -1)
    assert np.allclose(seen, centres, atol=1e-5)


def test_the_nearer_triangle_wins(backend):
    points = np.array([[0, 0], [9, 0], [0, 9]] * 2, float)
    depths = np.array([2, 2, 2, 1, 1, 1], float)
    fragments = raster.rasterize(points, depths, np.array([[0, 1, 2], [3, 4, 5]]), 9, 9)
    assert set(np.unique(fragments.face)) == {-1, 1}
    assert np.allclose(fragments.depth[fragments.face == 1], 1)


def test_triangles_behind_the_camera_degenerate_or_out_of_range_are_skipped(backend):
    points = np.array([[0, 0], [4, 0], [0, 4], [2, 2], [4, 4]], float)
    depths = np.array([1, 1, -1, 1, 1], float)
    faces = np.array([[0, 1, 2], [0, 3, 4], [0, 1, 99], [0, 1, -1]])
    assert (raster.rasterize(points, depths, faces, 4, 4).face == -1).all()


def test_both_implementations_agree(monkeypatch):
    if raster._native is None:
        pytest.skip("the native kernel is not built")
    rng = np.random.default_rng(0)
    points, depths = rng.uniform(-8, 40, (60, 2)), rng.uniform(0.5, 2, 60)
    faces = rng.integers(0, 60, (50, 3))
    native = raster.rasterize(points, depths, faces, 32, 24)
    monkeypatch.setattr(raster, "_native", None)
    plain = raster.rasterize(points, depths, faces, 32, 24)
    assert np.array_equal(native.face, plain.face)
    assert np.allclose(native.bary, plain.bary, atol=1e-6)
    assert np.allclose(native.depth, plain.depth, rtol=1e-6)


def test_a_projected_vertex_lands_on_its_pixel(backend):
    camera = Camera(100.0, 16.0, 12.0, 32, 24)
    vertices = np.array([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1]])
    fragments = raster.rasterize_mesh(vertices, np.array([[0, 1, 2]]), camera)
    x, y = project(vertices[0], camera)
    assert fragments.face[int(y), int(x)] == 0
    assert fragments.bary[int(y), int(x), 0] > 0.8


def test_interpolate_follows_the_vertices(backend):
    points = np.array([[0, 0], [8, 0], [0, 8]], float)
    faces = np.array([[0, 1, 2]])
    fragments = raster.rasterize(points, np.ones(3), faces, 8, 8)
    values = raster.interpolate(fragments, faces, points)
    ys, xs = np.nonzero(fragments.face >= 0)
    assert np.allclose(values, np.stack([xs + 0.5, ys + 0.5], -1), atol=1e-5)
