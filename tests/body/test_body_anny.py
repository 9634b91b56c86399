from pathlib import Path

import numpy as np
import pytest

from gswap.body.lbs import SkinWeights, chain, skin
from gswap.body.models import load_body
from gswap.body.models.anny import PHENOTYPES, load_anny
from gswap.body.shapes import STEP, pack_dense, pack_sparse, unpack_dense, unpack_sparse
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import IRIS_LEFT, IRIS_RIGHT, LIPS_INNER_LOWER, LIPS_INNER_UPPER
from gswap.foundation.types import BodyShape, BodyTrack

SAMPLES = Path(__file__).parent / "data/anny_samples.npz"
TENTH_OF_A_MILLIMETRE = 1e-4


@pytest.fixture(scope="module")
def model():
    return load_body("anny")


@pytest.fixture(scope="module")
def samples():
    with np.load(SAMPLES, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def track_of(model, rng=None, **changes):
    rng = rng or np.random.default_rng(0)
    fields = dict(
        shape=model.neutral_shape(),
        focal=np.array([1000.0]),
        rotation=rng.normal(0, 0.2, (1, 3)),
        translation=np.array([[0.02, -0.03, 0.8]]),
        neck=rng.normal(0, 0.1, (1, 3)),
        eyes=np.zeros((1, 2, 3)),
        actions=np.zeros((1, len(model.action_names))),
        valid=np.ones(1, bool),
        confidence=np.ones(1),
        residual=np.zeros(1),
        sizes=np.array([[512, 512]]),
    )
    return BodyTrack(**{**fields, **changes})


def person(model, samples, i):
    shape = np.concatenate([samples["phenotypes"][i], samples["local"][i]])
    return BodyShape(model.name, shape, np.zeros_like(model.neutral_shape().offsets))


@pytest.mark.parametrize("i", range(4))
def test_people_equal_annys_own(model, samples, i):
    assert tuple(samples["phenotype_names"]) == PHENOTYPES
    rest = model.rest(person(model, samples, i))
    vertices = rest.vertices + model.actions.combine(samples["actions"][i])
    at = samples["vertices"]
    assert np.linalg.norm(vertices[at] - samples["rest"][i], axis=1).max() < TENTH_OF_A_MILLIMETRE
    assert np.linalg.norm(rest.joints - samples["joints"][i], axis=1).max() < TENTH_OF_A_MILLIMETRE
    rotations = rotvec_to_matrix(samples["rotations"][i])
    posed = skin(vertices, rest.joints, model.bone_parents, model.skin_weights, rotations)
    assert np.linalg.norm(posed[at] - samples["posed"][i], axis=1).max() < TENTH_OF_A_MILLIMETRE


@pytest.mark.slow
def test_random_people_equal_a_live_anny(model):
    anny = pytest.importorskip("anny")
    import torch

    live = anny.Anny(phenotypes="all", local_changes="all", facial_actions="all").to(torch.float32)
    rng = np.random.default_rng(5)
    phenotypes = dict(zip(PHENOTYPES, rng.uniform(0.4, 0.9, 9), strict=True))
    local = dict(zip(model.local_names, rng.uniform(-0.5, 0.5, len(model.local_names)), strict=True))
    values = {**phenotypes, "cupsize": 0.5, "firmness": 0.5}
    coefficients = live._get_phenotype_blendshape_coefficients(
        torch.tensor([[values[n] for n in live.phenotype_labels]], dtype=torch.float32),
        torch.tensor([[local.get(n, 0.0) for n in live.local_change_labels]], dtype=torch.float32),
        torch.zeros(1, len(live.facial_action_labels)),
    )
    theirs = live.get_rest_model(coefficients)["rest_vertices"][0].numpy() @ np.array(
        [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    )
    ours = model.rest(BodyShape("anny", model.coefficients(phenotypes, local), np.zeros((len(model.part), 3)))).vertices
    from scipy.spatial import KDTree

    assert KDTree(theirs).query(ours)[0].max() < TENTH_OF_A_MILLIMETRE


def test_parts_weights_and_regions(model):
    assert set(np.unique(model.part)) == {0, 1, 2, 3}
    rest = model.rest(model.neutral_shape())
    assert rest.vertices[model.part == 2, 0].mean() > 0 > rest.vertices[model.part == 3, 0].mean()
    total = model.head_weight + model.neck_weight + model.torso_weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    np.testing.assert_allclose(model.skin_weights.weights.sum(1), 1, atol=1e-5)
    assert model.head_weight[model.part > 0] == pytest.approx(1)
    for name, share in model.regions.items():
        assert 0 <= share.min() and share.max() <= 1 and 20 < (share > 0.5).sum() < 1500, name
    assert model.face_uv.shape == (len(model.faces), 3, 2) and 0 <= model.face_uv.min() <= model.face_uv.max() <= 1
    assert len(model.action_names) == 52


def test_loading_is_cached_and_names_are_checked(model):
    assert load_body("anny") is model is load_anny()
    with pytest.raises(UsageError, match="no body model 'smurf'"):
        load_body("smurf")
    with pytest.raises(UsageError, match="'beard'"):
        model.coefficients(local={"beard": 1})


def test_phenotype_weights_reach_the_corner_people(model):
    corner = model.coefficients({"gender": 1, "age": 1, "muscle": 0, "weight": 1, "height": 0, "proportions": 1})
    corner[PHENOTYPES.index("african") : PHENOTYPES.index("african") + 3] = (0, 0, 1)
    weights = model.phenotype_weights(corner[: len(PHENOTYPES)])
    index = np.ravel_multi_index((2, 1, 2, 0, 2, 0, 1), (3, 2, 3, 3, 3, 2, 2))
    np.testing.assert_allclose(weights, model._states[index])


def test_the_head_is_where_the_track_puts_it(model):
    track = track_of(model)
    rest = model.rest(track.shape)
    posed = model.pose(track, rest, 0).vertices
    rigid = model.head_weight > 0.9999
    expected = (rest.vertices - rest.joints[model.head_joint]) @ rotvec_to_matrix(track.rotation[0]).T
    assert rigid.sum() > 1500
    np.testing.assert_allclose(posed[rigid], (expected + track.translation[0])[rigid], atol=1e-6)


def test_without_a_neck_rotation_the_whole_body_is_rigid(model):
    track = track_of(model, neck=np.zeros((1, 3)))
    rest = model.rest(track.shape)
    expected = (rest.vertices - rest.joints[model.head_joint]) @ rotvec_to_matrix(track.rotation[0]).T
    np.testing.assert_allclose(model.pose(track, rest, 0).vertices, expected + track.translation[0], atol=1e-9)


def test_the_neck_turns_the_torso_by_the_stated_rotation(model):
    track = track_of(model)
    rest = model.rest(track.shape)
    torso = model.torso_weight > 0.9999
    linear = model.pose(track, rest, 0).linear[torso]
    torso_turn = rotvec_to_matrix(track.rotation[0]) @ rotvec_to_matrix(track.neck[0]).T
    np.testing.assert_allclose(linear, np.broadcast_to(torso_turn, linear.shape), atol=1e-6)


def test_linear_part_is_the_derivative_of_the_pose(model):
    rng = np.random.default_rng(1)
    track = track_of(model, rng, eyes=rng.normal(0, 0.2, (1, 2, 3)), actions=rng.uniform(0, 1, (1, 52)))
    rest = model.rest(track.shape)
    push = rng.normal(0, 1e-3, rest.vertices.shape)
    posed = model.pose(track, rest, 0)
    moved = model.pose(track, type(rest)(rest.vertices + push, rest.joints), 0)
    np.testing.assert_allclose(moved.vertices - posed.vertices, np.einsum("vij,vj->vi", posed.linear, push), atol=1e-9)


def test_gaze_turns_the_eyeballs_only_and_actions_never_move_them(model):
    still = track_of(model)
    eyes = np.zeros((1, 2, 3))
    eyes[0, 0] = [0.1, 0.2, 0]
    rest = model.rest(still.shape)
    base = model.pose(still, rest, 0).vertices
    looking = model.pose(track_of(model, eyes=eyes), rest, 0).vertices
    right = model.part == 3
    np.testing.assert_allclose(looking[~right], base[~right], atol=1e-3, err_msg="lids follow by their weights")
    assert np.linalg.norm(looking[right] - base[right], axis=1).max() > 2e-3
    centre = base[right].mean(0)
    np.testing.assert_allclose(
        np.linalg.norm(looking[right] - centre, axis=1), np.linalg.norm(base[right] - centre, axis=1), atol=1e-3
    )
    acting = model.pose(track_of(model, actions=np.ones((1, 52))), rest, 0).vertices
    np.testing.assert_allclose(acting[model.part >= 2], base[model.part >= 2], atol=1e-12)
    look_up = np.zeros((1, 52))
    look_up[0, model.action_names.index("eyeLookUpRight")] = 1
    assert np.abs(model.pose(track_of(model, actions=look_up), rest, 0).vertices - base).max() > 1e-4


def test_landmark_map(model):
    rest = model.rest(model.neutral_shape())
    points = (rest.vertices[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)
    np.testing.assert_allclose(model.landmark_barycentric.sum(1), 1, atol=1e-5)
    parts = model.part[model.landmark_triangles]
    assert (parts[:468] == 0).all() and (parts[list(IRIS_RIGHT)] == 3).all() and (parts[list(IRIS_LEFT)] == 2).all()
    for right, left in ((33, 263), (133, 362), (61, 291), (234, 454), (468, 473)):
        np.testing.assert_allclose(points[right] * [-1, 1, 1], points[left], atol=1.5e-3)
    for upper, lower in zip(LIPS_INNER_UPPER[3:-3], LIPS_INNER_LOWER[3:-3], strict=True):
        assert points[upper, 1] < points[lower, 1], "y points down: the upper lip is above"
    jaw = np.zeros(52)
    jaw[model.action_names.index("jawOpen")] = 1
    opened = (
        (rest.vertices + model.actions.combine(jaw))[model.landmark_triangles] * model.landmark_barycentric[..., None]
    ).sum(1)
    assert opened[14, 1] - points[14, 1] > 0.02 and abs(opened[13, 1] - points[13, 1]) < 0.005
    assert np.median(model.landmark_spread) < 3e-3


def test_a_chain_of_two_joints_in_closed_form():
    joints = np.array([[0.0, 0, 0], [0, 1, 0]])
    quarter = rotvec_to_matrix([0, 0, np.pi / 2])
    transforms = chain(joints, (-1, 0), np.stack([quarter, quarter]))
    tip = np.array([0.0, 2, 0])
    np.testing.assert_allclose(transforms[1, :, :3] @ tip + transforms[1, :, 3], [-1, -1, 0], atol=1e-12)
    weights = SkinWeights(np.array([[0, 1]]), np.array([[0.5, 0.5]]))
    both = skin(tip[None], joints, (-1, 0), weights, np.stack([quarter, quarter]))
    np.testing.assert_allclose(both, [[-1.5, -0.5, 0]], atol=1e-12)


def test_quantised_shapes_come_back():
    rng = np.random.default_rng(0)
    shapes = rng.normal(0, 0.01, (5, 40, 3)) * (rng.random((5, 40, 1)) < 0.3)
    shapes[2] *= 50
    back = unpack_sparse(pack_sparse(shapes), 40)
    assert np.abs(back.dense() - shapes).max() < 3e-5
    assert np.abs(back.dense()[0] - shapes[0]).max() <= STEP
    weights = rng.normal(size=5)
    np.testing.assert_allclose(back.combine(weights), np.tensordot(weights, back.dense(), 1), atol=1e-12)
    dense = rng.normal(0, 0.02, (3, 60))
    assert np.abs(unpack_dense(pack_dense(dense)) - dense).max() <= STEP
