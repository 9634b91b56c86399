"""The geometry under the people, against closed forms."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.raster import FAR
from gswap.foundation.types import PosedMesh
from gswap.people.anatomy import vertex_normals
from gswap.people.attach import Binding, bind_nearest, follow, join
from gswap.people.clothes import make_garment, neckline_field
from gswap.people.hair import grow_hair
from gswap.people.hats import COLUMNS, ROWS, edge_height, make_hat, press_hair
from gswap.people.lighting import draw_strands
from gswap.people.materials import kernels, noise
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.people.seeds import stream
from gswap.people.surface import sky_visibility
from gswap.people.swap import true_swap


def test_points_follow_a_rigid_motion_exactly():
    rng = np.random.default_rng(0)
    rest, points = rng.normal(size=(50, 3)), rng.normal(size=(20, 3))
    rotation, shift = rotvec_to_matrix(np.array([0.3, -0.5, 0.2])), np.array([0.1, 0.2, 3.0])
    posed = PosedMesh(rest @ rotation.T + shift, np.broadcast_to(rotation, (50, 3, 3)))
    binding = bind_nearest(points, rest, np.arange(50), k=3)
    np.testing.assert_allclose(follow(points, binding, rest, posed), points @ rotation.T + shift, atol=1e-12)
    one = Binding(np.zeros((20, 1), np.int32), np.ones((20, 1)))
    np.testing.assert_allclose(follow(points, one, rest, posed), points @ rotation.T + shift, atol=1e-12)


def test_join_pads_with_zero_weights():
    a = Binding(np.array([[1, 2]], np.int32), np.array([[0.4, 0.6]]))
    b = Binding(np.array([[3]], np.int32), np.array([[1.0]]))
    joined = join([a, b])
    assert joined.vertex.shape == (2, 2)
    np.testing.assert_allclose(joined.weight, [[0.4, 0.6], [1.0, 0.0]])


@pytest.mark.parametrize("neckline", ["crew", "vee", "high", "shirt"])
def test_garment_ends_at_the_neckline(neckline):
    figure, joint = _figure()
    garment = make_garment(figure, joint, neckline)
    assert garment.below.min() >= -1e-9
    assert np.isclose(garment.below, 0, atol=1e-9).sum() > 20  # the cut itself
    assert garment.faces.max() == len(garment.vertices) - 1
    assert (len(garment.collar_faces) > 0) == (neckline == "shirt")
    # Cloth lies outside the skin it hangs from.
    index, weight = garment.binding
    skin = (figure.vertices[index] * weight[..., None]).sum(1)
    normal = (figure.normals[index] * weight[..., None]).sum(1)
    assert ((garment.vertices - skin) * normal).sum(1).min() > 0.002
    field = neckline_field(figure, joint, neckline)
    assert (field[figure.anatomy.head_weight > 0.5] > 0).all()


def _figure():
    person = make_person(3)
    return person.figure, person.model.rig.neck_chain[0]


def test_sphere_sees_all_of_the_sky():
    theta, phi = np.mgrid[0.01 : np.pi - 0.01 : 24j, 0 : 2 * np.pi : 48j]
    vertices = 0.1 * np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    grid = np.arange(24 * 48).reshape(24, 48)
    a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[1:, :-1], grid[:-1, 1:], grid[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    flat = vertices.reshape(-1, 3)
    normals = vertex_normals(flat, faces)
    inner = (np.abs(flat[:, 2]) < 0.095) & (np.abs(phi.ravel() - np.pi) < 3)
    np.testing.assert_allclose(normals[inner], flat[inner] / 0.1, atol=0.02)
    assert sky_visibility(flat, normals, faces, np.zeros(3))[inner].min() > 0.94


def test_noise_is_smooth_and_spans_its_range():
    x = np.linspace(0, 40, 8001)[:, None] * np.array([[1.0, 0.37, 0.71]])
    values = noise(x, 1.0)
    assert 0 <= values.min() < 0.15 and 0.85 < values.max() < 1
    assert np.abs(np.diff(values)).max() < 0.02
    assert abs(noise(x, (1.0, 2.0, 3.0), 5.0).mean() - 0.5) < 0.05


def test_strand_covers_a_capsule():
    depth = np.full((40, 60), FAR, np.float32)
    ends = np.array([[10.0, 12.0], [48.0, 27.0]])
    segment, across, along = draw_strands(ends, np.array([2.0, 3.0]), np.array([[0, 1]]), np.array([4.0]), depth)
    y, x = np.mgrid[:40, :60] + 0.5
    p = np.stack([x, y], -1) - ends[0]
    d = ends[1] - ends[0]
    t = np.clip(p @ d / (d @ d), 0, 1)
    distance = np.linalg.norm(p - t[..., None] * d, axis=-1)
    np.testing.assert_array_equal(segment == 0, distance <= 4.0)
    hit = segment == 0
    np.testing.assert_allclose(along[hit], t[hit], atol=1e-4)
    np.testing.assert_allclose(depth[hit], 2 + t[hit], atol=1e-4)
    body = hit & (t > 0) & (t < 1)
    np.testing.assert_allclose(np.abs(across[body]), distance[body] / 4, atol=1e-3)


def test_thin_strands_are_thinned_out_not_lost():
    n = 60
    y = 1.5 + 2.0 * np.arange(n)  # pixel centres, a row apart
    points = np.concatenate([np.stack([np.full(n, 2.0), y], 1), np.stack([np.full(n, 122.0), y], 1)])
    segments = np.stack([np.arange(n), np.arange(n) + n], 1)
    covered = []
    for radius in (0.45, 0.225, 0.09):
        depth = np.full((128, 128), FAR, np.float32)
        seen, _, _ = draw_strands(points, np.ones(2 * n), segments, np.full(n, radius), depth)
        covered.append((seen >= 0).sum())
    np.testing.assert_allclose(covered, np.array([1, 0.5, 0.2]) * n * 120, rtol=0.15)


def test_shadow_behind_a_wall():
    wall = np.full((100, 100), FAR, np.float32)
    wall[:, :50] = 1.0
    points = np.array([[0.2, 0.5, 0.9], [0.2, 0.5, 1.2], [0.8, 0.5, 1.2], [5.0, 5.0, 1.2]], np.float32)
    out = np.empty(4, np.float32)
    kernels().shadow_fraction(points, wall, 0.0, 0.0, 100.0, 0.005, out)
    np.testing.assert_allclose(out, [1, 0, 1, 1])


@pytest.mark.parametrize("kind", ["beanie", "cap"])
def test_hat_lies_outside_the_head_and_hair_inside_the_hat(kind):
    bald, haired = make_person(3, style="bald"), make_person(8, style="curly")
    for person in (bald, haired):
        figure = person.figure
        hat = make_hat(figure, kind)
        body = figure.anatomy
        head = (body.part == 0) & (body.head_weight > 0.5) & (body.ears < 0.2)
        centre = figure.head_centre + np.array([0, -0.12 * figure.head_height, 0])
        dome = hat.vertices[: COLUMNS * (ROWS + 1)]
        tree = KDTree((dome - centre) / np.linalg.norm(dome - centre, axis=1, keepdims=True))

        def clearance(points, centre=centre, tree=tree, dome=dome):
            arm = points - centre
            length = np.linalg.norm(arm, axis=1)
            return np.linalg.norm(dome[tree.query(arm / length[:, None])[1]] - centre, axis=1) - length

        skin = figure.vertices[head]
        height = (figure.chin - skin[:, 1]) / figure.head_height
        covered = height > edge_height(figure, kind, figure.azimuth(skin)) + 0.03
        assert covered.sum() > 100
        assert clearance(skin[covered]).min() > 0.001
    grown = grow_hair(stream(8, "hair growth"), haired.figure, haired.traits.hair)
    pressed = press_hair(haired.figure, kind, grown).points.reshape(-1, 3)
    height = (haired.figure.chin - pressed[:, 1]) / haired.figure.head_height
    under = height > edge_height(haired.figure, kind, haired.figure.azimuth(pressed)) + 0.05
    loose = clearance(grown.points.reshape(-1, 3)[under]) < 0
    assert loose.mean() > 0.1  # it would stick out
    assert (clearance(pressed[under]) < 0).mean() < 0.01


def test_hat_belongs_to_the_head_and_goes_with_it():
    a, b = make_person(3, hat="cap", style="short"), make_person(8)
    assert a.traits.hat_color == make_person(3).traits.hat_color  # nothing else about them changes
    np.testing.assert_array_equal(a.figure.vertices, make_person(3, style="short").figure.vertices)
    scene = make_scene(5)
    worn, bare = (render(p, Pose(yaw=70), scene, 160) for p in (a, make_person(3, style="short")))
    swapped = render(true_swap(a, b), Pose(yaw=20), scene, 128)
    new = worn.masks.head.astype(int) - bare.masks.head
    assert (new > 127).sum() > 40  # the peak
    np.testing.assert_array_equal(worn.masks.neck > 250, bare.masks.neck > 250)
    y, x = np.nonzero((worn.masks.head > 250) & (bare.masks.hair > 250) & (worn.masks.hair < 5))
    yellow = np.array(a.traits.hat_color, float)
    seen = np.median(worn.rgb[y, x].astype(float), axis=0)
    assert np.dot(seen, yellow) / np.linalg.norm(seen) / np.linalg.norm(yellow) > 0.98
    y, x = np.nonzero(swapped.masks.head > 250)
    colours = swapped.rgb[y, x].astype(float)
    alike = colours @ yellow / np.linalg.norm(colours, axis=1) / np.linalg.norm(yellow) > 0.98
    assert alike.mean() > 0.1
    with pytest.raises(UsageError, match="hat must be one of"):
        make_person(3, hat="crown")
