"""One pass over a clip and all results of it at once -> numbers per frame. Memory does not grow with the clip.

Only a few numbers of a frame are kept (signals and distances), and the landmarks of a bounded sample of frames.
Medians are removed at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.apps.evaluate.instruments import Instruments, Parameters
from gswap.apps.evaluate.outside import Outside, OutsideChange
from gswap.foundation.landmarks import head_angles, lid_opening, mouth_gap
from gswap.foundation.types import RgbImage, SoftMask
from gswap.metrics import expression as faces
from gswap.metrics.flicker import flicker_ratio, motion_residual
from gswap.metrics.identity import calibrated_similarity, identity_distance, typical_distance
from gswap.metrics.parameters import consistency, csim
from gswap.metrics.picture import Box, head_box, iou, sharpness_ratio
from gswap.metrics.regions import (
    Regions,
    color_distance,
    gradient_deviation,
    masked_ssim,
    regions,
    squared_error,
    to_psnr,
)

SKIN = (10, 234, 454, 152, 132, 361)
"""Landmarks whose hull is mostly skin: forehead, temples, jaw and chin."""
GONE = 0.5
"""Largest distance between a result's and the clip's face, in face widths, at which it is the same person's."""


@dataclass(frozen=True)
class Shown:
    """One result's picture of a frame."""

    rgb: RgbImage
    before: RgbImage | None
    """The frame before it in the same shot."""
    planes: tuple[np.ndarray, ...] = ()
    """Its own samples, where they can be compared with the clip's."""
    edited: Bool[np.ndarray, "h w"] | None = None
    """Where it says that it may differ from the clip."""
    matte: SoftMask | None = None
    """Of the new head and neck."""
    generated: tuple[RgbImage, SoftMask] | None = None
    """I_gen of the frame and the matte of its head: what a portrait was taught."""


@dataclass(frozen=True)
class Sample:
    """One measured frame of a clip, with what every result shows."""

    index: int
    rgb: RgbImage
    before: RgbImage | None
    planes: tuple[np.ndarray, ...]
    landmarks: Float[np.ndarray, "478 3"]
    head: SoftMask
    """Head and neck of the person in the clip."""
    results: Sequence[Shown]
    truth: RgbImage | None = None
    true_matte: SoftMask | None = None


@dataclass(frozen=True)
class Scores:
    """What one result scored."""

    frames: Int[np.ndarray, "n"]
    """Which frames of the clip were measured."""
    series: Mapping[str, Float[np.ndarray, "n"]]
    """Slot -> a number per measured frame, NaN where there is none."""
    means: Mapping[str, float]
    """Slot -> the number of the tables; also of what exists only for a whole clip."""
    outside: OutsideChange


@dataclass
class _Rows:
    """What is kept of one result, or of the clip itself; NaN in the frames that a number was not added for."""

    frames: int = 0
    numbers: dict[str, list[float]] = field(default_factory=dict)
    signals: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def begin(self) -> None:
        """What is added from here on is of the next frame."""
        self.frames += 1

    def add(self, **values: float) -> None:
        for name, value in values.items():
            column = self.numbers.setdefault(name, [])
            column += [*[np.nan] * (self.frames - 1 - len(column)), value]

    def add_signals(self, **values: np.ndarray) -> None:
        for name, value in values.items():
            self.signals.setdefault(name, []).append(np.asarray(value, np.float32))

    def __getitem__(self, name: str) -> Float[np.ndarray, "n"]:
        column = self.numbers[name]
        return np.asarray(column + [np.nan] * (self.frames - len(column)), np.float64)


@dataclass(frozen=True)
class SourceFaces:
    """Embeddings of the source photos by both kinds of reader."""

    dlib: Float[np.ndarray, "n 128"]
    arcface: Float[np.ndarray, "n d"] | None = None


def score(samples: Iterable[Sample], count: int, photos: SourceFaces, tools: Instruments) -> list[Scores]:
    """Measure ``count`` results of a clip.

    Args:
        samples: The measured frames in order; read once.
        count: How many results every sample has.
        photos: The source person.
        tools: The readers.
    """
    clip, results = _Rows(), [_Rows() for _ in range(count)]
    outside = [Outside() for _ in range(count)]
    parameters: Parameters | None = None
    index: list[int] = []
    for sample in samples:
        height, width = sample.rgb.shape[:2]
        # The clip's face is read exactly as the results' are, not taken from the track: an unchanged clip scores 0.
        hint = sample.landmarks
        own = tools.find(sample.rgb, hint)
        sample = sample if own is None else replace(sample, landmarks=own)
        if parameters is None:
            parameters = tools.parameters(count, width, height)
        index.append(sample.index)
        for rows in (clip, *results):
            rows.begin()
        where = regions(sample.head, sample.rgb, sample.truth)
        box = head_box(sample.landmarks, width, height)
        mine = _read_clip(clip, sample, box, photos, tools)
        found = []
        for shown, rows, change in zip(sample.results, results, outside, strict=True):
            points = _find(shown.rgb, hint, tools)
            found.append((shown.rgb, points))
            _read_face(rows, shown, points, sample, mine, photos, tools)
            _read_motion(rows, shown, box, tools)
            _read_truth(rows, shown, sample, where, tools)
            _read_generated(rows, shown)
            change.add(sample, shown, where)
        parameters.add(sample.rgb, sample.landmarks, found)
    distances = parameters.distances() if parameters is not None else [(np.zeros(0), np.zeros(0))] * count
    frames = np.asarray(index, int)
    return [
        _finish(frames, clip, rows, photos, distance, change.result(), tools)
        for rows, distance, change in zip(results, distances, outside, strict=True)
    ]


# ---------------------------------------------------------------- one frame
def _find(image: RgbImage, near: np.ndarray, tools: Instruments) -> np.ndarray | None:
    """The face of a result, if it is where the clip's face is."""
    points = tools.find(image, near)
    if points is None:
        return None
    away = np.linalg.norm(points[:468, :2].mean(0) - near[:468, :2].mean(0))
    return points if away < GONE * np.ptp(near[:468, 0]) else None


def _read_clip(rows: _Rows, sample: Sample, box: Box, photos: SourceFaces, tools: Instruments) -> np.ndarray:
    embedding = tools.embed(sample.rgb, sample.landmarks)
    rows.add(people=float(identity_distance(embedding, photos.dlib)))
    _signals(rows, sample.landmarks, sample.landmarks)
    still = sample.before is None
    rows.add(residual=np.nan if still else motion_residual(sample.before, sample.rgb, box))  # type: ignore[arg-type]
    return embedding


def _signals(rows: _Rows, points: np.ndarray, reference: np.ndarray) -> None:
    rows.add_signals(
        expression=faces.expression_signals(points),
        angles=head_angles(points),
        gaze=faces.gaze_signals(points),
        placed=faces.placed_landmarks(points, reference),
    )
    rows.add(lids=float(lid_opening(points, "right") + lid_opening(points, "left")), mouth=float(mouth_gap(points)))


def _read_face(
    rows: _Rows,
    shown: Shown,
    points: np.ndarray | None,
    sample: Sample,
    mine: np.ndarray,
    photos: SourceFaces,
    tools: Instruments,
) -> None:
    rows.add(lost=float(points is None))
    if points is None:
        _signals(rows, np.full((478, 3), np.nan), sample.landmarks)
        rows.add(identity_source=np.nan, identity_target=np.nan, csim=np.nan)
        return
    _signals(rows, points, sample.landmarks)
    embedding = tools.embed(shown.rgb, points)
    rows.add(
        identity_source=float(identity_distance(embedding, photos.dlib)),
        identity_target=float(np.linalg.norm(embedding - mine)),
    )
    if tools.arcface is not None and photos.arcface is not None:
        rows.add(csim=float(csim(tools.arcface(shown.rgb, points)[None], photos.arcface)[0]))
    else:
        rows.add(csim=np.nan)


def _read_motion(rows: _Rows, shown: Shown, box: Box, tools: Instruments) -> None:
    if shown.before is None:
        rows.add(residual=np.nan, consistency=np.nan)
        return
    pair = [tools.frame(image)[None] for image in (shown.before, shown.rgb)]
    rows.add(residual=motion_residual(shown.before, shown.rgb, box), consistency=float(consistency(*pair)[0]))


def _read_truth(rows: _Rows, shown: Shown, sample: Sample, where: Regions, tools: Instruments) -> None:
    if sample.truth is None:
        return
    for name in ("head", "seam", "outside"):
        mask = getattr(where, name)
        perceived = _perceived(shown.rgb, sample.truth, mask, tools)
        rows.add(
            **{
                f"mse_{name}": squared_error(shown.rgb, sample.truth, mask),
                f"ssim_{name}": masked_ssim(shown.rgb, sample.truth, mask),
                f"perceptual_{name}": perceived,
            }
        )
    rows.add(skin=color_distance(shown.rgb, sample.truth, _face(sample)))
    known = sample.true_matte is not None and shown.matte is not None
    rows.add(iou=iou(shown.matte, sample.true_matte) if known else np.nan)  # type: ignore[arg-type]


def _face(sample: Sample) -> Bool[np.ndarray, "h w"]:
    """The outline of the face in the clip, well inside that of any head there."""
    inside = np.zeros(sample.rgb.shape[:2], np.uint8)
    outline = cv2.convexHull(np.round(sample.landmarks[list(SKIN), :2]).astype(np.int32))
    cv2.fillConvexPoly(inside, outline, (1.0,))
    return inside > 0


def _perceived(result: RgbImage, truth: RgbImage, mask: Bool[np.ndarray, "h w"], tools: Instruments) -> float:
    """Perceptual distance in a region: what is outside of it is made equal first, and only its box is looked at."""
    if not mask.any():
        return float("nan")
    if tools.perceptual is None:
        return gradient_deviation(result, truth, mask)
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    return tools.perceptual(np.where(mask[..., None], result, truth)[part], truth[part])


def _read_generated(rows: _Rows, shown: Shown) -> None:
    if shown.generated is None:
        return
    picture, matte = shown.generated
    solid = matte > 250
    rows.add(
        mse_gen=squared_error(shown.rgb, picture, solid),
        sharp_gen=sharpness_ratio(shown.rgb, picture, solid) if solid.any() else np.nan,
    )


# ---------------------------------------------------------------- the whole clip
def _finish(
    frames: np.ndarray,
    clip: _Rows,
    rows: _Rows,
    photos: SourceFaces,
    distances: tuple[np.ndarray, np.ndarray],
    outside: OutsideChange,
    tools: Instruments,
) -> Scores:
    if not len(frames):
        return Scores(frames, {}, {}, outside)
    series: dict[str, np.ndarray] = {"identity_source": rows["identity_source"]}
    series["identity_target"] = rows["identity_target"]
    found = rows["lost"] == 0
    if found.any():
        mine = {name: np.stack(values)[found] for name, values in rows.signals.items()}
        theirs = {name: np.stack(values)[found] for name, values in clip.signals.items()}
        series["expression"] = _spread(faces.difference(mine["expression"], theirs["expression"]), found)
        turned = [np.degrees(np.unwrap(np.radians(part["angles"]), axis=0)) for part in (mine, theirs)]
        series["pose"] = _spread(faces.difference(*turned), found)
        series["gaze"] = _spread(faces.difference(mine["gaze"], theirs["gaze"]), found)
        series["landmarks"] = _spread(faces.landmark_distance(mine["placed"], theirs["placed"]), found)
    series[tools.frame_measure.slot] = rows["consistency"]
    if tools.arcface is not None:
        series[tools.identity_measure.slot] = rows["csim"]
    else:
        people = clip["people"][found]
        series[tools.identity_measure.slot] = calibrated_similarity(rows["identity_source"], people, photos.dlib)
    series["residual"], series["residual_clip"] = rows["residual"], clip["residual"]
    series["flicker"] = np.asarray(flicker_ratio(rows["residual"], clip["residual"]))
    series |= {name: rows[name] for name in rows.numbers if name.startswith(("mse_", "ssim_", "iou", "sharp_", "skin"))}
    prefix = "gmsd" if tools.perceptual is None else "lpips"
    for name in rows.numbers:
        if name.startswith("perceptual_"):
            series[name.replace("perceptual", prefix)] = rows[name]
    means = {name: _mean(values) for name, values in series.items()}
    means |= {f"psnr_{name[4:]}": to_psnr(means[name]) for name in series if name.startswith("mse_")}
    residual = np.isfinite(rows["residual"]) & np.isfinite(clip["residual"])
    means["flicker"] = float("nan")
    if residual.any():
        mine, theirs = (part["residual"][residual].mean() for part in (rows, clip))
        means["flicker"] = float(flicker_ratio(mine, theirs))
    for measure, values in zip(tools.expression_measures, distances, strict=True):
        means[measure.slot] = _mean(values)
    means["lids_clip"] = float(np.std(clip["lids"]))
    means["lid_correlation"] = _correlation(rows["lids"][found], clip["lids"][found])
    means["mouth_correlation"] = _correlation(rows["mouth"][found], clip["mouth"][found])
    means |= {"lost": _mean(rows["lost"]), "outside": float(outside.largest), "outside_mean": outside.mean}
    means["people_distance"] = _mean(clip["people"])
    means["photos_distance"] = typical_distance(photos.dlib)
    return Scores(frames, series, means, outside)


def _spread(values: np.ndarray, found: Bool[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Values of the found frames at their places, NaN elsewhere."""
    out = np.full(len(found), np.nan)
    out[found] = values
    return out


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2 or a.std() < 1e-9 or b.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
