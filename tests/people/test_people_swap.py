import numpy as np
import pytest

from gswap.foundation.geometry import similarity
from gswap.foundation.landmarks import RIGID
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.people.swap import true_swap

POSE = Pose(yaw=20, pitch=-4, roll=5, torso_yaw=5, gaze=(5, 2), actions={"jawOpen": 0.5, "mouthSmileLeft": 0.6})


@pytest.fixture(scope="module")
def people():
    a = make_person(12, style="short", sex="male", skin_tone=1.0, glasses=False)
    b = make_person(27, style="long", sex="female", skin_tone=5.0, neckline="vee")
    return a, b, true_swap(a, b)


@pytest.fixture(scope="module")
def frames(people):
    scene = make_scene(2)
    return tuple(render(p, POSE, scene, 160) for p in people)


def test_torso_is_the_targets(people, frames):
    torso = people[1].model.torso_weight > 0.999
    np.testing.assert_allclose(frames[2].mesh.vertices[torso], frames[1].mesh.vertices[torso], atol=1e-9)


def test_head_is_the_sources_up_to_a_similarity(people):
    head = people[0].model.head_weight > 0.999
    a, s = (person.figure.vertices[head] for person in (people[0], people[2]))
    scale, turn, shift = similarity(a, s)
    assert scale != pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(scale * a @ turn.T + shift, s, atol=1e-9)


def test_face_is_where_the_targets_was_and_as_large(people, frames):
    rest = [np.array(person.figure.landmarks[list(RIGID)]) for person in people]
    np.testing.assert_allclose(rest[2].mean(0), rest[1].mean(0), atol=1e-9)
    spread = [np.linalg.norm(points - points.mean(0)) for points in rest]
    assert spread[2] == pytest.approx(spread[1], rel=0.02) and spread[0] != pytest.approx(spread[1], rel=0.02)
    eyes = [frame.landmarks[[33, 263]].mean(0) for frame in frames]
    width = np.linalg.norm(np.subtract(*frames[1].landmarks[[33, 263]]))
    assert np.linalg.norm(eyes[2] - eyes[1]) < 0.05 * width < np.linalg.norm(eyes[0] - eyes[1])


def test_pose_is_the_targets(frames):
    for name in ("rotation", "neck", "eyes", "actions"):
        np.testing.assert_allclose(getattr(frames[2].track, name), getattr(frames[1].track, name), atol=1e-12)


def test_shape_reproduces_the_swapped_body(people, frames):
    swapped = people[2]
    rest = swapped.model.rest(swapped.figure.shape)
    np.testing.assert_allclose(rest.vertices, swapped.figure.vertices, atol=1e-12)
    posed = swapped.model.pose(frames[2].track, rest, 0)
    np.testing.assert_allclose(posed.vertices, frames[2].mesh.vertices, atol=1e-9)


def test_background_and_most_clothes_stay(frames):
    _, b, s = frames
    heads = np.maximum.reduce([b.masks.head, b.masks.neck, b.masks.torso, s.masks.head, s.masks.neck, s.masks.torso])
    difference = np.abs(b.rgb.astype(int) - s.rgb).max(2)[heads == 0]
    assert (difference > 12).mean() < 0.05  # the other head casts another shadow
    background = (b.masks.person == 0) & (s.masks.person == 0)
    np.testing.assert_array_equal(b.rgb[background], s.rgb[background])


def test_skin_is_the_sources_on_the_face_and_the_targets_on_the_chest(people):
    a, b, s = people
    np.testing.assert_array_equal(s.palette.skin, a.palette.skin)
    np.testing.assert_array_equal(s.palette.torso_skin, b.palette.skin)
    np.testing.assert_array_equal(s.palette.fabric, b.palette.fabric)


def test_swap_with_oneself_changes_nothing(people):
    a, scene = people[0], make_scene(9)
    swapped, own = (render(person, POSE, scene, 128).rgb.astype(int) for person in (true_swap(a, a), a))
    assert (np.abs(swapped - own).max(2) > 1).mean() < 1e-3  # the similarity is the identity up to rounding
