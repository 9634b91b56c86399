from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gswap.body.models.anny import AnnyModel, load_anny
from gswap.body.moves import LARGEST, follow_landmarks, landmark_spread
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import EYE_LEFT, LIPS_INNER_LOWER, LIPS_INNER_UPPER
from gswap.foundation.store import read_body_track, write_body_track
from gswap.foundation.types import BodyTrack, Shot

FRAMES, FOCAL, SIDE = 8, 900.0, 512
UPPER, LOWER = list(LIPS_INNER_UPPER[3:8]), list(LIPS_INNER_LOWER[3:8])


@pytest.fixture(scope="module")
def model() -> AnnyModel:
    return load_anny()


@pytest.fixture
def track(model) -> BodyTrack:
    phase = np.linspace(-1, 1, FRAMES)
    return BodyTrack(
        shape=model.neutral_shape(),
        focal=np.full(FRAMES, FOCAL),
        rotation=np.stack([0.1 * phase, 0.4 * phase, 0.05 * phase], 1),
        translation=np.tile([0.02, 0.01, 0.9], (FRAMES, 1)),
        neck=np.zeros((FRAMES, 3)),
        eyes=np.zeros((FRAMES, 2, 3)),
        actions=np.zeros((FRAMES, len(model.action_names))),
        valid=np.ones(FRAMES, bool),
        confidence=np.ones(FRAMES),
        residual=np.zeros(FRAMES),
        sizes=np.tile([SIDE, SIDE], (FRAMES, 1)),
    )


def points_of(model, track) -> np.ndarray:
    rest = model.rest(track.shape)
    meshes = np.stack([model.pose(track, rest, t).vertices for t in range(len(track))])
    return (meshes[:, model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(2)


def landmarks_of(model, track) -> np.ndarray:
    points = points_of(model, track)
    return points[..., :2] / points[..., 2:] * FOCAL + SIDE / 2


def smiling(track) -> BodyTrack:
    """The lower lip falls by up to 3 mm, the upper one stays; in two images of eight."""
    moves = np.zeros((FRAMES, 468, 3))
    moves[3:5, LOWER, 1] = 0.003
    return dataclasses.replace(track, moves=moves)


def test_landmarks_go_where_they_are_told(model, track):
    wanted = landmarks_of(model, smiling(track))
    found = follow_landmarks(track, wanted, np.ones(FRAMES, bool), model)
    before = np.abs(landmarks_of(model, track) - wanted)[3:5][:, LOWER].max()
    assert np.abs(landmarks_of(model, found) - wanted)[3:5][:, LOWER].max() < 0.35 * before


def test_what_moves_the_lower_lip_leaves_the_upper_one(model, track):
    shift = points_of(model, smiling(track))[3] - points_of(model, track)[3]
    lower, upper = (np.linalg.norm(shift[rows], axis=1).mean() for rows in (LOWER, UPPER))
    assert lower > 1e-3 and upper < 0.2 * lower


def test_moves_turn_with_the_head(model, track):
    moves = np.zeros((FRAMES, 468, 3))
    moves[:] = [0.001, 0.002, -0.001]
    shift = points_of(model, dataclasses.replace(track, moves=moves)) - points_of(model, track)
    turned = rotvec_to_matrix(track.rotation) @ [0.001, 0.002, -0.001]
    np.testing.assert_allclose(shift[:, 1], turned, atol=1e-4)  # the tip of the nose is all head


def test_an_eyeball_moves_with_its_lids(model, track):
    moves = np.zeros((FRAMES, 468, 3))
    moves[:, list(EYE_LEFT), 0] = 0.002
    rest = model.rest(track.shape)
    shift = model.pose(dataclasses.replace(track, moves=moves), rest, 0).vertices - model.pose(track, rest, 0).vertices
    np.testing.assert_allclose(np.linalg.norm(shift[model.part == 2], axis=1), 0.002, atol=1e-9)
    np.testing.assert_allclose(shift[model.part == 3], 0, atol=1e-12)
    np.testing.assert_allclose(shift[model.part == 1], 0, atol=1e-12)


def test_a_constant_difference_is_no_move(model, track):
    constant = np.zeros((468, 3))
    constant[LOWER, 1] = 0.003
    offsets = landmark_spread(model)(constant, len(model.part))
    other = dataclasses.replace(track, shape=dataclasses.replace(track.shape, offsets=offsets))
    moved = follow_landmarks(track, landmarks_of(model, other), np.ones(FRAMES, bool), model)
    assert np.abs(landmarks_of(model, other) - landmarks_of(model, track)).max() > 2
    assert np.abs(moved.moves).max() < 3e-4


def test_distrusted_images_take_their_neighbours_moves_and_no_outlier_goes_far(model, track):
    wanted = landmarks_of(model, smiling(track))
    wanted[3] = np.nan
    wanted[4, LOWER] += 500
    trusted = np.ones(FRAMES, bool)
    trusted[0] = False
    moved = follow_landmarks(track, wanted, trusted, model)
    assert np.isfinite(moved.moves).all()
    assert np.linalg.norm(moved.moves, axis=-1).max() <= LARGEST * 1.001
    np.testing.assert_array_equal(moved.moves[0], moved.moves[1])
    np.testing.assert_array_equal(moved.moves[3], moved.moves[2])


def test_repeated_images_stand_still_and_cuts_separate(model, track):
    wanted = landmarks_of(model, smiling(track))
    duplicate = np.zeros(FRAMES, bool)
    duplicate[[4, 5]] = True
    shots = (Shot(0, 5), Shot(5, FRAMES))
    moved = follow_landmarks(
        track, wanted, np.ones(FRAMES, bool), model, duplicate=duplicate, shots=shots, sigma=1.0
    ).moves
    np.testing.assert_array_equal(moved[4], moved[3])
    assert np.abs(moved[5] - moved[4]).max() > 1e-4, "the first image of a shot repeats nothing"
    assert np.abs(moved[5:, LOWER]).max() < 1e-4, "nothing leaks across the cut"


def test_without_a_face_nothing_moves(model, track):
    moved = follow_landmarks(track, np.full((FRAMES, 478, 2), np.nan), np.ones(FRAMES, bool), model)
    np.testing.assert_array_equal(moved.moves, 0)
    with pytest.raises(UsageError):
        follow_landmarks(track, np.zeros((FRAMES - 1, 478, 2)), np.ones(FRAMES, bool), model)


def test_moves_are_stored_with_the_track(model, track, tmp_path):
    write_body_track(tmp_path / "a", smiling(track))
    write_body_track(tmp_path / "b", track)
    np.testing.assert_array_equal(read_body_track(tmp_path / "a").moves, smiling(track).moves)
    assert read_body_track(tmp_path / "b").moves is None


def test_all_landmarks_together_move_the_face_as_a_whole(model):
    everywhere = landmark_spread(model)(np.tile([1.0, 0, 0], (468, 1)), len(model.part))[:, 0]
    near = np.unique(model.landmark_triangles[:468])
    assert np.median(everywhere[near]) > 0.98
    assert np.abs(everywhere[model.torso_weight > 0.5]).max() < 1e-6
