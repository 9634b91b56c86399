import numpy as np
import pytest

from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import project, rotvec_to_matrix
from gswap.foundation.raster import rasterize_mesh
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import clean_plate, make_scene

POSE = Pose(yaw=14, pitch=5, roll=-4, torso_yaw=6, shift=(0.01, 0, 0), gaze=(-8, 3), actions={"jawOpen": 0.4})
SIZE = 160


@pytest.fixture(scope="module")
def person():
    return make_person(40, glasses=True)


@pytest.fixture(scope="module")
def scene():
    return make_scene(5)


@pytest.fixture(scope="module")
def frame(person, scene):
    return render(person, POSE, scene, SIZE)


def test_same_inputs_same_bytes(person, scene, frame):
    again = render(person, POSE, scene, SIZE)
    assert again.rgb.tobytes() == frame.rgb.tobytes()
    assert again.masks.hair.tobytes() == frame.masks.hair.tobytes()


def test_masks_partition_the_person(frame):
    m = frame.masks
    total = m.head.astype(int) + m.neck + m.torso + m.clothes
    assert np.abs(total - m.person).max() <= 2  # each is rounded to 8 bits
    assert (m.hair <= m.head.astype(int) + 1).all()
    skin_and_rest = m.skin.astype(int) + m.hair + m.clothes
    assert (skin_and_rest <= m.person.astype(int) + 2).all()
    for name in ("person", "head", "hair", "neck", "clothes", "skin"):
        assert getattr(m, name).max() == 255, name
    soft = (m.person > 0) & (m.person < 255)
    assert 0.001 < soft.mean() < 0.2


def test_plate_is_the_picture_without_the_person(frame, scene):
    outside = frame.masks.person == 0
    np.testing.assert_array_equal(frame.rgb[outside], frame.plate[outside])
    inside = frame.masks.person == 255
    assert np.abs(frame.rgb[inside].astype(int) - frame.plate[inside]).mean() > 20
    assert not clean_plate(scene, SIZE, SIZE).flags.writeable


def test_track_is_the_body_models_own(person, frame):
    track = frame.track
    posed = person.model.pose(track, person.model.rest(track.shape), 0)
    np.testing.assert_allclose(posed.vertices, frame.mesh.vertices, atol=1e-9)
    rigid = person.model.skin_weights.of([person.model.head_joint]) > 0.999999
    still = person.model.actions.combine((track.actions[0] > 0).astype(float))
    rigid &= np.linalg.norm(still, axis=1) < 1e-9
    rigid &= person.model.part == 0
    rotation, joint = rotvec_to_matrix(track.rotation[0]), person.figure.joints[person.model.head_joint]
    expected = (person.figure.vertices[rigid] - joint) @ rotation.T + track.translation[0]
    np.testing.assert_allclose(frame.mesh.vertices[rigid], expected, atol=1e-9)


def test_head_turns_as_asked(person, scene):
    def face_direction(pose):
        frame = render(person, pose, scene, 48, supersample=1)
        return rotvec_to_matrix(frame.track.rotation[0]) @ [0, 0, -1.0]

    left, down = face_direction(Pose(yaw=30)), face_direction(Pose(pitch=20))
    np.testing.assert_allclose(left, [0.5, 0, -np.sqrt(0.75)], atol=1e-9)  # +x is the person's left
    np.testing.assert_allclose(down, [0, np.sin(np.radians(20)), -np.cos(np.radians(20))], atol=1e-9)


def test_torso_follows_its_own_rotation(person, scene):
    straight = render(person, Pose(), scene, 48, supersample=1).mesh.vertices
    turned = render(person, Pose(yaw=40, torso_yaw=10), scene, 48, supersample=1).mesh.vertices
    torso = person.model.torso_weight > 0.999
    a, b = straight[torso], turned[torso]
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    angle = np.degrees(np.arccos((np.trace(u @ vt) - 1) / 2))
    assert abs(angle - 10) < 1e-6


def test_landmarks_lie_on_the_projected_mesh(person, frame):
    corners = frame.mesh.vertices[person.model.landmark_triangles]
    points = (corners * person.model.landmark_barycentric[..., None]).sum(1)
    np.testing.assert_allclose(frame.landmarks, project(points, frame.camera), atol=1e-9)
    nose = np.floor(frame.landmarks[4]).astype(int)
    assert frame.masks.head[nose[1], nose[0]] == 255
    head_height = np.ptp(frame.landmarks[[10, 152], 1])
    assert 0.2 * SIZE < head_height < 0.45 * SIZE


def test_blink_closes_the_lids(scene):
    for seed in (1, 2, 3):
        person = make_person(seed)

        visible = []
        for value in (0.0, 0.95, 1.0):
            pose = Pose(actions={"eyeBlinkLeft": value, "eyeBlinkRight": value})
            body = render(person, pose, scene, 48, supersample=1).mesh
            seen = rasterize_mesh(body.vertices, person.model.faces, scene.camera(512, 512))
            part = person.model.part[person.model.faces[:, 0]]
            visible.append(np.isin(part[seen.face[seen.face >= 0]], (2, 3)).sum())
        assert visible[0] > 150
        assert visible[2] <= visible[1] < 0.1 * visible[0] and visible[2] < 0.02 * visible[0]


def test_gaze_moves_the_irises_only(person, scene):
    ahead = render(person, Pose(), scene, 64, supersample=1)
    left = render(person, Pose(gaze=(20, 0)), scene, 64, supersample=1)
    moved = np.linalg.norm(left.mesh.vertices - ahead.mesh.vertices, axis=1)
    eyes = np.isin(person.model.part, (2, 3))
    assert moved[~eyes].max() < 0.001 < moved[eyes].max()  # the lids bulge a little
    assert (left.landmarks[[468, 473], 0] > ahead.landmarks[[468, 473], 0]).all()  # to the person's left


def test_size_changes_only_the_sampling(person, scene, frame):
    large = render(person, POSE, scene, 2 * SIZE, supersample=1)
    np.testing.assert_allclose(large.landmarks, 2 * frame.landmarks, atol=1e-6)
    np.testing.assert_allclose(large.mesh.vertices, frame.mesh.vertices)
    shrunk = large.masks.person.reshape(SIZE, 2, SIZE, 2).mean((1, 3))
    assert np.abs(shrunk - frame.masks.person).mean() < 3


def test_wide_pictures(person, scene):
    frame = render(person, Pose(), scene, (192, 96))
    assert frame.rgb.shape == (96, 192, 3)
    assert (frame.camera.cx, frame.camera.cy) == (96, 48)
    covered = np.flatnonzero(frame.masks.head.max(0))
    assert abs(covered.mean() - 96) < 8


def test_unknown_action_is_refused(person, scene):
    with pytest.raises(UsageError, match="noseWiggle"):
        render(person, Pose(actions={"noseWiggle": 1.0}), scene, 48)
