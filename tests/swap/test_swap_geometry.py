from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from swap_scenes import SIZE, body_track, render

from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import (
    EYE_RIGHT,
    LIP_RINGS_LOWER,
    LIP_RINGS_UPPER,
    LIPS,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    LIPS_OUTER,
    lid_opening,
    mouth_gap,
)
from gswap.foundation.types import Shot, Window
from gswap.swap.config import FallConfig, MapConfig, RetargetConfig
from gswap.swap.embedded.compose import GRID, Crop, stack, to_image8, to_mask
from gswap.swap.embedded.densemap import build_geometry, coarse_map, detailed, hair_shell
from gswap.swap.embedded.lift import landmark_points, leaders, lift, smooth_in_shots, valid_runs
from gswap.swap.embedded.photos import ready_photos
from gswap.swap.embedded.plan import _skull
from gswap.swap.embedded.regions import bounds, bounds_of, extend_nearest, nearest_known, skin_mask
from gswap.swap.embedded.retarget import Similarity, align, neutral_face, retarget
from gswap.swap.embedded.warped import Warped, mix, shares

CFG = RetargetConfig()


def clip_neutrals(model, clip, people):
    """The target's neutral face, and the source's aligned to it."""
    target = neutral_face(lift(clip.faces, clip.body, model), CFG)
    source = neutral_face(lift(people.faces, people.body, model), CFG)
    return target, align(source, target)(source)


def test_lifting_recovers_the_points_of_the_body(model, clip):
    lifted = lift(clip.faces, clip.body, model)
    rest = model.rest(clip.body.shape)
    t = 3
    camera_points = landmark_points(model, model.pose(clip.body, rest, t).vertices)
    expected = (camera_points - clip.body.translation[t]) @ rotvec_to_matrix(clip.body.rotation[t])
    assert np.abs(lifted.local[t] - expected).max() < 1e-6


def test_lifting_is_the_same_in_a_window(model, clip):
    count = len(clip.body)
    window = Window(np.full(count, 20), np.full(count, 10), 150, 160, 0.5)
    whole = lift(clip.faces, clip.body, model)
    part = lift(clip.faces, clip.body, model, window)
    assert np.abs(whole.local - part.local).max() < 1e-9
    assert np.allclose(part.image, (whole.image - [20, 10]) * 0.5)


def test_images_without_a_face_stay_empty(model, clip):
    faces = dataclasses.replace(clip.faces, landmarks=clip.faces.landmarks.copy())
    faces.landmarks[2] = np.nan
    lifted = lift(faces, clip.body, model)
    assert not lifted.valid[2] and lifted.valid.sum() == 7 and np.isnan(lifted.local[2]).all()


def test_smoothing_stops_at_cuts_and_gaps():
    values = np.array([0.0, 0, 0, 10, 10, np.nan, 20, 20])
    valid = np.isfinite(values)
    shots = (Shot(0, 3), Shot(3, 8))
    assert np.array_equal(smooth_in_shots(values, valid, shots, 1.5), values, equal_nan=True)
    assert valid_runs(valid, shots) == [(0, 3), (3, 5), (6, 8)]
    assert smooth_in_shots(values, valid, (), 1.5)[2] > 0.5


def test_repeated_frames_follow_their_first():
    duplicate = np.array([True, False, True, True, False, True, True])
    assert np.array_equal(leaders(duplicate, [(0, 3), (3, 7)]), [0, 1, 1, 3, 4, 4, 4])


def test_one_photo_has_the_neutral_of_its_actions_removed(model):
    calm = render(model, body_track(model, np.zeros(1), np.zeros(1), np.zeros(1)))
    loud = render(model, body_track(model, np.zeros(1), np.full(1, 0.5), np.zeros(1)))
    a = neutral_face(lift(calm.faces, calm.body, model), CFG)
    b = neutral_face(lift(loud.faces, loud.body, model), CFG)
    assert mouth_gap(lift(loud.faces, loud.body, model).local)[0] > 0.1
    assert np.abs(a - b).max() < 1e-6


def test_a_clips_neutral_is_calm(model, clip):
    neutral = neutral_face(lift(clip.faces, clip.body, model, clip.target().window), CFG)
    first = lift(clip.faces, clip.body, model).local[0]
    assert mouth_gap(neutral) < mouth_gap(first) + 0.01
    assert lid_opening(neutral, "right") == pytest.approx(lid_opening(first, "right"), rel=0.1)


def test_alignment_of_similar_faces_is_exact(model, clip):
    face = lift(clip.faces, clip.body, model).local[0]
    true = Similarity(1.13, rotvec_to_matrix(np.array([0.05, -0.1, 0.02])), np.array([0.01, 0.02, -0.03]))
    found = align(face, true(face))
    assert found.scale == pytest.approx(true.scale, abs=1e-9)
    assert np.allclose(found.rotation, true.rotation, atol=1e-9) and np.allclose(found.offset, true.offset, atol=1e-9)


def test_a_person_keeps_their_own_expression(model, clip):
    local = lift(clip.faces, clip.body, model).local
    neutral = local[0]
    posed = retarget(local, neutral, neutral, CFG)
    opened = posed.closed.max(1) < 1e-9
    assert opened.sum() >= 5
    unit = np.linalg.norm(neutral[33] - neutral[263])
    middle = [i for rings in (LIP_RINGS_UPPER, LIP_RINGS_LOWER) for ring in rings[1:3] for i in ring]
    kept = np.setdiff1d(np.arange(478), middle)  # the chains between the lips' contours are laid on straight lines
    assert np.abs(posed.local[opened] - local[opened])[:, kept].max() < 0.005 * unit
    assert np.abs(posed.local[opened] - local[opened])[:, middle, :2].max() < 0.04 * unit


def _signed_area(a, b, c):
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def test_lips_never_fold(model, clip, people):
    """Along every column the four chains keep their order, however far the mouth opens."""
    jaw = np.linspace(0, 0.9, 12)
    wide = body_track(model, np.zeros(12), jaw, np.zeros(12))
    smile = wide.actions.copy()
    for name in ("mouthSmileLeft", "mouthSmileRight", "mouthPucker"):
        smile[::2, model.action_names.index(name)] = 0.5
    target = render(model, dataclasses.replace(wide, actions=smile))
    local = lift(target.faces, target.body, model).local
    source = neutral_face(lift(people.faces, people.body, model), CFG)
    neutral = neutral_face(lift(clip.faces, clip.body, model), CFG)
    posed = retarget(local, neutral, align(source, neutral)(source), CFG).local
    for rings, sign in ((LIP_RINGS_UPPER, 1), (LIP_RINGS_LOWER, -1)):
        for q in range(1, 10):
            column = posed[:, [ring[q] for ring in rings], 1]
            assert (sign * np.diff(column, axis=1) > 0).all(), (q, sign)
        for near, far in itertools.pairwise(rings):
            for q in range(1, 9):
                area = _signed_area(posed[:, near[q]], posed[:, near[q + 1]], posed[:, far[q]])
                assert (sign * area > 0).all()


def test_a_raised_lip_never_reaches_the_nose(model, clip, people):
    """The skin above the lip shortens by the target's share; the lip gets thinner, its lower edge stays."""
    target, source = clip_neutrals(model, clip, people)
    nose, top = 2, LIP_RINGS_UPPER[0][5]
    short = source.copy()  # a source with little skin there
    short[list({i for ring in LIP_RINGS_UPPER for i in ring[1:-1]}), 1] -= 0.5 * (source[top, 1] - source[nose, 1])
    raised = np.repeat(target[None], 2, axis=0)
    up = 0.7 * (target[top, 1] - target[nose, 1])
    raised[1][list({i for ring in LIP_RINGS_UPPER for i in ring[1:-1]}), 1] -= up
    posed = retarget(raised, target, short, CFG).local
    rest, shortened = (posed[t, top, 1] - posed[t, nose, 1] for t in (0, 1))
    assert shortened > 0.2 * rest
    inner = LIP_RINGS_UPPER[3][5]
    assert posed[1, inner, 1] > posed[1, top, 1]


def test_where_the_upper_lip_has_no_room_the_jaw_drops_instead(model, clip, people):
    """As wide open as the target's mouth, further down by what the lip cannot rise; with room nothing differs."""
    target, source = clip_neutrals(model, clip, people)
    nose, top, inner, below, chin = 2, LIP_RINGS_UPPER[0][5], LIP_RINGS_UPPER[3][5], LIP_RINGS_LOWER[3][5], 152
    room = target[top, 1] - target[nose, 1]
    lips = list({i for ring in LIP_RINGS_UPPER for i in ring[1:-1]})
    raised = np.repeat(target[None], 2, axis=0)
    raised[1][lips, 1] -= 0.45 * room
    roomy = source.copy()
    roomy[lips, 1] += 1.3 * room - (source[top, 1] - source[nose, 1])
    short = roomy.copy()
    short[lips, 1] -= 0.8 * room
    moved = {
        name: np.diff(retarget(raised, target, s, CFG).local[:, :, 1], axis=0)[0]
        for name, s in (("roomy", roomy), ("short", short))
    }
    assert moved["roomy"][inner] == pytest.approx(-0.45 * room, rel=0.15)
    assert moved["short"][inner] > 0.8 * moved["roomy"][inner]  # it rises less (y grows downwards)
    gaps = {name: change[below] - change[inner] for name, change in moved.items()}
    assert gaps["short"] == pytest.approx(gaps["roomy"], abs=1e-9)
    assert moved["short"][chin] > 0.05 * room and abs(moved["roomy"][chin]) < 1e-9
    assert abs(moved["short"][10]) < 1e-9  # the forehead stays
    smiling = np.repeat(target[None], 2, axis=0)
    smiling[1][lips, 1] -= 0.15 * room
    smiled = {
        s: np.diff(retarget(smiling, target, f, CFG).local[:, :, 1], axis=0)[0]
        for s, f in (("roomy", roomy), ("short", short))
    }
    assert smiled["short"][inner] == pytest.approx(smiled["roomy"][inner], rel=0.1)
    assert abs(smiled["short"][chin]) < 1e-9


def test_the_red_of_wide_open_lips_is_rolled_in_at_the_corners_only(model, clip, people):
    """Thin beside the corners, as thick as ever in the middle; a mouth that is hardly open is left as it is."""
    target, source = clip_neutrals(model, clip, people)
    unit = np.linalg.norm(target[33] - target[263])

    def thickness(gap: float, cfg: RetargetConfig) -> np.ndarray:
        """Across the lower lip, without its ends."""
        opened = target.copy()
        for ring in LIP_RINGS_LOWER:
            opened[list(ring[1:-1]), 1] += gap * unit * (1 - np.linspace(-1, 1, 11)[1:-1] ** 2)
        posed = retarget(opened[None], target, source, cfg).local[0]
        outer, inner = (posed[list(ring[1:-1])] for ring in (LIP_RINGS_LOWER[0], LIP_RINGS_LOWER[3]))
        return np.linalg.norm(outer - inner, axis=-1)

    flat = dataclasses.replace(CFG, rolled_lip=0.0)
    shares = thickness(0.5, CFG) / thickness(0.5, flat)
    assert shares[4] == pytest.approx(1, abs=1e-6)
    assert shares[[0, -1]].max() < 0.65 and (np.diff(shares[:5]) > 0).all() and (np.diff(shares[4:]) < 0).all()
    np.testing.assert_allclose(thickness(0.1, CFG), thickness(0.1, flat), atol=1e-12)


def test_skin_next_to_the_lips_stays_outside_them(model, clip, people):
    target, source = clip_neutrals(model, clip, people)
    wide = np.repeat(target[None], 1, axis=0)
    lips = list(LIPS)
    centre = target[lips].mean(0)
    wide[0, lips] = centre + 1.8 * (target[lips] - centre)  # a detector that moves the lips, and not what is around
    posed = retarget(wide, target, source, CFG).local[0, :468, :2]
    outline = posed[list(LIPS_OUTER)]
    for index in (164, 167, 393, 18, 83, 313, 57, 287, 43, 273):
        assert cv2.pointPolygonTest(outline.astype(np.float32), tuple(map(float, posed[index])), False) < 0, index


def test_lips_open_exactly_as_far_as_the_targets(model, clip, people):
    local = lift(clip.faces, clip.body, model).local
    neutral = neutral_face(lift(clip.faces, clip.body, model), CFG)
    source = align(s := neutral_face(lift(people.faces, people.body, model), CFG), neutral)(s)
    posed = retarget(local, neutral, source, CFG).local
    upper, lower = list(LIPS_INNER_UPPER[1:-1]), list(LIPS_INNER_LOWER[1:-1])
    wanted = local[:, upper, 1] - local[:, lower, 1]
    assert np.allclose(posed[:, upper, 1] - posed[:, lower, 1], wanted, atol=1e-9)


def test_lids_close_monotonically_and_fully(model, clip, people):
    blink = np.linspace(0, 1, 15)
    target = render(model, body_track(model, np.zeros(15), np.zeros(15), blink))
    local = lift(target.faces, target.body, model).local
    source = align(s := neutral_face(lift(people.faces, people.body, model), CFG), local[0])(s)
    posed = retarget(local, local[0], source, CFG)
    for k, side in enumerate(("right", "left")):
        opening = lid_opening(posed.local, side)
        assert (np.diff(opening) < 1e-6).all()
        assert opening[-1] < 0.02 and posed.closed[-1, k] > 0.99 and posed.closed[0, k] == 0


def test_small_differences_between_the_eyes_are_evened_out_and_a_wink_stays(model, clip, people):
    neutral = neutral_face(lift(clip.faces, clip.body, model), CFG)
    source = align(s := neutral_face(lift(people.faces, people.body, model), CFG), neutral)(s)
    local = np.repeat(neutral[None], 2, 0)
    upper, lower = list(EYE_RIGHT[:8:-1]), list(EYE_RIGHT[1:8])
    for row, share in zip(local, (0.75, 0.1), strict=True):
        row[upper] = row[lower] + share * (row[upper] - row[lower])
    posed = retarget(local, neutral, source, CFG).local
    ratio = np.stack([lid_opening(posed, k) / lid_opening(source, k) for k in ("right", "left")], -1)
    assert abs(ratio[0, 0] - ratio[0, 1]) < 0.13
    assert ratio[1, 0] < 0.15
    assert ratio[1, 1] > 0.95


def test_gaze_is_the_targets(model, clip, people):
    local = lift(clip.faces, clip.body, model).local[:3].copy()
    unit = np.linalg.norm(local[0, 33] - local[0, 133])
    local[1, 468:473, 0] += 0.1 * unit
    source = align(s := neutral_face(lift(people.faces, people.body, model), CFG), local[0])(s)
    posed = retarget(local, local[0], source, CFG).local

    def place(face):
        return (face[468] - (face[33] + face[133]) / 2)[0] / np.linalg.norm(face[33] - face[133])

    for t in range(3):
        assert place(posed[t]) == pytest.approx(place(local[t]), abs=5e-3)


def test_the_map_of_a_picture_onto_itself_is_the_identity(model, clip):
    scene = clip.pick([0])
    person = lift(scene.faces, scene.body, model)
    photos = ready_photos(scene.photos(), person, 1e9, FallConfig())
    cfg = MapConfig()
    shell = hair_shell(_skull(model, scene.body.shape), person, photos, cfg)
    pose = person.rotation[0], person.translation[0]
    same = Similarity(1.0, np.eye(3), np.zeros(3))
    camera = dataclasses.replace(photos[0].camera, width=SIZE // 16 * 16, height=SIZE // 16 * 16)
    geometry = build_geometry(person.local[0], shell, pose, camera, cfg)
    mapping = detailed(geometry, coarse_map(geometry, photos[0], photos[0].points, pose, same, cfg))
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    wrong = np.abs(mapping - np.stack([x, y], -1))[1:-1, 1:-1]
    assert wrong.max() < 0.05
    # a smaller box that holds the face shows the same; where the face is elsewhere, only the rigid head is left
    turn = rotvec_to_matrix(np.array([0.0, 0.02, 0.0]))
    aim = photos[0].points + np.array([1.5, -0.5])
    arguments = photos[0], aim, (turn @ pose[0], pose[1]), same, cfg
    whole, box = detailed(geometry, coarse_map(geometry, *arguments)), (48, 80, 192, 224)
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    coarse = coarse_map(geometry, *arguments)
    inner = detailed(geometry.crop(box), coarse.crop(box))
    assert np.abs(inner - whole[part])[2:-2, 2:-2].max() < 1e-3
    assert np.array_equal(inner[geometry.seen[part]][0], whole[part][geometry.seen[part]][0])
    empty = geometry.crop((0, 0, 16, 16))
    assert not empty.seen.any() and not len(coarse_map(empty, *arguments).exact)
    assert detailed(empty, coarse_map(empty, *arguments)).shape == (16, 16, 2)


def test_boxes_stay_in_the_image():
    points = np.array([[3.2, 5.0], [8.5, 9.1]])
    assert bounds(points, 2, (40, 30)) == (1, 3, 11, 12)
    assert bounds(points, 9, (12, 30)) == (0, 0, 12, 19)
    x0, y0, x1, y1 = bounds(points + 100, 2, (40, 30))
    assert (x0, y0) == (x1, y1) == (40, 30)
    mask = np.zeros((30, 40))
    assert bounds_of(mask, 3) is None
    mask[0, 39] = mask[4, 30] = 1e-3
    assert bounds_of(mask, 0) == (30, 0, 40, 5) and bounds_of(mask, 1.5) == (28, 0, 40, 7)


@pytest.mark.parametrize("place", [(0, 0), (-300, -300), (300, 300), (-300, 20), (47, 31)])
def test_inner_boxes_hold_the_points_that_the_crop_holds(place):
    crop = Crop(5, 7, 48, 32)
    points = np.array([[0.0, 0], [10, 6]]) + place
    x0, y0, x1, y1 = crop.inner_box(points, 3)
    assert 0 <= x0 < x1 <= 48 and 0 <= y0 < y1 <= 32
    assert not any(side % GRID for side in (x0, y0, x1, y1))
    inside = points[((points >= 0) & (points < (48, 32))).all(1)]
    assert ((inside >= (x0, y0)) & (inside < (x1, y1))).all()
    part = crop.part((x0, y0, x1, y1))
    image = np.random.default_rng(0).integers(0, 255, (60, 70), np.uint8)
    assert np.array_equal(part.cut(image), crop.cut(image)[y0:y1, x0:x1])


def test_layers_lie_over_each_other_and_are_rounded():
    grey, none = np.full((6, 8, 3), 40, np.float32), np.zeros((6, 8), np.float32)
    half = none.copy()
    half[2:4, 3:5] = 0.5
    faint = np.full((6, 8), 1e-3, np.float32)
    image, behind = stack(grey, 2 * grey, (4 * grey, half), (0 * grey, faint), none)
    assert (behind == 80).all() and (image[half > 0] == 120).all() and (image[half == 0] == 80).all()
    image, behind = stack(grey, 2 * grey, (grey, none), (grey, none), 0 * none + 1)
    assert (behind == 40).all() and np.array_equal(image, behind) and image is not behind
    assert to_mask(np.array([[-0.3, 0.001, 0.5, 0.999, 1.4]], np.float32)).tolist() == [[0, 0, 128, 255, 255]]
    assert to_image8(np.array([[-4, 0.4, 0.6, 254.6, 300]], np.float32)).tolist() == [[0, 0, 1, 255, 255]]


def test_photos_are_averaged_by_their_shares_where_they_cover():
    chosen = shares(np.array([0.3, 0.6, 0.01, 0.0]))
    assert [i for i, _ in chosen] == [0, 1] and sum(share for _, share in chosen) == pytest.approx(1)
    full, none = np.full((4, 6), 255, np.uint8), np.zeros((4, 6), np.uint8)
    one, two = (np.full((4, 6, 3), level, np.uint8) for level in (90, 180))
    colour, alpha = mix([(0.25, Warped(one, full)), (0.75, Warped(two, full))])
    assert np.allclose(colour, 0.25 * 90 + 0.75 * 180) and np.allclose(alpha, 1)
    colour, alpha = mix([(0.25, Warped(one, none)), (0.75, Warped(two, full))])
    assert np.allclose(colour, 180, atol=0.2) and np.allclose(alpha, 0.75**4 / (0.75**4 + 0.25**4))
    colour, alpha = mix([(0.25, Warped(one, none)), (0.75, Warped(two, none))])
    assert np.allclose(colour, 0.25 * 90 + 0.75 * 180) and not alpha.any()
    colour, alpha = mix([(1.0, Warped(one, none))])
    assert np.array_equal(colour, one) and not alpha.any() and colour.dtype == alpha.dtype == np.float32


def test_the_nearest_known_pixel_is_told_by_its_index():
    known = np.zeros((5, 9), bool)
    known[1, 1] = known[4, 7] = True
    distance, nearest = nearest_known((~known).astype(np.uint8))
    assert nearest[0, 0] == 10 and nearest[4, 8] == 4 * 9 + 7 and distance[1, 1] == 0 and distance[1, 3] == 2
    values = np.arange(45.0).reshape(5, 9, 1)
    assert np.array_equal(extend_nearest(values, known)[..., 0], nearest)


def test_a_face_at_the_images_border_has_the_skin_that_is_seen(clip):
    points = clip.faces.landmarks[0][:, :2].astype(np.float64)
    wide = skin_mask(points + 200, 640, 640)
    assert wide.any()
    for left, top in ((200 + int(points[1, 0]), 200), (200, 200 + int(points[13, 1])), (200, 0), (0, 200)):
        assert np.array_equal(skin_mask(points + 200 - [left, top], 640 - top, 640 - left), wide[top:, left:])
    assert not skin_mask(points + 2000, 64, 64).any()
