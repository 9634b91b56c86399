"""Closing the loop over simulated detectors whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gswap.foundation.landmarks import LIPS_INNER_LOWER, LIPS_INNER_UPPER, lid_opening, mouth_gap
from gswap.swap.embedded.calibrate import CORNERS, calibrated, calibration_frames, gain_of
from gswap.swap.embedded.lift import to_image
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
    return replace(made, posed=replace(made.posed, local=local, closed=np.zeros((len(OPENINGS), 2))), choice=choice)


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


def test_gains_are_inverse_slopes_where_there_is_motion():
    signal = np.linspace(-0.2, 0.2, 20)
    assert gain_of(signal, 0.625 * signal + 0.1, 0.008, 2.0) == pytest.approx(1.6, rel=0.01)
    assert gain_of(signal, 0.2 * signal, 0.008, 2.0) == 2.0
    assert gain_of(signal, 1.4 * signal, 0.008, 2.0) == 1.0


def test_noise_alone_gives_no_gain():
    noise = np.random.default_rng(0).normal(0, 0.001, (2, 20))
    assert gain_of(noise[0], noise[1], 0.008, 2.0) < 1.05
    assert gain_of(np.array([0.0, 1.0]), np.array([0.0, 0.1]), 0.008, 2.0) == 1.0


def test_a_shy_detector_reads_the_wanted_lids_afterwards(plan):
    wanted = placed(plan)
    after = shy(placed(calibrated(plan, shy(wanted, 0.6))), 0.6)
    for side, _, _ in EYES:
        opening = np.array([lid_opening(wanted[t], side) for t in wanted])
        before = np.array([lid_opening(shy(wanted, 0.6)[t], side) for t in wanted])
        now = np.array([lid_opening(after[t], side) for t in wanted])
        assert np.abs(now - opening).max() < 0.35 * np.abs(before - opening).max()


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
    frames = calibration_frames(plan)
    assert frames == sorted(set(frames))
    assert {int(OPENINGS.argmin()), int(OPENINGS.argmax())} <= set(frames)
    assert all(0 <= t < len(OPENINGS) for t in frames)
