from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from gswap.body.bias import apply_bias, measure_bias, retrack, retrack_fully
from gswap.body.config import FitConfig
from gswap.body.draw import draw_overlay
from gswap.body.fit import fit_track, observe, runs, start
from gswap.body.gauss_newton import (
    ACTIONS,
    Observations,
    Priors,
    States,
    bounded_step,
    linearise,
    project,
    solve_shot,
)
from gswap.body.landmark_errors import head_axes, plain_errors, view_angles, view_features
from gswap.body.landmark_model import gaze_rotation, landmark_model, landmark_weights
from gswap.body.lids import follow_gaze
from gswap.body.models import load_body
from gswap.body.offsets import spread_offsets
from gswap.body.smooth import smooth_rows
from gswap.foundation.errors import InputError, UsageError
from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.landmarks import LIPS_INNER_LOWER, LIPS_INNER_UPPER
from gswap.foundation.types import BodyShape, BodyTrack, Camera, FaceTrack, Shot

SIZE = (640, 480)
FOCAL = 2.2 * 640
NOISE_PIXELS = 0.5


@pytest.fixture(scope="module")
def shipped():
    return load_body("anny")


@pytest.fixture(scope="module")
def model(shipped):
    """The shipped body under a detector whose landmarks err independently."""
    plain = copy(shipped)
    plain.landmark_errors = plain_errors(landmark_weights(plain.landmark_spread), len(plain.free_actions))
    return plain


def moving_person(model, count=30, seed=0, **shape) -> BodyTrack:
    """A known person who turns, talks, blinks and looks around."""
    rng = np.random.default_rng(seed)
    local = {n: float(v) for n, v in zip(model.local_names, rng.normal(0, 0.15, len(model.local_names)), strict=True)}
    local = {n: v for n, v in local.items() if n.startswith(("nose", "mouth", "chin", "forehead"))}
    local = {n: v for n, v in local.items() if "trans" not in n}
    coefficients = model.coefficients({"gender": 0.7, **shape}, local)
    t = np.arange(count) / 25
    wave = lambda f, p=0.0: np.sin(2 * np.pi * (f * t + p))  # noqa: E731
    actions = np.zeros((count, 52))
    name = model.action_names.index
    actions[:, name("jawOpen")] = 0.3 * (1 - np.cos(2 * np.pi * 1.5 * t)) / 2
    smile = 0.2 + 0.2 * wave(0.7)
    actions[:, name("mouthSmileLeft")] = actions[:, name("mouthSmileRight")] = smile
    blink = np.clip(1 - np.abs(np.arange(count) - count // 2) / 2, 0, 1)
    actions[:, name("eyeBlinkLeft")] = actions[:, name("eyeBlinkRight")] = blink
    gaze = np.stack([np.stack([0.1 * wave(0.5), 0.25 * wave(0.4, 0.1)], -1)] * 2, 1)
    rotation = np.stack([0.1 * wave(0.6), 0.35 * wave(0.5, 0.2), 0.05 * wave(0.3)], -1)
    return BodyTrack(
        shape=BodyShape(model.name, coefficients, np.zeros_like(model.neutral_shape().offsets)),
        focal=np.full(count, FOCAL),
        rotation=rotation,
        translation=np.stack([0.03 * wave(0.3), -0.02 + 0.01 * wave(0.8), 0.9 + 0.05 * wave(0.4)], -1),
        neck=0.6 * rotation,
        eyes=gaze_rotation(gaze),
        actions=follow_gaze(actions, gaze, model.action_names),
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        residual=np.zeros(count),
        sizes=np.tile(SIZE, (count, 1)),
    )


def seen_landmarks(model, truth: BodyTrack, noise=NOISE_PIXELS, seed=1) -> FaceTrack:
    """What a detector with independent pixel noise would report."""
    count = len(truth)
    rest = model.rest(truth.shape)
    points = np.empty((count, 478, 3))
    shoulders = np.ones((count, 2, 3))
    for t in range(count):
        posed = model.pose(truth, rest, t).vertices
        camera = (posed[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)
        points[t, :, :2] = truth.focal[t] * camera[:, :2] / camera[:, 2:] + np.array(SIZE) / 2
        points[t, :, 2] = 0
        torso = rotvec_to_matrix(truth.rotation[t]) @ rotvec_to_matrix(truth.neck[t]).T
        nearest = [np.linalg.norm(rest.vertices - rest.joints[j], axis=1).argmin() for j in model.rig.shoulders]
        for k, (v, j) in enumerate(zip(nearest, model.rig.shoulders, strict=True)):
            joint = posed[v] + torso @ (rest.joints[j] - rest.vertices[v])
            shoulders[t, k, :2] = truth.focal[t] * joint[:2] / joint[2] + np.array(SIZE) / 2
    points[..., :2] += np.random.default_rng(seed).normal(0, noise, (count, 478, 2))
    return FaceTrack(
        landmarks=points,
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        bridged=np.zeros(count, bool),
        duplicate=np.zeros(count, bool),
        shoulders=shoulders,
        embedding=np.full((count, 128), np.nan),
        sharpness=np.ones(count),
        size=SIZE,
        shots=(Shot(0, count),),
    )


def angle(a, b):
    return np.degrees(
        np.linalg.norm(matrix_to_rotvec(np.swapaxes(rotvec_to_matrix(a), -1, -2) @ rotvec_to_matrix(b)), axis=-1)
    )


@pytest.fixture(scope="module")
def truth(model):
    return moving_person(model)


@pytest.fixture(scope="module")
def faces(model, truth):
    return seen_landmarks(model, truth)


@pytest.fixture(scope="module")
def fitted(model, faces):
    return fit_track(faces, model, FitConfig())


def test_a_known_motion_is_recovered(model, truth, fitted):
    assert angle(truth.rotation, fitted.rotation).max() < 1.0
    depth = fitted.translation[:, 2] / truth.translation[:, 2]
    assert np.std(depth) < 0.004, "a constant depth factor is the size of the head, which no camera sees"
    sideways = (
        fitted.translation[:, :2] / fitted.translation[:, 2:] - truth.translation[:, :2] / truth.translation[:, 2:]
    )
    assert np.abs(sideways * FOCAL).max() < 3.0
    assert fitted.valid.all() and (fitted.residual < 0.01).all() and (fitted.confidence > 0.9).all()
    name = model.action_names.index
    jaw = name("jawOpen")
    assert np.abs(fitted.actions[:, jaw] - truth.actions[:, jaw]).mean() < 0.05
    smile = [name("mouthSmileLeft"), name("mouthSmileRight")]
    assert np.corrcoef(fitted.actions[:, smile].mean(1), truth.actions[:, smile].mean(1))[0, 1] > 0.9


def test_gaze_is_recovered(truth, fitted):
    difference = np.degrees(fitted.eyes - truth.eyes)
    assert np.abs(difference).mean() < 3.0
    steady = difference - np.median(difference, 0)
    assert np.abs(steady).mean() < 1.5


def test_a_blink_is_a_blink(model, fitted):
    blink = fitted.actions[:, model.action_names.index("eyeBlinkRight")]
    assert blink[15] > 0.65 and blink[[2, 5, 8, 22, 26]].max() < 0.2
    unmeasured = FitConfig(measured_lids=False)
    assert unmeasured.measured_lids is False


def test_the_torso_stands_below_the_head(truth, fitted):
    torso = lambda b: matrix_to_rotvec(rotvec_to_matrix(b.rotation) @ np.swapaxes(rotvec_to_matrix(b.neck), -1, -2))  # noqa: E731
    assert angle(torso(truth), torso(fitted)).mean() < 6


def test_the_same_input_gives_the_same_bytes(model, faces, fitted):
    again = fit_track(faces, model, FitConfig())
    for name in ("rotation", "translation", "neck", "eyes", "actions", "confidence"):
        assert getattr(again, name).tobytes() == getattr(fitted, name).tobytes()
    assert again.shape.offsets.tobytes() == fitted.shape.offsets.tobytes()


def test_jacobian_against_finite_differences(model, truth, faces):
    lm = landmark_model(model)
    shape = lm.face_shape(np.full(lm.space.basis.shape[1], 0.05))
    shape = replace(shape, offsets=np.random.default_rng(0).normal(0, 1e-3, (468, 3)))
    states = States(truth.rotation[:1], truth.translation[:1], np.full((1, 2, 2), 0.1), np.full((1, len(lm.free)), 0.2))
    obs = Observations(faces.landmarks[:1, :, :2], np.ones(1), np.array([FOCAL]), np.array([SIZE]) / 2)
    line = linearise(lm, shape, states, obs, 0)
    scale = FOCAL * 0.09 / states.translation[0, 2]
    values = states.stack()
    for k in range(0, values.shape[1], 3):
        step = np.zeros_like(values)
        step[0, k] = 1e-5
        high, low = (project(lm, shape, States.unstack(values + s), obs)[0] for s in (step, -step))
        np.testing.assert_allclose((high - low).ravel() / 2e-5 / scale, line.jacobian[:, k], atol=2e-5)


def test_the_detectors_shift_is_in_the_jacobian(shipped, truth, faces):
    lm = landmark_model(shipped)
    shape = lm.face_shape(
        np.zeros(lm.space.basis.shape[1]), np.linspace(-1, 1, len(lm.errors.person) + len(lm.head_modes))
    )
    states = States(truth.rotation[:1], truth.translation[:1], np.full((1, 2, 2), 0.1), np.full((1, len(lm.free)), 0.2))
    obs = Observations(faces.landmarks[:1, :, :2], np.ones(1), np.array([FOCAL]), np.array([SIZE]) / 2)
    line = linearise(lm, shape, states, obs, 0)
    scale = FOCAL * 0.09 / states.translation[0, 2]
    np.testing.assert_allclose(
        (project(lm, shape, states, obs)[0] - obs.landmarks[0]).ravel() / scale, line.residual, atol=1e-9
    )
    values = states.stack()
    for k in range(6, values.shape[1], 3):  # the shift's own change with the pose is left out on purpose: it is small
        step = np.zeros_like(values)
        step[0, k] = 1e-5
        high, low = (project(lm, shape, States.unstack(values + s), obs)[0] for s in (step, -step))
        np.testing.assert_allclose((high - low).ravel() / 2e-5 / scale, line.jacobian[:, k], atol=2e-5)


def test_common_errors_are_weighed_by_the_inverse_covariance(shipped, truth, faces):
    lm = landmark_model(shipped)
    shape = lm.face_shape(np.zeros(lm.space.basis.shape[1]))
    states = States(truth.rotation[:1], truth.translation[:1], np.zeros((1, 2, 2)), np.zeros((1, len(lm.free))))
    obs = Observations(faces.landmarks[:1, :, :2], np.ones(1), np.array([FOCAL]), np.array([SIZE]) / 2)
    line = linearise(lm, shape, states, obs, 0)
    covariance = np.diag(1 / line.weight) + line.modes @ line.modes.T
    expected = line.jacobian.T @ np.linalg.solve(covariance, line.jacobian)
    found = line.precision.gram(line.jacobian)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    common = line.modes @ (line.modes.T @ np.linalg.solve(covariance, line.residual))
    np.testing.assert_allclose(line.explained(), common, atol=1e-9)


def test_a_detector_that_errs_as_studied_does_not_mislead(shipped, truth, faces):
    """Landmarks shifted as the detector shifts them give the true motion back."""
    lm = landmark_model(shipped)
    marks = faces.landmarks.copy()
    for t in range(len(truth)):
        turn = rotvec_to_matrix(truth.rotation[t])
        view = view_features(*view_angles(turn, truth.translation[t]))
        shift = lm.errors.shift(view, np.zeros((2, 2)), truth.actions[t, lm.free]) @ head_axes(turn)
        marks[t, :, :2] += shift * FOCAL * 0.09 / truth.translation[t, 2]
    found = fit_track(replace(faces, landmarks=marks), shipped, FitConfig())
    difference = np.swapaxes(rotvec_to_matrix(truth.rotation), -1, -2) @ rotvec_to_matrix(found.rotation)
    u, _, v = np.linalg.svd(difference.sum(0))
    errors = np.degrees(np.linalg.norm(matrix_to_rotvec(difference @ (u @ v).T), axis=1))
    assert np.median(errors) < 1.0
    raw = fit_track(faces, shipped, FitConfig())
    assert found.residual.mean() < raw.residual.mean(), "unshifted landmarks are not what this detector reports"


def test_shape_slopes_against_the_model(model):
    lm = landmark_model(model)
    zero = np.zeros(lm.space.basis.shape[1])
    slopes = lm.shape_slopes(zero)
    names = lm.space.basis[:, 20].nonzero()[0]
    step = zero.copy()
    step[20] = 0.1

    def every_point(parameters):
        face = lm.face_shape(parameters)
        return np.concatenate([face.points, face.head])

    up, down = every_point(step), every_point(-step)
    assert len(names) in (1, 2)
    assert slopes.shape == (len(zero), 478 + len(model.head_points), 3)
    np.testing.assert_allclose((up - down) / 0.2, slopes[20], atol=1e-4)
    far = zero.copy()
    far[20] = 0.5
    farther = far.copy()
    farther[20] = 0.6
    rise = (every_point(farther) - every_point(far)) / 0.1
    np.testing.assert_allclose(rise, lm.shape_slopes(far)[20], atol=1e-4)


def test_nothing_crosses_a_cut(model, faces):
    half = len(faces) // 2
    lm, priors = landmark_model(model), Priors.standard(len(landmark_model(model).free), 1.0)
    shape = lm.face_shape(np.zeros(lm.space.basis.shape[1]))
    moved = faces.landmarks.copy()
    moved[half:, :, 0] += 60
    halves = []
    for landmarks in (faces.landmarks, moved):
        obs = observe(replace(faces, landmarks=landmarks), FitConfig(), None)
        cut = start(lm, shape, obs, np.array([0, half, len(faces)]))
        first = solve_shot(lm, shape, cut.select(np.arange(half)), obs.select(np.arange(half)), priors, 1.0)
        halves.append(first.stack())
    np.testing.assert_array_equal(halves[0], halves[1])
    two_shots = replace(faces, landmarks=moved, shots=(Shot(0, half), Shot(half, len(faces))))
    assert [list(r) for r in runs(two_shots, two_shots.shots)] == [list(range(half)), list(range(half, len(faces)))]
    cfg = FitConfig(iterations=3)
    jump = [
        abs(b.translation[half, 0] - b.translation[half - 1, 0])
        for b in (fit_track(two_shots, model, cfg), fit_track(replace(faces, landmarks=moved), model, cfg))
    ]
    assert jump[0] > jump[1] + 5e-3, "one shot would have smoothed the jump away"


def test_duplicates_copy_and_gaps_are_carried(model, truth, faces):
    landmarks, valid, duplicate = faces.landmarks.copy(), faces.valid.copy(), faces.duplicate.copy()
    landmarks[11], duplicate[11] = landmarks[10], True
    landmarks[20:23], valid[20:23] = np.nan, False
    gappy = replace(faces, landmarks=landmarks, valid=valid, duplicate=duplicate)
    fit = fit_track(gappy, model, FitConfig(iterations=3))
    np.testing.assert_array_equal(fit.rotation[11], fit.rotation[10])
    assert not fit.valid[20:23].any() and fit.valid[[19, 23]].all() and (fit.confidence[20:23] == 0).all()
    assert angle(truth.rotation, fit.rotation)[20:23].max() < 3
    assert [len(r) for r in runs(gappy, gappy.shots)] == [len(faces) - 1]


def test_photos_have_no_order_and_their_own_cameras(model, faces):
    few = [0, 8, 20]
    photos = replace(
        faces,
        **{
            k: getattr(faces, k)[few]
            for k in ("landmarks", "valid", "confidence", "bridged", "duplicate", "shoulders", "embedding", "sharpness")
        },
        shots=(),
        sizes=(SIZE, SIZE, SIZE),
    )
    fit = fit_track(photos, model, FitConfig(), photos=True)
    swapped = replace(photos, landmarks=photos.landmarks[::-1], shoulders=photos.shoulders[::-1])
    back = fit_track(swapped, model, FitConfig(), photos=True)
    np.testing.assert_allclose(back.rotation[::-1], fit.rotation, atol=2e-3)
    np.testing.assert_allclose(fit.focal, FOCAL)


def test_no_face_is_refused(model, faces):
    with pytest.raises(InputError, match="found none"):
        fit_track(replace(faces, valid=np.zeros(len(faces), bool)), model, FitConfig())


def test_retrack_gives_shape_and_constant_bias(model, truth, fitted):
    other = moving_person(model, weight=0.8, age=0.8)
    generated = seen_landmarks(model, replace(truth, shape=other.shape), seed=3)
    drive = retrack(generated, fitted, model, FitConfig())
    assert angle(truth.rotation, drive.rotation).max() < 2
    motion = lambda b: np.diff(b.rotation, axis=0)  # noqa: E731
    np.testing.assert_allclose(motion(drive), motion(fitted), atol=5e-3)
    blink = model.action_names.index("eyeBlinkLeft")
    np.testing.assert_array_equal(drive.actions[:, blink], fitted.actions[:, blink])
    np.testing.assert_array_equal(drive.eyes, fitted.eyes)
    with pytest.raises(UsageError, match="one per target image"):
        retrack(replace(generated, valid=generated.valid[:-1]), fitted, model, FitConfig())


def test_full_retracking_fits_every_image_and_drives_with_the_targets_motion(model, truth, fitted):
    other = moving_person(model, weight=0.8, age=0.8)
    generated = seen_landmarks(model, replace(truth, shape=other.shape), seed=3)
    own, drive = retrack_fully(generated, fitted, model, FitConfig())
    assert angle(truth.rotation, own.rotation).max() < 6 and own.valid.all()
    motion = lambda b: np.diff(b.rotation, axis=0)  # noqa: E731
    np.testing.assert_allclose(motion(drive), motion(fitted), atol=1e-2)
    assert np.median(angle(own.rotation, drive.rotation)) < 2, "the constant bias is in the track that drives"
    assert own.shape is drive.shape
    with pytest.raises(InputError):
        retrack_fully(replace(generated, valid=np.zeros(len(generated), bool)), fitted, model, FitConfig())


def test_bias_is_measured_and_applied(model, truth):
    turn = rotvec_to_matrix(np.array([0.02, -0.03, 0.01]))
    rotation = matrix_to_rotvec(rotvec_to_matrix(truth.rotation) @ turn)
    shift = rotvec_to_matrix(truth.rotation) @ np.array([1e-3, 2e-3, 0])
    translation = 1.02 * truth.translation + shift
    images = np.arange(len(truth))
    bias = measure_bias(truth, images, rotation, translation, np.clip(truth.actions + 0.1, 0, 1))
    moved = apply_bias(truth, bias, model.action_names)
    assert angle(moved.rotation, rotation).max() < 1e-4
    np.testing.assert_allclose(moved.translation, translation, atol=3e-4)
    torso = lambda b: rotvec_to_matrix(b.rotation) @ np.swapaxes(rotvec_to_matrix(b.neck), -1, -2)  # noqa: E731
    np.testing.assert_allclose(torso(moved), torso(truth), atol=1e-9)


def test_smoothing_keeps_to_its_shot_and_skips_lost_images():
    valid, rows = np.ones(30, bool), np.zeros((30, 2))
    valid[5] = False
    rows[5], rows[15:] = 9, 1
    smooth = smooth_rows(rows, valid, 2.0, (Shot(0, 15), Shot(15, 30)))
    assert np.abs(smooth[:15]).max() < 1e-12
    np.testing.assert_allclose(smooth[15:], 1)


def test_offsets_follow_the_surface_and_do_not_leak_between_the_lips(model):
    lm = landmark_model(model)
    offsets = np.zeros((468, 3))
    offsets[list(LIPS_INNER_UPPER[2:-2])] = [0, -3e-3, 0]
    face = replace(lm.face_shape(np.zeros(lm.space.basis.shape[1])), offsets=offsets)
    rest = model.rest(model.neutral_shape())
    field = spread_offsets(model, rest.vertices, face)
    at = lambda i: (field[model.landmark_triangles[i]] * model.landmark_barycentric[i][:, None]).sum(0)  # noqa: E731
    upper = np.mean([at(i)[1] for i in LIPS_INNER_UPPER[4:-4]])
    lower = np.mean([at(i)[1] for i in LIPS_INNER_LOWER[4:-4]])
    assert upper < -1.5e-3 and abs(lower) < 0.5e-3
    assert np.abs(field[model.head_weight < 0.3]).max() == 0
    assert np.linalg.norm(field, axis=1).max() < 6e-3


def test_the_overlay_shows_mesh_landmarks_and_confidence(model, truth, faces):
    image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    mesh = model.pose(truth, model.rest(truth.shape), 0)
    camera = Camera(FOCAL, SIZE[0] / 2, SIZE[1] / 2, *SIZE)
    drawn = draw_overlay(image, mesh, model, camera, faces.landmarks[0], 0.5)
    x, y = np.floor(faces.landmarks[0, 4, :2]).astype(int)
    assert (drawn[y, x] != image[y, x]).any() and drawn[y, x, 1] > 150
    half = SIZE[0] // 2
    without = draw_overlay(image, mesh, model, camera, faces.landmarks[0])
    assert (drawn[0, :half] == drawn[0, 0]).all() and (drawn[0, half:] == without[0, half:]).all()
    assert (image == 40).all()


def test_strong_perspective_moves_the_focal_length_towards_the_truth(model, truth):
    near = replace(truth, focal=truth.focal / 2, translation=truth.translation * (1, 1, 0.5))
    faces = seen_landmarks(model, near)
    held = fit_track(faces, model, FitConfig())
    free = fit_track(faces, model, FitConfig(focal_sigma=0.5))
    assert np.ptp(free.focal) == 0, "one lens for a clip"
    off = [abs(np.log(track.focal[0] / near.focal[0])) for track in (held, free)]
    assert off[0] == pytest.approx(np.log(2)) and off[1] < 0.3 * off[0]
    assert angle(near.rotation, free.rotation).mean() < angle(near.rotation, held.rotation).mean()


def test_a_given_focal_length_and_those_of_photos_are_kept(model, faces):
    wide = FitConfig(focal_sigma=0.5, iterations=1, key_frames=4)
    part = replace(
        faces,
        shots=(Shot(0, 3),),
        **{
            name: getattr(faces, name)[:3]
            for name in (
                "landmarks",
                "valid",
                "confidence",
                "bridged",
                "duplicate",
                "shoulders",
                "embedding",
                "sharpness",
            )
        },
    )
    assert (fit_track(part, model, wide, focal=900.0).focal == 900.0).all()
    assert (fit_track(part, model, wide, photos=True).focal == wide.focal_ratio * SIZE[0]).all()


def test_a_bounded_step_ends_at_the_constrained_minimum():
    """Two actions that make up for each other: the one that would leave is held, and the other knows of it."""
    n = ACTIONS.start + 2
    hessian, minimum = np.eye(n), np.zeros(n)
    hessian[-2:, -2:] = [[2.0, 1.9], [1.9, 2.0]]
    minimum[-2:] = -0.4, 0.7
    values = np.zeros(n)
    values[-2:] = 0.1, 0.2
    gradient = hessian @ (values - minimum)
    step = bounded_step(lambda extra, right: np.linalg.solve(hessian + np.diag(extra), right), values, gradient)
    first, second = (values + step)[-2:]
    assert first == pytest.approx(0, abs=1e-6)
    assert second == pytest.approx(0.7 + 1.9 / 2 * (-0.4), abs=1e-6)
    clipped = np.clip(minimum[-2:], 0, 1)
    cost = lambda x: 0.5 * (x - minimum[-2:]) @ hessian[-2:, -2:] @ (x - minimum[-2:])  # noqa: E731
    assert cost(np.array([first, second])) < 0.5 * cost(clipped)
