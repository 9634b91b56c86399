"""The drawing is MediaPipe's own, the prompt is Arc2Face's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.foundation.errors import ConfigError
from gswap.swap.diffusion.conditions import PROMPT, draw_hint, mean_identity


@pytest.fixture(scope="module")
def landmarks():
    """A face-like set of points that fills the picture."""
    from gswap.body.models import load_body

    model = load_body("anny")
    rest = model.rest(model.neutral_shape()).vertices
    points = (rest[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)[:, :2]
    low, high = points.min(0), points.max(0)
    return (points - low) / (high - low).max() * 380 + 60.3


def test_the_drawing_is_the_one_that_mediapipe_makes(landmarks):
    import mediapipe as mp
    from mediapipe.framework.formats import landmark_pb2

    mesh, draw = mp.solutions.face_mesh, mp.solutions.drawing_utils
    blue_green_red = [
        (mesh.FACEMESH_FACE_OVAL, (10, 200, 10)),
        (mesh.FACEMESH_LEFT_EYE, (180, 200, 10)),
        (mesh.FACEMESH_LEFT_EYEBROW, (180, 220, 10)),
        (mesh.FACEMESH_RIGHT_EYE, (10, 200, 180)),
        (mesh.FACEMESH_RIGHT_EYEBROW, (10, 220, 180)),
        (mesh.FACEMESH_LIPS, (10, 180, 10)),
    ]
    image = np.zeros((512, 512, 3), np.uint8)
    found = landmark_pb2.NormalizedLandmarkList(
        landmark=[landmark_pb2.NormalizedLandmark(x=x / 512, y=y / 512, z=0) for x, y in landmarks]
    )
    for edges, colour in blue_green_red:
        style = draw.DrawingSpec(color=colour, thickness=2, circle_radius=1)
        draw.draw_landmarks(image, found, list(edges), None, style)
    for index, colour in ((468, (10, 200, 250)), (473, (250, 200, 10))):
        x, y = (int(v) for v in landmarks[index])
        image[y - 2 : y + 2, x - 2 : x + 2] = colour
    ours = draw_hint(landmarks, 512)
    assert (ours > 0).any(-1).sum() > 2000
    differs = (ours != image[..., ::-1]).any(-1)
    assert differs.mean() < 1e-4  # a set's order decides which line is above where two meet


def test_points_outside_the_picture_are_left_out(landmarks):
    shifted = landmarks + np.array([300.0, 0])
    assert not draw_hint(shifted, 512)[:, :300].any()
    assert not draw_hint(landmarks + 1000, 512).any()


def test_the_mean_identity_is_a_direction():
    vectors = np.array([[2.0, 0, 0], [0, 5.0, 0]])
    assert np.allclose(mean_identity(vectors), [0.5**0.5, 0.5**0.5, 0])


def test_the_identity_takes_the_place_of_one_word(generator):
    identity = np.random.default_rng(0).normal(size=512)
    encoder, tokenizer = generator.text_encoder, generator.tokenizer
    tokens = tokenizer(PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    word = tokenizer.encode("id", add_special_tokens=False)
    layer = encoder.get_input_embeddings()
    kept = layer.weight.detach().clone()
    try:
        with torch.no_grad():
            layer.weight[word[0]] = torch.from_numpy(identity / np.linalg.norm(identity)).float()
        expected = encoder(tokens)[0]
    finally:
        with torch.no_grad():
            layer.weight.copy_(kept)
    assert torch.allclose(generator.prompt(identity), expected, atol=1e-5)
    assert torch.equal(generator.prompt(3 * identity), generator.prompt(identity))
    assert not layer._forward_hooks
    assert not torch.allclose(generator.null_prompt(), expected, atol=1e-2)


def test_a_short_vector_is_padded_with_zeros(generator):
    short = np.random.default_rng(0).normal(size=100)
    long = np.concatenate([short, np.zeros(412)])
    assert torch.allclose(generator.prompt(short), generator.prompt(long), atol=1e-6)


def test_a_vector_that_does_not_fit_is_refused(generator):
    with pytest.raises(ConfigError, match="at most 512"):
        generator.prompt(np.ones(600))
