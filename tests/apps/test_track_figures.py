"""The measures of ``gswap bench track`` against closed forms."""

import numpy as np
import pytest

from gswap.apps.bench import track_figures as figures
from gswap.apps.bench.track import BOUNDS, _with_bound
from gswap.body.models import load_body
from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.types import BodyTrack


def square(x, y, side=20, size=64):
    mask = np.zeros((size, size), np.uint8)
    mask[y : y + side, x : x + side] = 255
    return mask


def track_of(rotation) -> BodyTrack:
    model, count = load_body("anny"), len(rotation)
    return BodyTrack(
        shape=model.neutral_shape(),
        focal=np.full(count, 900.0),
        rotation=np.asarray(rotation, float),
        translation=np.tile([0.0, 0.0, 1.2], (count, 1)),
        neck=np.zeros((count, 3)),
        eyes=np.zeros((count, 2, 3)),
        actions=np.zeros((count, len(model.action_names))),
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        residual=np.zeros(count),
        sizes=np.full((count, 2), 512),
    )


def test_masks():
    assert figures.overlap(square(10, 10), square(10, 10)) == 1
    assert figures.overlap(square(10, 10), square(20, 10)) == pytest.approx(1 / 3)
    assert figures.boundary_error(square(10, 10), square(10, 10)) == 0
    assert figures.boundary_error(square(10, 10, 20), square(7, 7, 26)) == pytest.approx(3, abs=0.3)


def test_psnr_of_a_constant_error():
    a, b = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 110, np.uint8)
    everywhere = np.ones((8, 8), bool)
    assert figures.psnr([figures.squared_error(a, b, everywhere)] * 2) == pytest.approx(20 * np.log10(25.5))
    assert np.isnan(figures.psnr([]))


def test_a_constant_turn_is_no_rotation_error_and_a_jump_is():
    rotation = np.stack([0.1 * np.sin(np.arange(30)), np.linspace(-0.6, 0.6, 30), np.zeros(30)], 1)
    offset = rotvec_to_matrix(np.array([0.05, -0.03, 0.02]))
    turned = matrix_to_rotvec(rotvec_to_matrix(rotation) @ offset)
    truth, used = track_of(rotation), np.ones(30, bool)
    assert figures.rotation_errors(truth, track_of(turned), used).max() < 1e-6
    turned[3] = matrix_to_rotvec(rotvec_to_matrix(turned[3]) @ rotvec_to_matrix(np.radians([0, 4.0, 0])))
    assert figures.rotation_errors(truth, track_of(turned), used)[3] == pytest.approx(4, abs=0.2)


def test_a_perfect_track_has_no_errors():
    truth = track_of([[0.0, 0.3, 0.0], [0.1, -0.9, 0.0]])
    model = load_body("anny")
    marks = []
    rest = model.rest(truth.shape)
    for t in range(2):
        points = figures.landmark_points(model, model.pose(truth, rest, t).vertices)
        marks.append(900 * points[:, :2] / points[:, 2:] + 256)
    found = figures.pose_figures(model, truth, truth, np.array(marks))
    assert found.yaw == pytest.approx(np.degrees([-0.3, 0.9]), abs=1)
    for name in ("rotation", "jaw", "jaw_line", "marked", "lids", "lips", "ears", "skull", "gaze"):
        assert np.abs(getattr(found, name)).max() < 1e-3, name
    ours, mean = figures.shape_errors(model, truth.shape, truth.shape)
    assert ours == pytest.approx(0, abs=1e-6) and mean == pytest.approx(0, abs=1e-6)


def test_verdicts_on_the_bounds():
    name = "rotation, median, degrees"
    must, goal, small = BOUNDS[name]
    assert small and goal < must
    words = [str(_with_bound(name, value)).split(": ")[-1] for value in (goal, must, 1.01 * must, np.nan, np.inf)]
    assert words == ["goal", "must", "missed", "not measured", "not measured"]
    assert _with_bound("something else", 3.0) == 3.0


def test_a_line_moved_along_itself_is_nearer_than_its_points():
    places = np.linspace(0, np.pi, 15)
    arc = 100 * np.stack([np.cos(places), np.sin(places)], 1)
    along = 100 * np.stack([np.cos(places + 0.05), np.sin(places + 0.05)], 1)
    assert np.linalg.norm(along - arc, axis=1).mean() > 4.9
    assert figures.line_distance(arc, along) < 0.4
    assert figures.line_distance(arc, arc * 1.03) == pytest.approx(3, abs=0.1)
