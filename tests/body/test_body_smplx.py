"""SMPL-X from a file with the same keys and kinds of arrays; its geometry is Anny's, since the real one is not ours."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_smplx import PARENTS, write_smplx

from gswap.body.config import FitConfig
from gswap.body.fit import fit_track
from gswap.body.models import load_body
from gswap.body.models.smplx import SmplxPose
from gswap.foundation.errors import InputError, MissingInputError, UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.types import BodyTrack, FaceTrack


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_smplx(tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz")


@pytest.fixture(scope="module")
def model(file):
    return load_body("smplx", file)


def test_files_are_read_without_pickle_and_refused_with_the_reason(file, tmp_path):
    with pytest.raises(MissingInputError, match=r"register at https://smpl-x\.is\.tue\.mpg\.de"):
        load_body("smplx", tmp_path / "SMPLX_MALE.npz")
    with pytest.raises(UsageError, match="needs its file"):
        load_body("smplx")
    alone = tmp_path / "SMPLX_FEMALE.npz"
    alone.write_bytes(file.read_bytes())
    with pytest.raises(MissingInputError, match=r"make_landmark_map\.py --smplx"):
        load_body("smplx", alone)
    (tmp_path / "SMPLX_FEMALE.landmarks.npz").write_bytes(file.with_suffix(".landmarks.npz").read_bytes())
    np.savez(alone, v_template=np.array({"no": "array"}, dtype=object))
    with pytest.raises(InputError, match="Expected the array 'shapedirs'"):
        load_body("smplx", alone)
    alone.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="plain arrays"):
        load_body("smplx", alone)


def test_the_forward_pass_against_a_plain_loop(model, file):
    rng = np.random.default_rng(2)
    pose = SmplxPose(
        *(rng.normal(0, 0.3, s) for s in (3, (21, 3), 3, (2, 3), (2, 15, 3))), translation=np.array([0.1, 0.2, 0.3])
    )
    betas, expression, delta = rng.normal(0, 1, 10), rng.normal(0, 1, 10), rng.normal(0, 1e-3, (len(model.part), 3))
    with np.load(file, allow_pickle=False) as archive:
        data = {k: archive[k] for k in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")}
    shaped = data["v_template"] + data["shapedirs"][..., :10] @ betas + data["shapedirs"][..., 300:310] @ expression
    joints = data["J_regressor"] @ shaped
    local = rotvec_to_matrix(
        np.concatenate([pose.global_orient[None], pose.body, pose.jaw[None], pose.eyes, pose.hands.reshape(30, 3)])
    )
    world = np.zeros((55, 4, 4))
    for k, parent in enumerate(PARENTS):
        own = np.eye(4)
        own[:3, :3] = local[k]
        own[:3, 3] = joints[k] - (joints[parent] if parent >= 0 else 0)
        world[k] = own if parent < 0 else world[parent] @ own
    vertices = shaped + data["posedirs"] @ (local[1:] - np.eye(3)).ravel() + delta
    expected = np.zeros_like(vertices)
    for k in range(55):
        moved = (vertices - joints[k]) @ world[k, :3, :3].T + world[k, :3, 3]
        expected += data["weights"][:, k : k + 1] * moved
    np.testing.assert_allclose(model.skinned(betas, expression, pose, delta), expected + pose.translation, atol=1e-6)


def test_offsets_turn_with_the_body(model):
    delta = np.tile([0.0, 0, 0.01], (len(model.part), 1))
    pose = replace(SmplxPose.rest(), global_orient=np.array([0, np.pi / 2, 0]))
    moved = model.skinned(np.zeros(1), np.zeros(1), pose, delta) - model.skinned(np.zeros(1), np.zeros(1), pose)
    np.testing.assert_allclose(moved, np.tile([0.01, 0, 0], (len(delta), 1)), atol=1e-6)


def track_of(model, count):
    wave = np.sin(np.linspace(0, 6, count))
    actions = np.zeros((count, len(model.action_names)))
    actions[:, model.action_names.index("jawOpen")] = 0.2 * (1 + wave)
    return BodyTrack(
        shape=model.neutral_shape(),
        focal=np.full(count, 1100.0),
        rotation=np.stack([0.1 * wave, 0.3 * wave[::-1], 0 * wave], -1),
        translation=np.tile([0.0, 0.0, 0.8], (count, 1)),
        neck=np.zeros((count, 3)),
        eyes=np.zeros((count, 2, 3)),
        actions=actions,
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        residual=np.zeros(count),
        sizes=np.full((count, 2), 500),
    )


def test_a_motion_is_recovered_through_the_same_protocol(model):
    truth = track_of(model, 10)
    rest = model.rest(truth.shape)
    points = np.zeros((10, 478, 3))
    for t in range(10):
        camera = (
            model.pose(truth, rest, t).vertices[model.landmark_triangles] * model.landmark_barycentric[..., None]
        ).sum(1)
        points[t, :, :2] = 1100 * camera[:, :2] / camera[:, 2:] + 250
    points[..., :2] += np.random.default_rng(0).normal(0, 0.3, (10, 478, 2))
    ones, none = np.ones(10, bool), np.zeros(10, bool)
    faces = FaceTrack(
        points,
        ones,
        ones.astype(float),
        none,
        none,
        np.zeros((10, 2, 3)),
        np.full((10, 128), np.nan),
        np.ones(10),
        (500, 500),
    )
    fit = fit_track(faces, model, FitConfig())
    turn = np.swapaxes(rotvec_to_matrix(truth.rotation), -1, -2) @ rotvec_to_matrix(fit.rotation)
    angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert np.median(angle) < 3 and angle.max() < 4, "this toy's jaw carries half the face, which looks like a nod"
    assert fit.residual.max() < 0.01
    jaw = model.action_names.index("jawOpen")
    assert np.abs(fit.actions[:, jaw] - truth.actions[:, jaw]).mean() < 0.08
