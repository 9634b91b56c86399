"""Synthetic people of many kinds: does a swap work as well for each of them, with photos of each kind?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from gswap.apps.evaluate.synthetic import SyntheticCase
from gswap.foundation.errors import UsageError
from gswap.foundation.types import RgbImage
from gswap.people.motion import MotionConfig

MOTION = MotionConfig(yaw=14.0)
TINT = (1.12, 1.0, 0.80)
"""Factors of red, green and blue: the yellow of an old print."""
SIDE_LIGHT = {
    "to_light": (0.94, -0.22, -0.26),
    "key": (1.5, 1.45, 1.4),
    "ambient": (0.16, 0.16, 0.17),
    "fill": (0.05, 0.05, 0.05),
}
"""A strong lamp at one side, little else."""


@dataclass(frozen=True)
class Group:
    """People who have something in common, as pairs."""

    name: str
    told: str
    """What they have in common, for the reader of the page."""
    cases: tuple[SyntheticCase, ...]


def choose(names: Sequence[str]) -> tuple[Group, ...]:
    """The groups of these names; all where none is given.

    Raises:
        UsageError: There is no such group.
    """
    known = {group.name: group for group in GROUPS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"Expected a group among {', '.join(known)}, found {unknown[0]!r}.")
    return tuple(known[name] for name in names) if names else GROUPS


def black_and_white(rgb: RgbImage) -> RgbImage:
    """A photo without colour."""
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def tinted(rgb: RgbImage) -> RgbImage:
    """A photo with the yellow cast of an old print."""
    return np.clip(rgb.astype(np.float32) * TINT, 0, 255).round().astype(np.uint8)


def _case(name: str, **options: Any) -> SyntheticCase:
    return SyntheticCase(name.replace(" ", "-"), MOTION, **options)


def _of_source(name: str, told: str, **traits: Any) -> Group:
    return Group(name, told, (_case(name, source=traits),))


def _with_photos(count: int) -> Group:
    name = f"{count} photos" if count > 1 else "1 photo"
    return Group(name, "the usual pair, with so many photos", (_case(name, photos=count),))


GROUPS: tuple[Group, ...] = (
    Group("usual", "the pair of the demo, 8 photos", (_case("usual"),)),
    _with_photos(1),
    _with_photos(2),
    _with_photos(4),
    _of_source("light skin", "the source's skin is among the lightest", skin_tone=0.0, style="short"),
    _of_source("dark skin", "the source's skin is among the darkest", skin_tone=7.0, style="short"),
    Group(
        "onto dark skin",
        "the target's skin is among the darkest",
        (_case("onto dark skin", target={"skin_tone": 7.0}),),
    ),
    _of_source("glasses", "the source wears glasses", glasses=True),
    Group(
        "beard",
        "the source has a dense stubble; 6 photos, for with it the detector loses faces turned by 45 degrees",
        (_case("beard", source={"sex": "male", "stubble": 1.0}, photos=6),),
    ),
    _of_source("long hair", "the source's hair falls to the shoulders", sex="female", style="long"),
    _of_source("curly hair", "the source's hair is curly", style="curly"),
    _of_source("bald", "the source has no hair", sex="male", style="bald"),
    _of_source("beanie", "the source wears a knitted hat", hat="beanie", style="long", sex="female"),
    _of_source("cap", "the source wears a cap with a peak", hat="cap", style="short"),
    Group(
        "onto a hat",
        "the target wears a knitted hat, which goes with the old head",
        (_case("onto a hat", target={"hat": "beanie"}),),
    ),
    _of_source("old", "the source is old", age=1.0),
    Group("side light", "the target is lit strongly from one side", (_case("side light", light=SIDE_LIGHT),)),
    Group("black and white", "the photos have no colour", (_case("black and white", develop=black_and_white),)),
    Group("tinted", "the photos have a yellow cast", (_case("tinted", develop=tinted),)),
)
"""The groups; the people that do not define a group are those of the demo."""
