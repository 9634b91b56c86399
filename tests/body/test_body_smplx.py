"""SMPL-X from a file with the same keys and kinds of arrays; its geometry is Anny's, since the real one is not ours."""

from dataclasses import replace

import numpy as np
import pytest

from gswap.body.config import FitConfig
from gswap.body.fit import fit_track
from gswap.body.models import load_body
from gswap.body.models.smplx import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, SmplxPose
from gswap.foundation.errors import InputError, MissingInputError, UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.types import BodyTrack, FaceTrack

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
PARENTS += [20 if k % 3 == 0 else 24 + k for k in range(15)] + [21 if k % 3 == 0 else 39 + k for k in range(15)]
FLIP = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    anny = load_body("anny")
    rest = anny.rest(anny.neutral_shape())
    count = len(rest.vertices)
    rng = np.random.default_rng(0)
    bones = {"head": HEAD, "eye.L": LEFT_EYE, "eye.R": RIGHT_EYE, "neck01": NECK, "neck02": NECK, "neck03": NECK}
    bones |= {"upperarm01.L": 16, "upperarm01.R": 17, "clavicle.L": 13, "clavicle.R": 14}
    dense = anny.skin_weights.dense(len(anny.bone_names))
    weights = np.zeros((count, 55))
    for k, bone in enumerate(anny.bone_names):
        weights[:, bones.get(bone, 9)] += dense[:, k]
    actions = anny.actions.dense()
    jaw = np.clip(np.linalg.norm(actions[anny.action_names.index("jawOpen")], axis=1) / 0.03, 0, 1) * weights[:, HEAD]
    weights[:, HEAD] -= jaw
    weights[:, JAW] += jaw
    regressor = np.zeros((55, count))
    for joint, bone in {
        HEAD: "head",
        NECK: "neck02",
        LEFT_EYE: "eye.L",
        RIGHT_EYE: "eye.R",
        16: "upperarm01.L",
        17: "upperarm01.R",
    }.items():
        near = np.argsort(np.linalg.norm(rest.vertices - rest.joints[anny.bone_names.index(bone)], axis=1))[:30]
        regressor[joint, near] = 1 / 30
    regressor[regressor.sum(1) == 0, :20] = 1 / 20
    regressor[JAW] = regressor[HEAD]
    shapedirs = np.zeros((count, 3, 400))
    for k, name in enumerate(("chin-width-incr", "nose-scale-horiz-incr", "mouth-scale-horiz-incr")):
        shapedirs[:, :, k] = 0.4 * anny.local_shapes([name])[0, 0, :count] @ FLIP
    for k, name in enumerate(("mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker")):
        shapedirs[:, :, 300 + k] = 0.4 * actions[anny.action_names.index(name)] @ FLIP
    path = tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz"
    uv = anny.face_uv.reshape(-1, 2)
    np.savez(
        path,
        v_template=rest.vertices @ FLIP,
        shapedirs=shapedirs,
        posedirs=rng.normal(0, 1e-4, (count, 3, 486)),
        J_regressor=regressor,
        weights=weights,
        kintree_table=np.array([[2**32 - 1, *PARENTS[1:]], range(55)]),
        f=anny.faces.astype(np.uint32),
        vt=uv,
        ft=np.arange(len(uv)).reshape(-1, 3),
        hands_meanl=np.zeros(45),
        lmk_faces_idx=np.zeros(51, int),
        joint2num=np.array({"Pelvis": 0}, dtype=object),
        part2num=np.array({"pelvis": 0}, dtype=object),
    )
    np.savez(
        path.with_suffix(".landmarks.npz"),
        triangles=anny.landmark_triangles,
        barycentric=anny.landmark_barycentric,
        spread=anny.landmark_spread,
    )
    return path


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
