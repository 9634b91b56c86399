"""ArcFace's alignment and normalisation as published, on a tiny network of its signature."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

import cv2
from tiny_onnx import save, tiny_arcface

from gswap.foundation.errors import WeightsError
from gswap.foundation.landmarks import FIVE_POINTS
from gswap.perception.adapters.arcface import DLIB_LENGTH, SIDE, TEMPLATE, ArcFace, align

PUBLISHED = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]


def landmarks_of(points: np.ndarray) -> np.ndarray:
    found = np.full((478, 3), np.nan)
    found[list(FIVE_POINTS), :2] = points
    return found


def noise(height: int, width: int, block: int = 8) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (height // block, width // block, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny_arcface(tmp_path_factory.mktemp("arcface") / "net.onnx")


def test_the_template_is_the_published_one():
    assert TEMPLATE.tolist() == PUBLISHED and SIDE == 112


def test_a_face_in_the_template_is_left_alone():
    image = noise(112, 112)
    assert (align(image, landmarks_of(TEMPLATE + 0.5)) == image).all()


@pytest.mark.parametrize(
    ("scale", "angle", "shift"), [(1.0, 0.0, (30, 12)), (1.7, 0.3, (60, 40)), (0.8, -0.5, (90, 90))]
)
def test_alignment_undoes_a_similarity(scale, angle, shift):
    """Alignment takes the template's points from where a known similarity put them."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = noise(400, 400, 16)
    points = TEMPLATE @ turn.T + shift
    found = align(image, landmarks_of(points + 0.5))
    ys, xs = np.mgrid[:112, :112].astype(np.float32)
    at = np.stack([xs, ys], -1) @ turn.T + shift
    truth = cv2.remap(image, at[..., 0].astype(np.float32), at[..., 1].astype(np.float32), cv2.INTER_LINEAR)
    assert np.abs(found.astype(int) - truth).mean() < 0.7


def test_large_faces_are_averaged():
    image = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    found = align(image, landmarks_of(TEMPLATE * 10 + 0.5))
    assert found[5:-5, 5:-5].std() < 30, "noise averages out"
    gradient = np.repeat(np.linspace(0, 255, 1120).astype(np.uint8)[None, :, None], 1120, 0).repeat(3, 2)
    found = align(gradient, landmarks_of(TEMPLATE * 10 + 5.0))
    expected = (np.arange(112) * 10 + 5.0) * 255 / 1120
    assert np.abs(found[50, 5:-5, 0] - expected[5:-5]).max() < 2.0, "and nothing is shifted"


def test_the_network_sees_rgb_minus_127_5_over_127_5(network):
    embed = ArcFace(network)
    face = noise(112, 112)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(147, 512)).astype(np.float32)
    means = ((face.astype(np.float32) - 127.5) / 127.5).reshape(7, 16, 7, 16, 3).mean((1, 3)).transpose(2, 0, 1)
    truth = means.reshape(-1) @ weights
    np.testing.assert_allclose(embed.embed_aligned(face), truth / np.linalg.norm(truth), atol=1e-5)
    swapped = embed.embed_aligned(np.ascontiguousarray(face[..., ::-1]))
    assert np.abs(swapped - embed.embed_aligned(face)).max() > 1e-2, "the order of the channels matters"


def test_vectors_have_the_length_that_was_asked_for(network):
    image, points = noise(200, 200), landmarks_of(TEMPLATE + 40)
    one, half = ArcFace(network)(image, points), ArcFace(network, length=DLIB_LENGTH)(image, points)
    assert one.shape == (512,) and np.linalg.norm(one) == pytest.approx(1.0)
    np.testing.assert_allclose(half, one * DLIB_LENGTH)
    cosine = 0.28  # customary border between one person and two
    assert np.sqrt(2 - 2 * cosine) * DLIB_LENGTH == pytest.approx(0.6, abs=0.01)


def test_other_networks_are_refused(tmp_path):
    from onnx import helper

    save(
        tmp_path / "x.onnx", [helper.make_node("Relu", ["a"], ["b"])], {"a": (1, 3, 64, 64)}, {"b": (1, 3, 64, 64)}, []
    )
    with pytest.raises(WeightsError, match="3x112x112"):
        ArcFace(tmp_path / "x.onnx")
