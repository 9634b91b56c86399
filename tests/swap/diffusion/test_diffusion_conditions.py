"""The drawing is MediaPipe's own, the prompt is Arc2Face's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gswap.foundation.errors import ConfigError
from gswap.swap.diffusion.conditions import PROMPT, mean_identity
from gswap.swap.diffusion.drawings import DRAWINGS, FACE_70, draw_mediapipe_face, draw_openpose


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
    ours = draw_mediapipe_face(landmarks, 512)
    assert (ours > 0).any(-1).sum() > 2000
    differs = (ours != image[..., ::-1]).any(-1)
    assert differs.mean() < 1e-4  # a set's order decides which line is above where two meet


def test_points_outside_the_picture_are_left_out(landmarks):
    shifted = landmarks + np.array([300.0, 0])
    assert not draw_mediapipe_face(shifted, 512)[:, :300].any()
    assert not draw_mediapipe_face(landmarks + 1000, 512).any()


def openpose_by_the_book(shares):
    """OpenPose's drawing by its documented numbers, on keypoints in shares of the picture's width and height."""
    import math

    import cv2

    canvas = np.zeros((512, 512, 3), np.uint8)
    colours = {
        13: (85, 0, 255),
        14: (170, 0, 255),
        15: (255, 0, 255),
        16: (255, 0, 170),
        17: (255, 0, 85),
        0: (255, 0, 0),
    }
    joints = {0: 1, 14: 468, 15: 473, 16: 234, 17: 454}
    for colour, a, b in ((13, 0, 14), (14, 14, 16), (15, 0, 15), (16, 15, 17)):
        columns, rows = (np.array([shares[joints[k]][axis] for k in (a, b)]) * 512.0 for axis in (0, 1))
        length = math.hypot(rows[0] - rows[1], columns[0] - columns[1])
        angle = math.degrees(math.atan2(rows[0] - rows[1], columns[0] - columns[1]))
        middle = (int(columns.mean()), int(rows.mean()))
        outline = cv2.ellipse2Poly(middle, (int(length / 2), 4), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, outline, colours[colour])
    canvas = (canvas * 0.6).astype(np.uint8)
    for number in (0, 14, 15, 16, 17):
        x, y = shares[joints[number]]
        cv2.circle(canvas, (int(x * 512), int(y * 512)), 4, colours[number], thickness=-1)
    for index in FACE_70:
        x, y = shares[index]
        cv2.circle(canvas, (int(x * 512), int(y * 512)), 3, (255, 255, 255), thickness=-1)
    return canvas


def test_the_other_drawing_is_the_one_of_openpose(landmarks):
    ours, theirs = draw_openpose(landmarks, 512), openpose_by_the_book(landmarks / 512)
    assert np.array_equal(ours, theirs)
    assert (ours == 255).all(-1).sum() > 70 * 15


def test_openpose_has_seventy_points_in_their_order(landmarks):
    assert len(FACE_70) == 70 == len(set(FACE_70))
    points = landmarks[list(FACE_70)]
    mirrored = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    mirrored += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    mirrored += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65, 69, 68]
    axis = np.array([points[27, 0], 0])
    assert np.abs((points[mirrored] - axis) * (-1, 1) - (points - axis)).max() < 12
    assert points[8, 1] == points[:, 1].max(), "the chin"
    assert points[0, 0] < points[16, 0], "the person's right is on the left"


def test_an_ear_that_the_head_hides_is_left_out(landmarks):
    turned = landmarks.copy()
    turned[454] = landmarks[362]  # behind the left eye
    assert (draw_openpose(landmarks, 512) == (255, 0, 85)).all(-1).any()
    assert not (draw_openpose(turned, 512) == (255, 0, 85)).all(-1).any()
    assert (draw_openpose(turned, 512) == (255, 0, 170)).all(-1).any()
    assert not draw_openpose(landmarks + 1000, 512).any()


def test_every_controlnet_has_its_drawing():
    import typing

    from gswap.foundation.weights import CATALOGUE
    from gswap.pipeline.config import ControlNet

    choices = set(typing.get_args(ControlNet))
    assert choices == set(DRAWINGS)
    assert {f"controlnet-{name}" for name in choices} == {n for n, s in CATALOGUE.items() if s.part == "controlnet"}


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
