"""Eyes taken apart: the iris moves rigidly over a white that has none, whatever the photo's gaze."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.imaging import fill_polygon
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT
from gswap.swap.embedded.eyes import eyeballs, shut_lids, take_apart
from gswap.swap.embedded.regions import smooth_contour
from gswap.swap.embedded.retarget import EYES

SIZE = (80, 220)
WIDTH, OPEN = 60.0, 22.0
SKIN, WHITE, IRIS = (200, 150, 120), (225, 220, 215), (60, 80, 90)


def landmarks(gaze, opening=OPEN, radius=11.0):
    """Two eyes; ``gaze`` moves the irises sideways, pixels."""
    points = np.zeros((478, 2))
    for (_, contour, iris), x in zip(EYES, (60.0, 160.0), strict=True):
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)  # outer corner, below, inner corner, above
        points[list(contour)] = np.stack([x - WIDTH / 2 * np.cos(angle), 40 + opening / 2 * np.sin(angle)], 1)
        centre = np.array([x + gaze, 40.0])
        points[list(iris)] = centre + radius * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    return points


def drawn(points, larger=1.0):
    """A photo of such eyes, with irises larger than detected."""
    image = np.full((*SIZE, 3), SKIN, np.float32)
    x, y = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    for _, contour, iris in EYES:
        opening = fill_polygon(smooth_contour(points[list(contour)]), *SIZE)[..., None]
        centre, rim = points[iris[0]], points[iris[1]]
        away = np.hypot(x - centre[0], y - centre[1]) / (larger * np.linalg.norm(rim - centre))
        share = np.clip((1 - away) * 8 + 0.5, 0, 1)[..., None]
        eye = share * np.float32(IRIS) + (1 - share) * np.float32(WHITE)
        image += opening * (eye - image)
    return np.round(image).astype(np.uint8)


def made(photo_gaze, gaze, larger=1.0, opening=OPEN):
    photo_points, points = landmarks(photo_gaze), landmarks(gaze, opening)
    photo = drawn(photo_points, larger)
    colour, mask = eyeballs(points, photo_points, take_apart(photo, photo_points), SIZE, 200.0)
    return mask[..., None] * colour + (1 - mask[..., None]) * np.float32(SKIN), drawn(points, larger), mask


@pytest.mark.parametrize("larger", [1.0, 1.3], ids=["as detected", "larger than detected"])
@pytest.mark.parametrize(("photo_gaze", "gaze"), [(0, 0), (0, 14), (14, -14), (-16, 0)])
def test_the_iris_is_where_the_gaze_is_and_nowhere_else(photo_gaze, gaze, larger):
    image, expected, mask = made(photo_gaze, gaze, larger)
    inside = mask > 0.95
    difference = np.abs(image - expected).mean(-1)[inside]
    assert difference.mean() < 6, "the white is continued under the old place"
    assert np.percentile(difference, 98) < 60, "only the rim may be off, by a pixel"
    dark = inside & (image.mean(-1) < 150)
    for (_, _, iris), half in zip(EYES, (np.s_[:, :110], np.s_[:, 110:]), strict=True):
        x = np.nonzero(dark[half])[1].mean() + 0.5 + (110 if half[1].start else 0)
        truth = np.nonzero((inside & (expected.mean(-1) < 150))[half])[1].mean() + 0.5 + (110 if half[1].start else 0)
        assert abs(x - truth) < 1.0, iris


def test_a_lid_that_is_lower_hides_the_iris_and_does_not_squeeze_it():
    image, _, mask = made(0, 0, opening=0.6 * OPEN)
    whole = made(0, 0)[0]
    seen = mask > 0.95
    assert np.abs(image - whole)[seen].mean() < 6


def test_an_eye_without_white_keeps_bright_pixels_for_it():
    photo_points = landmarks(0, radius=28.0)
    photo = drawn(photo_points)
    colour, mask = eyeballs(landmarks(10, radius=28.0), photo_points, take_apart(photo, photo_points), SIZE, 200.0)
    assert np.isfinite(colour).all()
    assert mask.max() == pytest.approx(1, abs=0.05)


def test_the_lids_of_a_clip_with_black_beside_white_have_colours(recwarn):
    """Interpolated between black and white there is less than black, which has no logarithm."""
    points = landmarks(0)
    for _, contour, _ in EYES:  # brows above the eyes
        points[list(contour)] += 0.3
    for brow in (BROW_RIGHT, BROW_LEFT):
        side = points[list(EYES[0][1] if brow is BROW_RIGHT else EYES[1][1])].mean(0)
        points[list(brow)] = side + np.stack([np.linspace(-30, 30, len(brow)), np.full(len(brow), -24.0)], 1)
    stripes = np.zeros((*SIZE, 3), np.float32)
    stripes[:, ::5] = 255
    colour = np.full((*SIZE, 3), SKIN, np.float32)
    touched = shut_lids(colour, stripes, points, points + np.array([0.4, 0.3]), np.array([1.0, 1.0]))
    assert touched.max() > 0.9 and np.isfinite(colour).all()
    assert not recwarn.list
