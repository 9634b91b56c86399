"""Ears, skull and jaw in the fit: their errors, their derivatives, and what they are good for."""

from dataclasses import replace

import numpy as np
import pytest

from gswap.body.config import FitConfig
from gswap.body.fit import body_shape, fit_faces, fit_track, observe
from gswap.body.gauss_newton import (
    Observations,
    Priors,
    States,
    linearise,
    normal_equations,
)
from gswap.body.head_offsets import solve_head_offsets
from gswap.body.head_points import LEFT_EAR, RIGHT_EAR, HeadPoints
from gswap.body.head_terms import HEAD_OUTLIER, HEAD_TRUST, linearise_head
from gswap.body.landmark_errors import head_axes, view_angles
from gswap.body.landmark_model import landmark_model
from gswap.body.models import load_body
from gswap.body.offsets import spread_offsets
from gswap.body.shape_step import solve_with_shape
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import OVAL
from gswap.foundation.types import BodyShape, BodyTrack, FaceTrack, Shot

SIZE, FOCAL = (640, 480), 1408.0


@pytest.fixture(scope="module")
def model():
    return load_body("anny")


def person(model, count=6) -> BodyTrack:
    """Somebody with large ears that stand low on a broad skull, who turns."""
    local = {f"{side}-ear-scale-incr": 0.6 for side in "lr"} | {f"{side}-ear-trans-down": 0.5 for side in "lr"}
    known = {name: value for name, value in local.items() if name in model.local_names}
    known |= {"head-scale-horiz-incr": 0.5} if "head-scale-horiz-incr" in model.local_names else {}
    assert len(known) >= 2
    coefficients = model.coefficients({}, known)
    yaw = np.linspace(-0.4, 0.4, count)
    return BodyTrack(
        shape=BodyShape(model.name, coefficients, np.zeros_like(model.neutral_shape().offsets)),
        focal=np.full(count, FOCAL),
        rotation=np.stack([0.05 * np.cos(7 * yaw), yaw, 0.1 * yaw], 1),
        translation=np.tile([0.01, -0.02, 0.9], (count, 1)),
        neck=np.zeros((count, 3)),
        eyes=np.zeros((count, 2, 3)),
        actions=np.zeros((count, len(model.action_names))),
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        residual=np.zeros(count),
        sizes=np.tile(SIZE, (count, 1)),
    )


def seen(model, truth, triangles, barycentric):
    rest = model.rest(truth.shape)
    out = []
    for t in range(len(truth)):
        corners = model.pose(truth, rest, t).vertices[triangles]
        points = (corners * barycentric[..., None]).sum(1)
        out.append(truth.focal[t] * points[:, :2] / points[:, 2:] + np.array(SIZE) / 2)
    return np.array(out)


def faces_of(model, truth) -> FaceTrack:
    count, head = len(truth), model.head_points
    marks = seen(model, truth, model.landmark_triangles, model.landmark_barycentric)
    return FaceTrack(
        landmarks=np.concatenate([marks, np.zeros((count, 478, 1))], 2),
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        bridged=np.zeros(count, bool),
        duplicate=np.zeros(count, bool),
        shoulders=np.zeros((count, 2, 3)),
        embedding=np.full((count, 128), np.nan),
        sharpness=np.ones(count),
        size=SIZE,
        shots=(Shot(0, count),),
        head_points=seen(model, truth, head.triangles, head.barycentric),
        ears_seen=np.ones((count, 2)),
    )


def one_image(model):
    lm = landmark_model(model)
    truth = person(model, 2)
    faces = faces_of(model, truth)
    states = States(
        truth.rotation[:1] + 0.02, truth.translation[:1], np.full((1, 2, 2), 0.1), np.full((1, len(lm.free)), 0.2)
    )
    obs = Observations(
        faces.landmarks[:1, :, :2],
        np.ones(1),
        np.array([FOCAL]),
        np.array([SIZE]) / 2,
        faces.head_points[:1],
        faces.ears_seen[:1],
    )
    return lm, states, obs


def test_a_hidden_ear_counts_less_and_a_common_error_once():
    ear = np.array([0, RIGHT_EAR, LEFT_EAR])
    together = np.zeros((1, 3, 2))
    together[0, :, 0] = 0.005
    head = HeadPoints(
        triangles=np.zeros((3, 3), int),
        barycentric=np.zeros((3, 3)),
        landmark=np.full(3, -1),
        ear=ear,
        person=np.ones((1, 3, 2)),
        frame=together,
        variance=np.array([np.full(3, 0.02**2), np.full(3, 0.01**2)]),
        hidden=2.0,
        turned=0.5,
    )
    plain = head.covariance(0.0, np.ones(2), 1)
    np.testing.assert_allclose(plain[0, [0, 2, 4]], [0.02**2 + 0.01**2 + 0.005**2, 0.005**2, 0.005**2])
    of_ten = np.linalg.inv(10 * np.linalg.inv(head.covariance(0.0, np.ones(2), 10)))
    np.testing.assert_allclose(of_ten[0, 2], 0.005**2 / 10, rtol=1e-9)
    np.testing.assert_allclose(of_ten[1, 1], 0.02**2 + 0.01**2 / 10, rtol=1e-9)
    covered = head.covariance(0.0, np.array([0.0, 1.0]), 1)
    np.testing.assert_allclose(np.diag(covered) / np.diag(plain), [1, 1, 4, 4, 1, 1])
    turned = head.covariance(0.4, np.ones(2), 1)
    np.testing.assert_allclose(np.diag(turned) / np.diag(plain), np.exp([0, 0, -0.4, -0.4, 0.4, 0.4]))


def test_derivatives_against_finite_differences(model):
    lm, states, obs = one_image(model)
    rng = np.random.default_rng(0)
    personal = rng.normal(0, 1, len(lm.errors.person) + len(lm.head_modes))
    shape = lm.face_shape(np.full(lm.space.basis.shape[1], 0.05), personal)
    shape = replace(shape, offsets=rng.normal(0, 1e-3, (468, 3)))
    line = linearise_head(lm, shape, states, obs, 0)
    assert line is not None
    turn = rotvec_to_matrix(states.rotation[0])
    size = lm.marks.scale(view_angles(turn, states.translation[0])[0], obs.ears[0]).reshape(-1, 2)
    modes = (size * (lm.marks.person @ head_axes(turn))).reshape(len(lm.marks.person), -1).T
    np.testing.assert_allclose(line.by_personal, modes, atol=1e-12)
    missed = modes @ personal[len(lm.errors.person) :]

    def placed(values, head=shape.head, zoom=1.0):
        """The residual with the unit held, independently of the code under test."""
        s = States.unstack(values)
        points = head + np.tensordot(s.actions[0], lm.head_actions, 1)
        also = lm.marks.landmark >= 0
        points[also] += shape.offsets[lm.marks.landmark[also]]
        camera = points @ rotvec_to_matrix(s.rotation[0]).T + s.translation[0] * [1, 1, zoom]
        pixels = zoom * FOCAL * camera[:, :2] / camera[:, 2:] + obs.centre[0]
        return ((pixels - obs.head[0]) / (FOCAL * 0.09 / states.translation[0, 2])).ravel() + missed

    values = states.stack()
    np.testing.assert_allclose(placed(values), line.residual, atol=1e-12)
    for k in range(values.shape[1]):
        step = np.zeros_like(values)
        step[0, k] = 1e-5
        slope = (placed(values + step) - placed(values - step)) / 2e-5
        np.testing.assert_allclose(slope, line.jacobian[:, k], atol=2e-5)
    for axis in range(3):
        step = np.zeros_like(shape.head)
        step[:, axis] = 1e-5
        slope = (placed(values, shape.head + step) - placed(values, shape.head - step)) / 2e-5
        np.testing.assert_allclose(slope, line.point_jacobian[:, :, axis].ravel(), atol=2e-5)
    slope = (placed(values, zoom=np.exp(1e-5)) - placed(values, zoom=np.exp(-1e-5))) / 2e-5
    np.testing.assert_allclose(slope, line.by_focal, atol=2e-5)


def test_the_gradient_is_that_of_the_weighted_squares(model):
    lm, states, obs = one_image(model)
    shape, values = lm.face_shape(np.zeros(lm.space.basis.shape[1])), states.stack()
    priors = Priors.standard(len(lm.free), 1.0)
    line, head = linearise(lm, shape, states, obs, 0), linearise_head(lm, shape, states, obs, 0)
    assert head is not None
    hessian, gradient = normal_equations(line, head, priors, values[0])
    bare_hessian, bare = normal_equations(line, None, priors, values[0])
    turn = rotvec_to_matrix(states.rotation[0])
    axes = np.kron(np.eye(len(model.head_points)), head_axes(turn))
    yaw, _ = view_angles(turn, states.translation[0])
    covariance = model.head_points.covariance(yaw, obs.ears[0], obs.repeats)
    precision = axes.T @ np.linalg.inv(covariance) @ axes
    surprise = head.residual @ precision @ head.residual / len(head.residual)
    precision *= HEAD_TRUST / (1 + surprise / HEAD_OUTLIER**2)
    expected = head.jacobian.T @ precision @ head.residual
    np.testing.assert_allclose(gradient - bare, expected, atol=1e-6 * np.abs(expected).max())
    expected = head.jacobian.T @ precision @ head.jacobian
    np.testing.assert_allclose(hessian - bare_hessian, expected, atol=1e-6 * np.abs(expected).max())


def test_a_step_with_the_shape_lowers_what_is_left_of_the_points(model):
    lm = landmark_model(model)
    truth = person(model)
    faces = faces_of(model, truth)
    count = len(truth)
    obs = Observations(
        faces.landmarks[..., :2], np.ones(count), truth.focal, np.tile(SIZE, (count, 1)) / 2, faces.head_points,
        faces.ears_seen, float(count),
    )  # fmt: skip
    states = States(truth.rotation, truth.translation, np.zeros((count, 2, 2)), np.zeros((count, len(lm.free))))
    shape = lm.face_shape(np.zeros(lm.space.basis.shape[1]))
    priors = Priors.standard(len(lm.free), 0.7)

    def left(shape, states):
        lines = [linearise_head(lm, shape, states, obs, t) for t in range(count)]
        return np.mean([np.abs(line.residual).mean() for line in lines if line is not None])

    before = left(shape, states)
    for _ in range(3):
        slopes = lm.shape_slopes(shape.parameters)
        shape, states, _ = solve_with_shape(lm, shape, states, obs, priors, slopes, 1.0)
    assert left(shape, states) < 0.4 * before


def test_an_error_that_all_images_share_is_taken_for_the_persons(model):
    """Images that all miss the points in a way that is common among people: the person's coefficient grows."""
    lm, truth = landmark_model(model), replace(person(model), shape=model.neutral_shape())
    faces, count = faces_of(model, truth), len(truth)
    places = [lm.marks.person[0] @ head_axes(turn) for turn in rotvec_to_matrix(truth.rotation)]
    shift = 1.5 * np.array(places) * (FOCAL * 0.09 / truth.translation[:, 2])[:, None, None]
    states = States(truth.rotation, truth.translation, np.zeros((count, 2, 2)), np.zeros((count, len(lm.free))))
    centre, priors = np.tile(SIZE, (count, 1)) / 2, Priors.standard(len(lm.free), 0.7)

    def first_coefficient(points):
        obs = Observations(
            faces.landmarks[..., :2], np.ones(count), truth.focal, centre, points, faces.ears_seen, float(count)
        )
        shape, now = lm.face_shape(np.zeros(lm.space.basis.shape[1])), states
        for _ in range(4):
            slopes = lm.shape_slopes(shape.parameters)
            shape, now, _ = solve_with_shape(lm, shape, now, obs, priors, slopes, 3.0)
        return shape.personal[len(lm.errors.person)]

    grown = first_coefficient(faces.head_points + shift) - first_coefficient(faces.head_points)
    assert 0.5 < grown < 1.6


def test_points_bring_the_ears_to_their_place(model):
    truth = person(model)
    faces = faces_of(model, truth)
    ears = np.flatnonzero((model.regions["ears"] > 0.5) & (model.part == 0))
    rest = model.rest(truth.shape)

    def off(track):
        own = model.rest(track.shape)
        errors = []
        for t in range(len(truth)):
            a, b = (model.pose(x, r, t).vertices[ears] for x, r in ((track, own), (truth, rest)))
            pixels = a[:, :2] / a[:, 2:] * track.focal[t] - b[:, :2] / b[:, 2:] * truth.focal[t]
            errors.append(np.linalg.norm(pixels, axis=1).mean())
        return np.mean(errors) / (FOCAL * 0.09 / 0.9)

    without = off(fit_track(replace(faces, head_points=np.zeros((0, 0, 2))), model, FitConfig()))
    assert off(fit_track(faces, model, FitConfig())) < 0.5 * without


def test_images_without_points_are_fitted_as_before(model):
    truth = person(model)
    faces = faces_of(model, truth)
    bare = fit_track(replace(faces, head_points=np.zeros((0, 0, 2))), model, FitConfig())
    unseen = fit_track(replace(faces, head_points=np.full_like(faces.head_points, np.nan)), model, FitConfig())
    np.testing.assert_array_equal(bare.rotation, unseen.rotation)
    np.testing.assert_array_equal(bare.shape.coefficients, unseen.shape.coefficients)


def test_ears_that_no_shape_has_are_followed_and_leave_the_face_alone(model):
    truth = person(model)
    ears = (model.regions["ears"] > 0.5) & (model.part == 0)
    side = np.sign(model.rest(truth.shape).vertices[:, :1])
    odd = replace(truth, shape=replace(truth.shape, offsets=np.where(ears[:, None], side * [6e-3, 0, 0], 0)))
    faces = replace(faces_of(model, truth), head_points=faces_of(model, odd).head_points)
    lm, track = landmark_model(model), fit_track(faces, model, FitConfig())
    fit = fit_faces(lm, observe(faces, FitConfig(), None), [np.arange(len(truth))], FitConfig())
    whole = body_shape(lm, fit)
    np.testing.assert_array_equal(whole.offsets, track.shape.offsets)
    plain = spread_offsets(model, model.rest(lm.body_shape(fit.shape.parameters)).vertices, fit.shape)
    on_ear = model.head_points.ear > 0
    ear_points = model.head_points.triangles[on_ear], model.head_points.barycentric[on_ear]

    def off(shape):
        pixels = seen(model, replace(track, shape=shape), *ear_points) - seen(model, odd, *ear_points)
        return np.linalg.norm(pixels, axis=-1).mean()

    assert off(whole) < 0.6 * off(replace(whole, offsets=plain))
    inner = np.setdiff1d(np.arange(468), OVAL)
    moved = whole.offsets - plain
    at_face = (moved[model.landmark_triangles[inner]] * model.landmark_barycentric[inner][..., None]).sum(1)
    lengths, largest = np.linalg.norm(at_face, axis=1), np.linalg.norm(moved, axis=1).max()
    assert lengths.mean() < 0.01 * largest
    assert lengths.max() < 0.2 * largest  # beside the jaw, which is moved as well


def test_without_points_there_are_no_offsets(model):
    lm, states, obs = one_image(model)
    shape = lm.face_shape(np.zeros(lm.space.basis.shape[1]))
    unseen = replace(obs, head=np.full_like(obs.head, np.nan))
    assert not solve_head_offsets(lm, shape, states, unseen).any()


def test_common_errors_are_larger_only_where_there_are_landmarks_alone(model):
    truth = person(model, 3)
    faces = faces_of(model, truth)
    alone = replace(faces, head_points=np.zeros((0, 0, 2)))
    quick = FitConfig(iterations=1)
    other = replace(quick, common_errors_alone=3.0)
    np.testing.assert_array_equal(fit_track(faces, model, quick).rotation, fit_track(faces, model, other).rotation)
    assert (fit_track(alone, model, quick).rotation != fit_track(alone, model, other).rotation).any()
