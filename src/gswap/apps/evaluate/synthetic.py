"""Synthetic pairs with a known true answer, as files: two people, a clip, and what a perfect swap of it looks like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gswap.apps.evaluate.layout import CONSENT, TRUTH_MASKS, Pair
from gswap.foundation.store import PngStore, make_folder
from gswap.foundation.types import RgbImage
from gswap.media.write import encode_rgb
from gswap.output import consent
from gswap.people.clips import DEMO_SOURCE, DEMO_TARGET, render_motion, write_photos
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.scene import make_scene
from gswap.people.swap import true_swap
from gswap.pipeline.observer import StepObserver

FPS = 25


@dataclass(frozen=True)
class SyntheticCase:
    """What a synthetic pair shows."""

    name: str
    motion: MotionConfig
    seed_source: int = DEMO_SOURCE
    seed_target: int = DEMO_TARGET
    photos: int = 8
    photo_side: int = 512
    source: Mapping[str, Any] = field(default_factory=dict)
    """Traits of the source person that are not left to the seed."""
    target: Mapping[str, Any] = field(default_factory=dict)
    light: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the target's scene that are not left to the seed."""
    develop: Callable[[RgbImage], RgbImage] | None = None
    """What was done to the photos after they were taken."""


PLAIN = SyntheticCase("synthetic", MotionConfig(yaw=14.0))
EXTREMES = (
    SyntheticCase("large-rotation", MotionConfig(yaw=55.0, pitch=14.0, roll=14.0)),
    SyntheticCase("fast-motion", MotionConfig(yaw=26.0, pitch=9.0, roll=9.0, sway=9.0, tempo=4.0)),
)
"""Fig. 16: heads turned far beyond the usual, and heads that move fast (about 14 degrees from frame to frame)."""


def make_pair(case: SyntheticCase, folder: Path, *, side: int, frames: int, observer: StepObserver) -> Pair:
    """Render a pair into ``folder`` unless it is there: photos, clip, truth and its mattes, consent record.

    Clip and truth are stored without loss; both carry the same sensor noise, so they differ only by the swap.
    """
    target, truth = folder / "target.mkv", folder / "truth.mkv"
    masks, record = folder / TRUTH_MASKS, folder / CONSENT
    pair = Pair(
        case.name, (folder / "source",), target, truth=truth, truth_masks=masks, consent=record, work=folder / "work"
    )
    if record.exists():
        return pair
    make_folder(folder)
    a, b = make_person(case.seed_source, **case.source), make_person(case.seed_target, **case.target)
    scene = make_scene(case.seed_target, "studio", head_fraction=0.5, **case.light)
    motion = make_motion(case.seed_target, frames, FPS, case.motion)
    photos = write_photos(a, folder / "source", case.photos, case.photo_side, seed=case.seed_source)
    if case.develop is not None:
        for path in photos:
            _develop(path, case.develop)
    observer.started(f"render {case.name}", 1, 1)

    def pictures(person, store: PngStore | None) -> Iterator[RgbImage]:
        for t, frame in enumerate(render_motion(person, motion, scene, side)):
            if store is not None:
                whole = frame.masks.head.astype(np.uint16) + frame.masks.neck
                store.write(t, np.minimum(whole, 255).astype(np.uint8))
            observer.progress(f"render {case.name}", t + 1, frames, "truth" if store is not None else "clip")
            yield frame.rgb

    encode_rgb(target, pictures(b, None), (FPS, 1))
    encode_rgb(truth, pictures(true_swap(a, b), PngStore(masks, frames)), (FPS, 1))
    people = (consent.Person("Synthetic person A", "source"), consent.Person("Synthetic person B", "target"))
    validity = consent.Validity.one_year(dt.date.today())
    consent.save(
        consent.new_record("synthetic", people=people, scope=consent.Scope("gswap evaluate"), validity=validity), record
    )
    return pair


def _develop(path: Path, develop: Callable[[RgbImage], RgbImage]) -> None:
    from PIL import Image

    with Image.open(path) as taken:
        rgb = np.asarray(taken.convert("RGB"))
    Image.fromarray(develop(rgb)).save(path, quality=95, subsampling=0)
