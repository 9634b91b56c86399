"""The inside of the mouth: where the picture shows the lower lip to end."""

from __future__ import annotations

import numpy as np
import pytest

from gswap.foundation.landmarks import LIP_RINGS_LOWER, LIPS_INNER_LOWER, LIPS_INNER_UPPER
from gswap.swap.embedded.mouth import NARROW, width_share, without_lower_lip

SKIN, LIP, DARK = (180, 130, 110), (190, 80, 80), (30, 15, 15)


def mouth(gap: float, true_share: float, *, line: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A mouth whose detected opening is ``gap`` eye distances (of 100 px); only its upper part is really dark."""
    points = np.zeros((478, 2))
    points[33], points[263] = (50, 20), (150, 20)
    x = np.linspace(70, 130, 11)
    top, height = 60.0, gap * 100
    arch = 1 - ((x - 100) / 30) ** 2
    points[list(LIPS_INNER_UPPER)] = np.stack([x, np.full(11, top)], 1)
    points[list(LIPS_INNER_LOWER)] = np.stack([x, top + height * arch], 1)
    points[list(LIP_RINGS_LOWER[0])] = np.stack([x, top + height * arch + 14], 1)
    image = np.full((140, 200, 3), SKIN, np.uint8)
    for column in range(70, 131):
        reach = height * (1 - ((column - 100) / 30) ** 2)
        image[60 : int(60 + reach + 14), column] = LIP
        image[60 : int(60 + true_share * reach), column] = DARK
        if line:
            image[int(60 + reach) - 2 : int(60 + reach) + 1, column] = DARK
    return image, points


@pytest.mark.parametrize("share", [0.45, 0.7])
def test_a_bright_lower_lip_is_not_taken_for_the_inside_of_the_mouth(share):
    image, points = mouth(0.18, share)
    moved = without_lower_lip(image, points)
    middle = LIPS_INNER_LOWER[5]
    assert moved[middle, 1] == pytest.approx(60 + share * 18, abs=1.5)
    assert (np.delete(moved, LIPS_INNER_LOWER, 0) == np.delete(points, LIPS_INNER_LOWER, 0)).all()


def test_an_opening_that_is_dark_throughout_stays_as_it_is():
    image, points = mouth(0.18, 1.0)
    assert np.abs(without_lower_lip(image, points) - points).max() < 2.0


def test_a_dark_line_below_a_tongue_ends_the_lip():
    image, points = mouth(0.18, 0.4, line=True)
    assert np.abs(without_lower_lip(image, points) - points).max() < 2.0


def test_a_wide_mouth_is_left_to_the_detector():
    image, points = mouth(0.35, 0.5)
    assert (without_lower_lip(image, points) == points).all()


def test_lips_no_brighter_than_the_inside_decide_nothing():
    image, points = mouth(0.18, 0.5)
    image[:] = LIP
    assert (without_lower_lip(image, points) == points).all()


def test_a_narrow_mouth_is_painted_and_a_wide_one_shown():
    shares = [width_share(gap) for gap in (0.0, NARROW[0], sum(NARROW) / 2, NARROW[1], 0.5)]
    assert shares == pytest.approx([0, 0, 0.5, 1, 1])
