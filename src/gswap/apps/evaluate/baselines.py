"""The built-in comparators: what a result must beat, run on the same clip, photos and masks.

| name | what it is |
|---|---|
| ``clone`` | classic face swap: landmark warp and seamless clone |
| ``warp`` | one photo's whole head, warped by landmarks and pasted over the clean plate |
| ``per-frame`` | the image head swapper on every frame, without the field (I_gen itself) |
| ``reenact`` | one head-swapped image, reenacted by the mesh: the paper's "single-image head swap + LivePortrait" row |
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from gswap.apps.evaluate.analysis import Analysis
from gswap.apps.evaluate.layout import Pair
from gswap.apps.evaluate.sources import MadeResult, Result
from gswap.body.fit import fit_track
from gswap.body.models import load_body
from gswap.foundation.errors import ConsentError, InputError, UsageError
from gswap.foundation.landmarks import head_angles, mouth_gap
from gswap.foundation.store import hash_file, read_body_track
from gswap.foundation.types import BodyTrack, FaceTrack, PhotoSet, RgbImage, SoftMask, SwapFrame
from gswap.output import consent
from gswap.perception.adapters.mediapipe import MediaPipeMatte
from gswap.perception.photos import perceive_photos
from gswap.pipeline.steps import ingest, segment
from gswap.pipeline.steps.track import BODY
from gswap.portrait import masks
from gswap.segmentation.person import person_around
from gswap.segmentation.photos import prepare_photos
from gswap.swap.baselines.clone import CloneSwapper
from gswap.swap.baselines.warp import WarpSwapper
from gswap.swap.config import SwapConfig
from gswap.swap.embedded.swapper import EmbeddedSwapper

Baseline = Literal["clone", "warp", "per-frame", "reenact"]
BASELINES: tuple[str, ...] = get_args(Baseline)
Swapped = tuple[RgbImage, SoftMask]


def make_baselines(names: Sequence[str], analysis: Analysis, pair: Pair) -> list[Result]:
    """The comparators of these names, ready to make their frames.

    Raises:
        UsageError: There is no such comparator.
        ConsentError: Nothing allows to swap these people.
    """
    unknown = sorted(set(names) - set(BASELINES))
    if unknown:
        raise UsageError(f"Expected comparators among {', '.join(BASELINES)}, found {unknown[0]!r}.")
    if not names:
        return []
    require_consent(pair)
    window, clip = analysis.target.window, analysis.clip
    usable = analysis.usable
    made: list[Result] = []
    swapper = Swappers(analysis)
    for name in names:
        frame = swapper.open(name)

        def shown(t: int, frame: Callable[[int], Swapped] = frame) -> Swapped | None:
            return frame(t) if usable[t] else None

        made.append(MadeResult(name, clip, window, shown))
    return made


def require_consent(pair: Pair) -> None:
    """Refuse to swap people who did not agree, for a comparison as for a film.

    Raises:
        ConsentError: There is no record, or it does not cover the pair.
    """
    if pair.consent is None:
        raise ConsentError(
            f"Comparators and ablations swap heads, and the pair {pair.name!r} has no consent record.",
            hint="Give --consent FILE, or put consent.toml into the pair's folder (`gswap consent new`).",
        )
    photos = [hash_file(p) for p in ingest.files_behind(pair.sources)]
    consent.check(consent.load(pair.consent), photos=photos, today=dt.date.today(), target=hash_file(pair.target))


class Swappers:
    """Makes swappers of one clip; what two of them need is loaded once."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._photos = segment.load_photos(analysis.folders)
        self._body = segment.restrict(read_body_track(analysis.folders["track"] / "body.safetensors"), analysis.faces)
        self._embedded: EmbeddedSwapper | None = None

    def open(self, name: str) -> Callable[[int], Swapped]:
        """Frame -> picture and edited region in the window."""
        a = self._analysis
        if name == "clone":
            return _face_only(CloneSwapper(a.target, a.faces, self._photos, a.photo_faces).frame)
        if name == "warp":
            return self._pasted(WarpSwapper(a.target, a.faces, self._photos, a.photo_faces).frame)
        if name == "per-frame":
            return self._pasted(self._per_frame().frame)
        return self._pasted(self._reenactment().frame)

    def _pasted(self, make: Callable[[int], SwapFrame]) -> Callable[[int], Swapped]:
        """A swapped head with its feathered surroundings, exactly as a portrait is put into the clip."""
        target = self._analysis.target

        def frame(t: int) -> Swapped:
            made = make(t)
            matte = masks.union_matte(made.head, made.neck)
            rgb = target.rgb[t]
            hole = masks.inpaint_mask(matte, target.head[t], target.neck[t], rgb=rgb, plate=made.plate)
            weight = masks.feather(hole)[..., None]
            mixed = np.round(weight * made.rgb + (1 - weight) * rgb).astype(np.uint8)
            return mixed, (weight[..., 0] > 0).astype(np.uint8) * 255

        return frame

    def _per_frame(self) -> EmbeddedSwapper:
        if self._embedded is None:
            a = self._analysis
            photo_body = read_body_track(a.folders["track"] / "photo_body.safetensors")
            self._embedded = EmbeddedSwapper(
                a.target, a.faces, self._body, self._photos, a.photo_faces, photo_body, load_body(BODY), SwapConfig()
            )
        return self._embedded

    def _reenactment(self) -> EmbeddedSwapper:
        """One head-swapped frame takes the place of all photos: its head is carried by the mesh through the clip."""
        a, model = self._analysis, load_body(BODY)
        t = calmest_frame(a.faces, self._body)
        image = self._per_frame().frame(t).rgb
        faces = perceive_photos([image], [f"the swapped frame {t}"], a.job.settings.perceive)
        body = fit_track(faces, model, a.job.settings.track, photos=True)
        with MediaPipeMatte() as matte:
            person = person_around(image, faces.landmarks[0], matte)
        photo: PhotoSet = prepare_photos([image], faces, body, model, [person], a.job.settings.segment)
        return EmbeddedSwapper(a.target, a.faces, self._body, photo, faces, body, model, SwapConfig())


def _face_only(make: Callable[[int], SwapFrame]) -> Callable[[int], Swapped]:
    def frame(t: int) -> Swapped:
        made = make(t)
        return made.rgb, made.head

    return frame


def calmest_frame(faces: FaceTrack, body: BodyTrack) -> int:
    """The frame that a single image is best taken from: the face was seen (not interpolated), frontal, mouth shut.

    Raises:
        InputError: No frame shows the person.
    """
    usable = np.flatnonzero(faces.valid & ~faces.bridged & body.valid)
    if not len(usable):
        raise InputError("Expected a frame that shows the person, found none.")
    angles = head_angles(faces.landmarks[usable].astype(np.float64))
    turned = np.abs(angles[:, :2] - [0, np.median(angles[:, 1])]).sum(1)
    return int(usable[np.argmin(turned + 100 * mouth_gap(faces.landmarks[usable]))])
