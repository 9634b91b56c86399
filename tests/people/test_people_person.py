import numpy as np
import pytest

from gswap.foundation.errors import UsageError
from gswap.people.person import Label, Material, make_person
from gswap.people.traits import draw_traits


@pytest.fixture(scope="module")
def person():
    return make_person(7, style="short", glasses=True)


def test_same_seed_same_person(person):
    again = make_person(7, style="short", glasses=True)
    np.testing.assert_array_equal(person.figure.vertices, again.figure.vertices)
    np.testing.assert_array_equal(person.strands.points, again.strands.points)
    np.testing.assert_array_equal(person.mesh.attributes, again.mesh.attributes)


def test_other_seed_other_face(person):
    other = make_person(8, style="short", glasses=True)
    distance = np.linalg.norm(person.figure.landmarks - other.figure.landmarks, axis=1)
    assert distance.mean() > 0.002


def test_overriding_one_trait_leaves_the_others():
    plain, changed = draw_traits(3), draw_traits(3, glasses=True, lip_tint=1.0)
    assert changed.glasses and changed.lip_tint == 1.0
    for name in ("sex", "age", "skin_tone", "hair", "eye_color", "fabric", "motif", "neckline", "weight"):
        assert getattr(plain, name) == getattr(changed, name)


def test_population_is_varied():
    traits = [draw_traits(seed) for seed in range(200)]
    assert 70 < sum(t.sex == "female" for t in traits) < 130
    assert {t.hair.style for t in traits} == {"bald", "buzz", "short", "back", "bob", "long", "curly"}
    tones = np.array([t.skin_tone for t in traits])
    assert np.histogram(tones, bins=4, range=(0, 7))[0].min() > 25
    assert min(t.age for t in traits) < 0.65 and max(t.age for t in traits) > 0.88


@pytest.mark.parametrize(
    "override", [{"hat": True}, {"style": "mohawk"}, {"sex": "x"}, {"neckline": "none"}, {"motif": "tartan"}]
)
def test_unknown_traits_are_refused(override):
    with pytest.raises(UsageError):
        draw_traits(1, **override)


def test_arms_are_lowered_in_the_shape_itself(person):
    rest = person.model.rest(person.figure.shape)
    np.testing.assert_allclose(rest.vertices, person.figure.vertices, atol=1e-12)
    np.testing.assert_allclose(rest.joints, person.figure.joints, atol=1e-12)
    hands_down = person.model.skin_weights.of([person.model.bone_names.index("upperarm02.L")]) > 0.5
    raised = person.model.rest_points(person.figure.shape.coefficients)[: len(rest.vertices)]
    assert (rest.vertices[hands_down, 1] - raised[hands_down, 1]).mean() > 0.02  # y points down


def test_everything_worn_is_bound_and_labelled(person):
    mesh, strands = person.mesh, person.strands
    worn = len(mesh.attributes) - len(person.figure.vertices)
    assert mesh.binding.weight.shape == (worn, mesh.binding.vertex.shape[1])
    np.testing.assert_allclose(mesh.binding.weight.sum(1), 1)
    np.testing.assert_allclose(strands.binding.weight.sum(1), 1)
    assert mesh.faces.max() == len(mesh.attributes) - 1
    assert set(mesh.label[mesh.material == Material.CLOTH]) == {Label.CLOTHES}
    assert np.isfinite(strands.points).all() and (strands.radius > 0).all()


def test_hair_stays_outside_the_head():
    person = make_person(5, sex="female", style="bob")
    hair = person.strands.points[np.unique(person.strands.segments[person.strands.kind == 0])]
    head = person.figure.vertices[(person.figure.anatomy.head_weight > 0.9) & (person.figure.anatomy.part == 0)]
    normal = person.figure.normals[(person.figure.anatomy.head_weight > 0.9) & (person.figure.anatomy.part == 0)]
    from scipy.spatial import KDTree

    above = hair[hair[:, 1] < person.figure.landmarks[10, 1]]  # above the hairline: no ears, no face
    _, near = KDTree(head).query(above)
    outside = ((above - head[near]) * normal[near]).sum(1)
    assert (outside > -0.004).mean() > 0.98
