"""How good a finished swap is: numbers per frame for the report (definitions: ``gswap.metrics``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.landmarks import head_angles, lid_opening, mouth_gap
from gswap.foundation.protocols import Embedder
from gswap.foundation.store import read_body_track, read_face_track
from gswap.foundation.types import ImageStore, Progress, RgbImage, no_progress
from gswap.metrics.expression import difference, expression_signals
from gswap.metrics.flicker import flicker_ratio, motion_residual
from gswap.metrics.identity import identity_distance, typical_distance
from gswap.metrics.picture import head_box
from gswap.perception.config import PerceptionConfig
from gswap.perception.identity import embed as dlib_embed
from gswap.perception.refine import MEASURING, look_often
from gswap.pipeline.steps import render, segment

SAMPLES = 48
"""Frames that are measured at most, spread over the clip."""
Looks = Mapping[int, Float[np.ndarray, "k 478 3"]]
"""Frame -> landmarks by every look at it."""


@dataclass(frozen=True)
class Quality:
    """Measured frames and what was found in them. Arrays are NaN in frames that were not measured."""

    measured: Int[np.ndarray, "n"]
    identity_source: Float[np.ndarray, "t"]
    """Distance to the nearest photo (dlib); lower = more like the source."""
    identity_target: Float[np.ndarray, "t"]
    """Distance to the target person in the same frame; higher = less like the target."""
    people_distance: float
    """Distance between the source person and the target person, for comparison."""
    photos_distance: float
    """Median distance between the photos, for comparison (NaN for one photo)."""
    expression: Float[np.ndarray, "t"]
    """Mean absolute difference of the expression signals, medians removed, in eye distances."""
    pose: Float[np.ndarray, "t"]
    """Mean absolute difference of yaw, pitch and roll, medians removed, degrees."""
    flicker: Float[np.ndarray, "t"]
    """Unrest between a frame and the one before that motion does not explain, relative to the clip's own; 1 = equal."""
    confidence: Float[np.ndarray, "t"]
    """Of the track."""
    lid_correlation: float
    """Of the lids' opening with the clip's, landmarks averaged over eight looks of the detector."""
    mouth_correlation: float
    lid_correlation_once: float
    """The same by single looks (mean over the looks): what the detector's own noise leaves of it."""
    lid_repeat: float
    """Correlation of two single looks at the lids of the clip itself: no result can be expected to reach more."""


class _Results:
    """I_out per frame as an image store."""

    def __init__(self, folders: dict[str, Path], count: int) -> None:
        self._folders, self._count = folders, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> RgbImage:
        result = render.load_render(self._folders, self._count, index)
        assert result is not None
        return result.rgb


def measure(
    folders: dict[str, Path], cfg: PerceptionConfig, *, embed: Embedder = dlib_embed, progress: Progress = no_progress
) -> Quality:
    """Measure a finished job's result on up to :data:`SAMPLES` frames; ``embed`` as in the perceive step."""
    faces = read_face_track(folders["perceive"] / "faces.safetensors")
    photo_faces = read_face_track(folders["perceive"] / "photo_faces.safetensors")
    drive = read_body_track(folders["retrack"] / "drive.safetensors")
    count = len(faces)
    target = segment.load_target(folders, count)
    usable = np.flatnonzero(faces.valid & drive.valid).tolist()
    rendered = [t for t in usable if render.is_rendered(folders, t)]
    tracked = {t: target.window.to_work(t, faces.landmarks[t]) for t in spread(rendered)}
    results = _Results(folders, count)
    seen = look_often(results, tracked, cfg, looks=MEASURING, progress=progress)
    # The clip's faces are read in the same way as the results': an unchanged clip has no error.
    known = look_often(target.rgb, {t: tracked[t] for t in seen}, cfg, looks=MEASURING, progress=progress)
    found = {t: answers.mean(0) for t, answers in seen.items()}
    hints = tracked | {t: answers.mean(0) for t, answers in known.items()}
    blank = np.full(count, np.nan)
    source, other = blank.copy(), blank.copy()
    photos = photo_faces.embedding.astype(np.float64)
    targets = []
    for t, points in found.items():
        mine = embed(results[t], points)
        theirs = embed(target.rgb[t], hints[t])
        targets.append(theirs)
        source[t] = identity_distance(mine, photos)
        other[t] = np.linalg.norm(theirs - mine)
    expression, pose = blank.copy(), blank.copy()
    lid, mouth = float("nan"), float("nan")
    once, repeat = float("nan"), float("nan")
    if len(found) > 1:
        times = np.asarray(list(found))
        a = np.stack([found[int(t)] for t in times])
        b = np.stack([hints[int(t)] for t in times])
        expression[times] = difference(expression_signals(a), expression_signals(b))
        pose[times] = difference(head_angles(a), head_angles(b))
        lid = _correlation(_lids(a), _lids(b))
        mouth = _correlation(mouth_gap(a), mouth_gap(b))
        once, repeat = _single_looks(seen, known)
    starts, before = {shot.start for shot in faces.shots}, set(rendered)
    flicker = blank.copy()
    for t in found:
        if t - 1 in before and t not in starts:
            flicker[t] = _unrest(results, target.rgb, t, hints[t])
    people = np.linalg.norm(np.asarray(targets)[:, None] - photos[None], axis=-1) if targets else np.array([np.nan])
    return Quality(
        measured=np.asarray(sorted(found), int),
        identity_source=source,
        identity_target=other,
        people_distance=float(np.median(people)),
        photos_distance=typical_distance(photos),
        expression=expression,
        pose=pose,
        flicker=flicker,
        confidence=drive.confidence.astype(np.float64),
        lid_correlation=lid,
        mouth_correlation=mouth,
        lid_correlation_once=once,
        lid_repeat=repeat,
    )


def spread(frames: list[int]) -> list[int]:
    """At most :data:`SAMPLES` of the frames, the first and the last among them."""
    numbers = np.unique(np.linspace(0, len(frames) - 1, SAMPLES).astype(int)) if frames else ()
    return [frames[i] for i in numbers]


def _single_looks(results: Looks, clip: Looks) -> tuple[float, float]:
    """Lid correlation of result and clip by one look each, and of one look at the clip with the next."""
    times = [t for t in results if t in clip and len(results[t]) == len(clip[t]) == len(MEASURING)]
    if len(times) < 2:
        return float("nan"), float("nan")
    a, b = (np.stack([_lids(looks[t]) for t in times], axis=1) for looks in (results, clip))
    pairs = zip(b, np.roll(b, 1, axis=0), strict=True)
    return (
        float(np.mean([_correlation(x, y) for x, y in zip(a, b, strict=True)])),
        float(np.mean([_correlation(x, y) for x, y in pairs])),
    )


def _unrest(results: ImageStore, clip: ImageStore, t: int, points: Float[np.ndarray, "478 3"]) -> float:
    box = head_box(points, clip[t].shape[1], clip[t].shape[0])
    mine, theirs = (motion_residual(store[t - 1], store[t], box) for store in (results, clip))
    return float(flicker_ratio(mine, theirs))


def _lids(points: Float[np.ndarray, "n 478 3"]) -> Float[np.ndarray, "n"]:
    return lid_opening(points, "right") + lid_opening(points, "left")


def _correlation(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
