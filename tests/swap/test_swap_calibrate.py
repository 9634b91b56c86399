"""Closing the loop over simulated detectors whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.landmarks import LIPS_INNER_LOWER, LIPS_INNER_UPPER, RIGID, head_angles, lid_opening, mouth_gap
from gswap.swap.embedded import calibrate
from gswap.swap.embedded.calibrate import CORNERS, ROUNDS, calibrated, calibration_frames, nodded
from gswap.swap.embedded.lift import to_image
from gswap.swap.embedded.response import Drivers, expected_error
from gswap.swap.embedded.retarget import EYES
from gswap.swap.embedded.swapper import EmbeddedSwapper

OPENINGS = np.array([0.8, 0.9, 1.0, 1.1, 1.0, 0.85, 1.0, 1.05])


@pytest.fixture(scope="module")
def plan(model, clip, people):
    """Lids that open by known amounts, no blink; two photos that take turns with the mouth."""
    made = EmbeddedSwapper(clip.target(), clip.faces, clip.body, people.photos(), people.faces, people.body, model).plan
    local = np.repeat(made.posed.local[:1], len(OPENINGS), axis=0)
    for _, contour, _ in EYES:
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        local[:, upper] = local[:, lower] + OPENINGS[:, None, None] * (local[:, upper] - local[:, lower])
    mouth = np.zeros((len(OPENINGS), max(2, made.choice.mouth.shape[1])))
    mouth[::2, 0] = mouth[1::2, 1] = 1
    choice = replace(made.choice, mouth=mouth)
    posed = replace(made.posed, local=local, closed=np.zeros((len(OPENINGS), 2)))
    frames = made.frames  # the target's landmarks are where the head's are put: nothing else is wanted of it
    image = np.stack(
        [to_image(local[t], frames.rotation[t], frames.translation[t], frames.cameras[t])[0] for t in range(len(local))]
    )
    return replace(made, posed=posed, choice=choice, frames=replace(frames, image=image))


def placed(plan) -> dict[int, np.ndarray]:
    frames, points = plan.frames, plan.posed.local
    return {
        t: to_image(points[t], frames.rotation[t], frames.translation[t], frames.cameras[t])[0]
        for t in range(len(points))
    }


def shy(readings: dict[int, np.ndarray], share: float) -> dict[int, np.ndarray]:
    """A detector that sees only a share of what the lids move."""
    out = {t: points.copy() for t, points in readings.items()}
    for side, contour, _ in EYES:
        openings = {t: float(lid_opening(points, side)) for t, points in out.items()}
        usual = float(np.median(list(openings.values())))
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        for t, points in out.items():
            factor = (usual + share * (openings[t] - usual)) / openings[t]
            points[upper] = points[lower] + factor * (points[upper] - points[lower])
    return out


def drivers_of(*curves: np.ndarray) -> Drivers:
    count = len(curves[0])
    return Drivers.of(curves, np.ones((count, 1)), np.arange(count, dtype=float))


def test_a_smooth_error_is_known_everywhere_from_a_few_frames():
    signal = np.random.default_rng(1).uniform(0, 0.5, 200)
    errors = 0.04 * np.sin(6 * signal)
    seen = np.arange(0, 200, 6)
    expected = expected_error(drivers_of(signal), seen, errors[seen], 0.002)
    rest = np.setdiff1d(np.arange(200), seen)
    assert np.abs(expected - errors)[rest].mean() < 0.15 * np.abs(errors[rest]).mean()


def test_noise_alone_is_no_error():
    noise = np.random.default_rng(0).normal(0, 0.005, 40)
    expected = expected_error(drivers_of(np.linspace(0, 1, 40)), np.arange(40), noise, 0.006)
    np.testing.assert_array_equal(expected, 0)


def test_scatter_about_an_error_is_smoothed():
    rng = np.random.default_rng(2)
    signal = rng.permutation(np.linspace(-1, 1, 60))
    errors = 0.03 * signal + rng.normal(0, 0.012, 60)
    expected = expected_error(drivers_of(signal), np.arange(60), errors, 0.002)
    assert np.abs(expected - 0.03 * signal).mean() < 0.65 * np.abs(errors - 0.03 * signal).mean()


def test_nothing_drifts_across_a_cut():
    clock = np.concatenate([np.arange(20.0), 1000 + np.arange(20.0)])
    kernel = Drivers(np.zeros((40, 1)), np.zeros((40, 1)), clock).kernel(np.array([19]), np.array([18, 20]))
    assert kernel[0, 0] > kernel[0, 1]


def test_a_shy_detector_reads_the_wanted_lids_afterwards(plan):
    wanted = placed(plan)
    after = shy(placed(calibrated(plan, shy(wanted, 0.6))), 0.6)
    for side, _, _ in EYES:
        opening = np.array([lid_opening(wanted[t], side) for t in wanted])
        before = np.array([lid_opening(shy(wanted, 0.6)[t], side) for t in wanted])
        now = np.array([lid_opening(after[t], side) for t in wanted])
        assert np.abs(now - opening).mean() < 0.6 * np.abs(before - opening).mean()


def test_an_exact_detector_changes_next_to_nothing(plan):
    moved = calibrated(plan, placed(plan)).posed.local - plan.posed.local
    assert np.abs(moved).max() < 2e-4  # metres


def test_a_photos_own_width_is_taken_out(plan):
    readings = placed(plan)
    for t in range(1, len(readings), 2):  # the second photo's mouth is read wider
        points = readings[t]
        unit = np.linalg.norm(points[33] - points[263])
        points[CORNERS[0], 0] -= 0.01 * unit
        points[CORNERS[1], 0] += 0.01 * unit
    local = calibrated(plan, readings).posed.local
    width = np.linalg.norm(local[:, CORNERS[0], :2] - local[:, CORNERS[1], :2], axis=-1)
    unit = np.linalg.norm(local[0, 33, :2] - local[0, 263, :2])
    narrower = (width[::2].mean() - width[1::2].mean()) / unit
    assert 0.014 < narrower < 0.021


def test_closed_lips_and_shut_lids_stay(plan):
    together = plan.posed.local.copy()
    together[:, LIPS_INNER_LOWER] = together[:, LIPS_INNER_UPPER]
    shut = replace(plan, posed=replace(plan.posed, local=together, closed=np.ones((len(OPENINGS), 2))))
    readings = placed(shut)
    for points in readings.values():
        points[14, 1] += 0.02 * np.linalg.norm(points[33] - points[263])  # read as open
    local = calibrated(shut, shy(readings, 0.5)).posed.local
    assert mouth_gap(local).max() < 1e-6
    for side, _, _ in EYES:
        np.testing.assert_allclose(lid_opening(local, side), lid_opening(together, side), atol=1e-6)


def test_few_readings_change_nothing(plan):
    few = {t: points for t, points in placed(plan).items() if t < 4}
    assert calibrated(plan, few) is plan


def test_the_frames_to_read_cover_lids_and_photos(plan):
    frames = [calibration_frames(plan, part) for part in range(ROUNDS)]
    together = sorted(t for part in frames for t in part)
    assert together == sorted(set(together))
    assert {int(OPENINGS.argmin()), int(OPENINGS.argmax())} <= set(together)
    assert all(0 <= t < len(OPENINGS) for t in together)


def in_camera(plan) -> np.ndarray:
    frames = plan.frames
    return np.einsum("tij,tpj->tpi", frames.rotation, plan.posed.local) + frames.translation[:, None]


NOD = np.array([2.0, -1.5, 0.0, 1.0, -2.0, 1.5, 0.0, -1.0])


def misread_nod(points: np.ndarray) -> dict[int, np.ndarray]:
    """Landmarks (camera frame) of a detector that sees the head nod by :data:`NOD` degrees."""
    turn = rotvec_to_matrix(np.radians(NOD)[:, None] * [1.0, 0.0, 0.0])
    return {t: (p - p.mean(0)) @ turn[t].T for t, p in enumerate(points)}


def test_a_head_that_is_read_as_nodding_is_turned_back_about_its_face(plan, monkeypatch):
    """A detector that sees the head nod by what it does not is obeyed, for it sees the target alike."""
    monkeypatch.setattr(calibrate, "PITCH_SMOOTHING", 0.0)
    true, nod = in_camera(plan), NOD
    angles, misread = head_angles(true), misread_nod(true)
    assert np.abs(head_angles(np.stack(list(misread.values())))[:, 1] - angles[:, 1] - nod).max() < 0.1
    after = in_camera(nodded(plan, misread, angles, ()))
    left = head_angles(after)[:, 1] + nod - angles[:, 1]
    assert np.abs(left - np.median(left)).mean() < 0.5 * np.abs(nod - np.median(nod)).mean()
    np.testing.assert_allclose(after[:, list(RIGID)].mean(1), true[:, list(RIGID)].mean(1), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(nodded(plan, misread, angles, ()).frames.rotation), 1, atol=1e-9)


def test_a_head_that_is_read_as_it_is_stays(plan):
    true = in_camera(plan)
    otherwise = head_angles(true) + np.array([0, 3, 0])  # a constant is somebody's chin
    same = nodded(plan, dict(enumerate(true)), otherwise, ())
    np.testing.assert_allclose(same.frames.rotation, plan.frames.rotation, atol=1e-9)
    few = {t: true[t] for t in range(4)}
    assert nodded(plan, few, head_angles(true), ()) is plan


@pytest.mark.parametrize("smoothing", [0.0, calibrate.PITCH_SMOOTHING])
def test_a_repeated_frame_nods_as_the_one_that_it_repeats(plan, monkeypatch, smoothing):
    """Its own landmarks were not looked at as often."""
    monkeypatch.setattr(calibrate, "PITCH_SMOOTHING", smoothing)
    clock = np.array([0.0, 1, 1, 3, 4, 5, 5, 7])
    frames, own = plan.frames, np.array([0, 1, 1, 3, 4, 5, 5, 7])
    frames = replace(
        frames, image=frames.image[own], rotation=frames.rotation[own], translation=frames.translation[own]
    )
    choice = replace(plan.choice, base=plan.choice.base[own])
    still = replace(
        plan, clock=clock, choice=choice, frames=frames, posed=replace(plan.posed, local=plan.posed.local[own])
    )
    true = in_camera(still)
    nod = np.array([2.0, -1.5, -1.5, 1.0, -2.0, 1.5, 1.5, -1.0])
    turn = rotvec_to_matrix(np.radians(nod)[:, None] * [1.0, 0.0, 0.0])
    readings = {t: (points - points.mean(0)) @ turn[t].T for t, points in enumerate(true)}
    angles = head_angles(true) + np.array([0, 0, 1.5, 0, 0, 0, -1.5, 0])[:, None] * [0, 1, 0]
    after = nodded(still, readings, angles, ()).frames
    assert np.abs(after.rotation - frames.rotation).max() > (1e-5 if smoothing else 0.01)
    np.testing.assert_array_equal(after.rotation, after.rotation[own])
    np.testing.assert_array_equal(after.translation, after.translation[own])


def test_a_head_does_not_tremble_with_its_readings(plan):
    true = in_camera(plan)
    turned = nodded(plan, misread_nod(true), head_angles(true), ()).frames.rotation
    pitch = np.degrees(matrix_to_rotvec(np.swapaxes(plan.frames.rotation, 1, 2) @ turned)[:, 0])
    assert 0 < np.abs(np.diff(pitch)).max() < 0.15 * np.abs(np.diff(NOD)).mean()
