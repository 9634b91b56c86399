"""The start of dM: the skull lifted to the outline of the hair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.field.geometry import extend_mesh
from gswap.field.surface import head_surface
from gswap.foundation.geometry import project
from gswap.foundation.types import Camera
from gswap.portrait.outline import HeadPicture, outline_offsets, stretch

CAMERA = Camera(680, 128, 128, 256, 256)


@pytest.fixture(scope="module")
def surface(scene):
    return head_surface(scene.model, scene.track.shape)


def skull(scene, surface, grow: float) -> np.ndarray:
    """Matte of the skull, ``grow`` times as large around its centre, in frame 2."""
    on_head = (surface.head_weight > 0.5) & (np.arange(len(surface.vertices)) < surface.teeth_start)
    posed, _ = extend_mesh(surface, scene.model.pose(scene.track, scene.model.rest(scene.track.shape), 2))
    pixels = project(posed[on_head], CAMERA)
    hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
    middle = project(posed[on_head].mean(0)[None], CAMERA)[0]
    matte = np.zeros((256, 256), np.uint8)
    cv2.fillConvexPoly(matte, np.round(middle + grow * (hull - middle)).astype(np.int32), (255,))
    return matte


def test_hair_lifts_the_skull_and_leaves_the_face(scene, surface):
    picture = HeadPicture(2, skull(scene, surface, 1.25), CAMERA)
    offsets = outline_offsets(surface, scene.model, scene.track, [picture])
    top = surface.vertices[:, 1].argmin()
    radius = np.linalg.norm(surface.vertices[top] - surface.vertices[surface.head_weight > 0.5].mean(0))
    assert 0.1 * radius < np.linalg.norm(offsets[top]) < 0.35 * radius
    corners = np.asarray(surface.vertices)[:, 2]
    face = np.argsort(corners)[:100]  # the nose and around it
    assert np.linalg.norm(offsets[face], axis=1).max() < 1e-3
    assert np.linalg.norm(offsets[surface.teeth_start :], axis=1).max() == 0
    assert stretch(surface, offsets).max() > 1.1


def test_a_bald_head_stays_as_it_is(scene, surface):
    offsets = outline_offsets(surface, scene.model, scene.track, [HeadPicture(2, skull(scene, surface, 0.97), CAMERA)])
    assert np.linalg.norm(offsets, axis=1).max() < 4e-3
