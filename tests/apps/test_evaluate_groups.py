from __future__ import annotations

import numpy as np
import pytest

from gswap.apps.evaluate.groups import GROUPS, black_and_white, choose, tinted
from gswap.apps.evaluate.synthetic import SyntheticCase, make_pair
from gswap.foundation.errors import UsageError
from gswap.media.stills import find_photos, load_photo
from gswap.people.motion import MotionConfig
from gswap.people.scene import make_scene
from gswap.people.traits import draw_traits
from gswap.pipeline.observer import StepObserver


def test_groups_are_chosen_by_name():
    assert choose(()) == GROUPS
    assert [g.name for g in choose(("beard", "usual"))] == ["beard", "usual"]
    with pytest.raises(UsageError, match="found 'tall'"):
        choose(("tall",))
    names = [case.name for group in GROUPS for case in group.cases]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_every_group_is_made_of_traits_that_exist(group):
    for case in group.cases:
        draw_traits(case.seed_source, **case.source)
        draw_traits(case.seed_target, **case.target)
        make_scene(case.seed_target, "studio", **case.light)


def test_photos_without_colour_and_with_a_cast():
    rgb = np.random.default_rng(0).integers(0, 200, (8, 8, 3)).astype(np.uint8)
    grey = black_and_white(rgb)
    assert (grey.std(2) == 0).all() and grey.std() > 10
    np.testing.assert_allclose(tinted(rgb).mean((0, 1)) / rgb.mean((0, 1)), (1.12, 1.0, 0.8), atol=0.02)


def test_a_pair_has_the_photos_light_and_traits_of_its_group(tmp_path):
    case = SyntheticCase(
        "probe", MotionConfig(), photos=1, photo_side=96, source={"style": "bald"}, develop=black_and_white
    )
    pair = make_pair(case, tmp_path, side=64, frames=2, observer=StepObserver())
    (photo,) = find_photos(pair.sources)
    spread = np.ptp(load_photo(photo).astype(int), axis=2)
    assert np.quantile(spread, 0.95) <= 4
    assert pair.truth is not None and pair.truth.exists()
