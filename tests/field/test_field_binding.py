from __future__ import annotations

import numpy as np
import pytest

from gswap.field.binding import SPACING_RANGE, bind
from gswap.field.surface import (
    EYE_LEFT,
    EYE_RIGHT,
    TEETH_LOWER,
    TEETH_UPPER,
    Surface,
    face_frames,
    face_quaternions,
)
from gswap.foundation.geometry import quaternion_to_matrix

TEXELS = 128


@pytest.fixture(scope="module")
def binding(surface):
    return bind(surface, TEXELS)


def test_barycentric_coordinates_add_up_and_stay_inside(binding):
    np.testing.assert_allclose(binding.bary.sum(1), 1, atol=1e-6)
    assert binding.bary.min() >= 0


def test_texels_map_back_to_their_centres(surface, binding):
    uv = (surface.face_uv[binding.face] * binding.bary[..., None]).sum(1)
    texels = np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * TEXELS
    centroid = np.isclose(binding.bary, 1 / 3).all(1)
    eye = np.isin(surface.face_part[binding.face], (EYE_LEFT, EYE_RIGHT))
    on_map = texels[~centroid & ~eye]
    assert len(on_map) > 2000
    np.testing.assert_allclose(on_map % 1, 0.5, atol=2e-3)


def test_every_face_of_some_size_has_a_gaussian(surface, binding):
    _, area = face_frames(surface.vertices, surface.faces)
    bare = np.setdiff1d(np.flatnonzero(area > 2e-7), binding.face)
    assert len(bare) == 0


def test_eyes_and_teeth_are_covered(surface, binding):
    part = surface.face_part[binding.face]
    for eye in (EYE_LEFT, EYE_RIGHT):
        assert (part == eye).sum() == 6 * (surface.face_part == eye).sum() > 500
    for teeth in (TEETH_UPPER, TEETH_LOWER):
        assert (part == teeth).sum() == (surface.face_part == teeth).sum() == 322


def test_gaussians_of_a_face_share_its_area(surface, binding):
    _, area = face_frames(surface.vertices, surface.faces)
    count = np.bincount(binding.face, minlength=len(area))
    low, high = np.float32(SPACING_RANGE[0]), np.float32(SPACING_RANGE[1])
    assert binding.spacing.min() >= low and binding.spacing.max() <= high
    free = (binding.spacing > low) & (binding.spacing < high)
    assert free.mean() > 0.8
    np.testing.assert_allclose((binding.spacing**2 * count[binding.face])[free], area[binding.face][free], rtol=1e-4)


def test_a_finer_map_has_more_gaussians(surface, binding):
    assert len(bind(surface, 2 * TEXELS)) > 1.4 * len(binding)


def test_seed_decides_the_points_on_the_eyes(surface, binding):
    same, other = bind(surface, TEXELS), bind(surface, TEXELS, seed=1)
    np.testing.assert_array_equal(same.bary, binding.bary)
    assert (other.bary != binding.bary).any()


def test_teeth_stand_behind_the_lips_and_face_forward(model, surface: Surface):
    lips = surface.vertices[: surface.teeth_start][model.regions["lips"][surface.body_vertices] > 0.5]
    upper = surface.vertices[surface.teeth_start : surface.lower_teeth_start]
    lower = surface.vertices[surface.lower_teeth_start :]
    assert upper[:, 2].min() > lips[:, 2].min()  # farther from the camera than the front of the lips
    assert upper[:, 1].mean() < lower[:, 1].mean()  # y points down
    assert lips[:, 0].min() < upper[:, 0].min() and upper[:, 0].max() < lips[:, 0].max()
    frames, _ = face_frames(surface.vertices, surface.faces[surface.face_part >= TEETH_UPPER])
    assert (frames[:, 2, 1] < 0).all()


def test_normals_of_the_skull_point_outwards(surface):
    skull = np.isin(surface.faces, surface.upper_anchors).all(1)
    frames, area = face_frames(surface.vertices, surface.faces[skull])
    centre = surface.vertices[surface.faces[skull]].mean(1)
    outward = ((centre - surface.vertices[surface.upper_anchors].mean(0)) * frames[:, :, 1]).sum(1)
    assert (area * np.sign(outward)).sum() > 0.5 * area.sum()


def test_face_frames_are_rotations():
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(30, 3)), rng.integers(0, 30, (40, 3))
    faces = faces[[len(set(f)) == 3 for f in faces.tolist()]]
    frames, area = face_frames(vertices, faces)
    np.testing.assert_allclose(frames.transpose(0, 2, 1) @ frames, np.broadcast_to(np.eye(3), frames.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    np.testing.assert_allclose(quaternion_to_matrix(face_quaternions(frames)), frames, atol=1e-12)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    np.testing.assert_allclose(area, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def test_degenerate_face_has_the_identity():
    frames, area = face_frames(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(frames[0], np.eye(3))
    assert area[0] == 0
