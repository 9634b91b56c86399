"""Tracking, masks and plate on synthetic people whose truth is known, and the residuals on real clips."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gswap.apps.bench import track_figures as figures
from gswap.apps.bench.track_clips import CAST, Crossing, Member, TrueClip, load_or_render, load_or_render_crossing
from gswap.apps.bench.track_config import TrackBenchConfig
from gswap.apps.bench.track_figures import PoseFigures
from gswap.body.config import FitConfig
from gswap.body.fit import fit_track
from gswap.body.models.anny import load_anny
from gswap.foundation.errors import UsageError
from gswap.foundation.store import read_face_track, read_json, write_face_track, write_json
from gswap.foundation.types import BodyTrack, FaceTrack, Masks, RgbImage
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.media.scenes import scan
from gswap.perception import clip as perception
from gswap.perception import head_points
from gswap.perception.config import PerceptionConfig
from gswap.pipeline.fingerprint import fingerprint
from gswap.pipeline.masking import Subject, cut, subject_of
from gswap.segmentation.config import SegmentationConfig
from gswap.segmentation.hole import hole_mask, within
from gswap.segmentation.layout import face_axes, face_unit
from gswap.segmentation.plate import PlateBuilder, ShotPlate, sample_frames

RIM = 0.3
"""Face units around the person within which the plate's flicker is compared with the background's own."""
BOUNDS: dict[str, tuple[float, float, bool]] = {
    "rotation, median, degrees": (2.0, 1.0, True),
    "rotation, 95 %, degrees": (5.0, 3.0, True),
    "face shape, mm": (2.0, 2.0, True),
    "jaw, lids and lips, % of the eye distance": (1.5, 1.0, True),
    "jaw, % of the eye distance": (1.5, 1.0, True),
    "lids, % of the eye distance": (1.5, 1.0, True),
    "lips, % of the eye distance": (1.5, 1.0, True),
    "active actions, mean absolute error": (0.15, 0.08, True),
    "gaze, degrees": (6.0, 4.0, True),
    "ears, % of the eye distance": (4.0, 3.0, True),
    "skull outline, % of the eye distance": (4.0, 3.0, True),
    "identity switches when two cross": (0.0, 0.0, True),
    "head IoU, mean": (0.92, 0.96, False),
    "head IoU, worst clip": (0.85, 0.92, False),
    "boundary error at 512, median, px": (3.0, 2.0, True),
    "flicker beyond the truth's, % IoU": (0.5, 0.5, True),
    "plate, PSNR where revealed, dB": (28.0, 28.0, False),
    "plate, flicker over the surroundings'": (1.2, 1.2, True),
    "CPU per frame at 512x512, ms": (300.0, 120.0, True),
}
"""Must, goal, and whether smaller is better."""


@dataclass(frozen=True)
class ClipFigures:
    """Everything measured on one clip."""

    name: str
    pose: PoseFigures
    shape: tuple[float, float]
    """Millimetres: ours, the mean face's."""
    masks: dict[str, Any]
    seconds: dict[str, float]
    """CPU per frame of every part."""
    found: float
    """Share of the frames with a track."""


def run(cfg: TrackBenchConfig, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure.

    Returns:
        ``figures`` (value, must, goal of each), ``groups`` (the frames outside the graded range), ``clips``.

    Raises:
        UsageError: A name is nobody's.
    """
    names = {m.name for m in CAST} | {"crossing"}
    if unknown := sorted(set(cfg.people) - names):
        raise UsageError(f"Nobody of the cast is called {unknown[0]!r}.", hint=f"Known: {', '.join(sorted(names))}.")
    chosen = [m for m in CAST if not cfg.people or m.name in cfg.people]
    clips = []
    for member in chosen:
        found = measure_member(member, cfg)
        if found is not None:
            clips.append(found)
            say(f"{member.name}: {found.masks.get('head IoU', np.nan):.3f} head IoU, {_median(found):.2f} degrees")
    crossing = measure_crossing(cfg) if not cfg.people or "crossing" in cfg.people else {}
    out: dict[str, Any] = {}
    if not cfg.render_only:
        out = {"figures": _graded(clips, crossing), "groups": _groups(clips), "clips": {c.name: _row(c) for c in clips}}
    if crossing:
        out["crossing"] = crossing
    if cfg.clips:
        out["real clips"] = {path.name: measure_real(path, cfg) for path in cfg.clips}
    return out


# ---------------------------------------------------------------- one clip
def measure_member(member: Member, cfg: TrackBenchConfig) -> ClipFigures | None:
    """Everything about one synthetic clip; ``None`` when only its inputs were wanted."""
    clip = load_or_render(cfg.folder, member, cfg.frames)
    faces, seconds = landmarks_of(clip.video, clip.folder)
    if cfg.render_only:
        return None
    model = load_anny()
    start = time.process_time()
    body = fit_track(faces, model, FitConfig())
    seconds["fit"] = (time.process_time() - start) / len(clip)
    pose = figures.pose_figures(model, clip.body, body, clip.landmarks)
    shape = figures.shape_errors(model, clip.body.shape, body.shape)
    masks = {}
    if cfg.masks:
        masks, spent = measure_masks(clip, faces, body)
        seconds |= spent
    return ClipFigures(member.name, pose, shape, masks, seconds, float(body.valid.mean()))


def landmarks_of(video: Path, cache: Path, person: int | None = 1) -> tuple[FaceTrack, dict[str, float]]:
    """The face track of a clip and its CPU time per frame, from ``cache`` if the same code made it before."""
    cfg = PerceptionConfig()
    code = [inspect.getsource(f) for f in (perception.find_people, perception.follow, head_points)]
    finder = head_points.load_finder()
    learnt = [step.weights for step in (finder.head, finder.face, finder.local)] + [finder.face_bells.heights]
    code.append(repr([float(np.abs(numbers).sum()) for numbers in learnt]))
    key = fingerprint(cfg, code, video.name, video.stat().st_size, person)
    path = cache / f"faces-{key}.safetensors"
    timing = path.with_suffix(".json")
    if timing.exists():
        return read_face_track(path), read_json(timing)
    info = probe(video)
    shots, duplicate = scan(images_of(video))
    start = time.process_time()
    people = perception.find_people(lambda: images_of(video), info.frame_count, shots, cfg)
    chosen = perception.choose_person(people, cfg, index=person)
    middle = time.process_time()
    faces = perception.follow(
        lambda: images_of(video),
        chosen,
        size=(info.width, info.height),
        shots=shots,
        duplicate=duplicate,
        cfg=cfg,
    )
    count = info.frame_count
    seconds = {"faces": (middle - start) / count, "landmarks": (time.process_time() - middle) / count}
    cache.mkdir(parents=True, exist_ok=True)
    write_face_track(path, faces)
    write_json(timing, seconds)
    return faces, seconds


def images_of(video: Path) -> Iterator[RgbImage]:
    """The frames of a clip."""
    with VideoReader(probe(video)) as reader:
        for frame in reader.frames():
            yield frame.rgb


def measure_masks(clip: TrueClip, faces: FaceTrack, body: BodyTrack) -> tuple[dict[str, Any], dict[str, float]]:
    """Masks and plate of one clip against the truth, and what they cost per frame."""
    from gswap.perception.adapters.mediapipe import MediaPipeMatte

    cfg = SegmentationConfig()
    subject = subject_of(faces, body, load_anny(), cfg)
    work = [cut(image, subject.window, t) for t, image in enumerate(images_of(clip.video))]
    found: dict[int, Masks] = {}
    start = time.process_time()
    with MediaPipeMatte() as matte:
        segmenter = subject.segmenter(work.__getitem__, matte)
        for t in subject.usable_frames():
            found[t] = subject.mask(t, segmenter, subject.sample(t, work[t], matte), found.__getitem__)
    middle = time.process_time()
    plates, shots = make_plates(subject, work, found)
    stop = time.process_time()
    seen = {t: shots[t].behind(t, work[t], mask.person < 1)[1] for t, mask in found.items()}
    out = mask_figures(clip, subject, found) | plate_figures(clip, subject, found, plates, seen)
    count = len(clip)
    return out | {"long hair": segmenter.long_hair}, {
        "masks": (middle - start) / count,
        "plate": (stop - middle) / count,
    }


def make_plates(
    subject: Subject, work: list[RgbImage], masks: dict[int, Masks]
) -> tuple[dict[int, RgbImage], dict[int, ShotPlate]]:
    """The plate of every frame, and its shot's."""
    plates, shots = {}, {}
    for shot in subject.faces.shots:
        usable = [t for t in masks if shot.start <= t < shot.stop]
        builder = PlateBuilder(subject.window, shot, subject.cfg.plate)
        for t in sample_frames(shot, subject.window, subject.cfg.plate):
            if t in masks:
                builder.observe(t, work[t], masks[t], subject.landmarks(t))
        built = builder.build()
        for t in usable:
            plates[t] = built.plate(t, work[t], masks[t], subject.landmarks(t))
            shots[t] = built
    return plates, shots


def mask_figures(clip: TrueClip, subject: Subject, masks: dict[int, Masks]) -> dict[str, Any]:
    """Overlap, boundary and flicker of the masks of a clip."""
    scale = 512 / clip.member.size / subject.window.scale
    rows: dict[str, list[float]] = {name: [] for name in ("head", "neck", "person", "boundary", "ours", "true")}
    before: tuple[np.ndarray, np.ndarray] | None = None
    for t, mine in masks.items():
        true = {name: cut(clip.mask(name, t), subject.window, t) for name in ("head", "neck", "person")}
        for name, mask in true.items():
            rows[name].append(figures.overlap(getattr(mine, name), mask))
        rows["boundary"].append(scale * figures.boundary_error(mine.head, true["head"]))
        if before is not None:
            rows["ours"].append(1 - figures.overlap(before[0], mine.head))
            rows["true"].append(1 - figures.overlap(before[1], true["head"]))
        before = mine.head, true["head"]
    return {
        "head IoU": float(np.mean(rows["head"])),
        "head IoU, worst frame": float(np.min(rows["head"])),
        "neck IoU": float(np.mean(rows["neck"])),
        "person IoU": float(np.mean(rows["person"])),
        "boundary": float(np.nanmedian(rows["boundary"])),
        "flicker": 100 * float(np.mean(rows["ours"]) - np.mean(rows["true"])),
    }


def plate_figures(
    clip: TrueClip,
    subject: Subject,
    masks: dict[int, Masks],
    plates: dict[int, RgbImage],
    seen: dict[int, np.ndarray],
) -> dict[str, Any]:
    """Difference to the empty scene above the chin, and flicker inside the hole against that around it."""
    revealed, filled, inside, around = [], [], [], []
    window = subject.window
    before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for t, plate in plates.items():
        marks = subject.landmarks(t)
        hole = hole_mask(masks[t], marks, subject.cfg.plate) & (face_axes(marks, plate.shape[:2])[0] > 0)
        empty = cut(clip.empty(t), window, t)
        revealed.append(figures.squared_error(plate, empty, hole & seen[t]))
        filled.append(figures.squared_error(plate, empty, hole & ~seen[t]))
        bare = cut(clip.mask("person", t), window, t) == 0
        rim = bare & ~hole & within(hole, RIM * face_unit(marks))
        if before is not None and window.x[t] == window.x[t - 1] and window.y[t] == window.y[t - 1]:
            shift = round(float(clip.pan[t] - clip.pan[t - 1]) * window.scale)
            old = [np.roll(image, -shift, 1) for image in before]
            change = np.abs(plate.astype(np.int16) - old[0]).mean(-1)
            inside.append(change[hole & old[1]].mean())
            around.append(change[rim & old[2]].mean())
        before = plate, hole, rim
    return {
        "plate, revealed, dB": figures.psnr(revealed),
        "plate, filled in, dB": figures.psnr(filled),
        "plate, revealed share": sum(n for _, n in revealed) / max(sum(n for _, n in revealed + filled), 1),
        "plate, flicker ratio": float(np.nanmean(inside) / np.nanmean(around)) if inside else np.nan,
    }


# ---------------------------------------------------------------- two people, real clips
def measure_crossing(cfg: TrackBenchConfig) -> dict[str, Any]:
    """Follow each of two people who cross: frames on the wrong one, and frames with a track."""
    video, truth = load_or_render_crossing(cfg.folder, Crossing())
    wrong, found = 0, []
    for person in (1, 2):
        faces, _ = landmarks_of(video, cfg.folder / "crossing", person)
        centre = faces.landmarks[:, :468, :2].mean(1)
        far = np.linalg.norm(truth[:, :, :468].mean(2) - centre, axis=-1)
        who = far.argmin(0)
        seen = faces.valid & ~faces.bridged
        wrong += int((who[seen] != np.bincount(who[seen], minlength=2).argmax()).sum())
        found.append(float(seen.mean()))
    return {"frames on the wrong person": wrong, "found": found}


def measure_real(path: Path, cfg: TrackBenchConfig) -> dict[str, float]:
    """Residual of the fit, and how much the fitted landmarks shake against the detector's."""
    faces, _ = landmarks_of(path, cfg.folder / "real", None)
    model = load_anny()
    body = fit_track(faces, model, FitConfig())
    rest = model.rest(body.shape)
    marks = np.full((len(faces), 478, 2), np.nan)
    for t in np.flatnonzero(body.valid):
        points = figures.landmark_points(model, model.pose(body, rest, int(t)).vertices)
        marks[t] = body.focal[t] * points[:, :2] / points[:, 2:] + body.sizes[t] / 2
    shake = [
        float(np.nanmean(np.linalg.norm(np.diff(x, 2, axis=0), axis=-1))) for x in (marks, faces.landmarks[..., :2])
    ]
    residual = 100 * body.residual[body.valid]
    return {
        "residual, % (must 1.3, goal 0.8)": float(residual.mean()),
        "residual, 95 % of the frames": float(np.percentile(residual, 95)),
        "acceleration, fit over detector (must 1)": shake[0] / shake[1],
    }


# ---------------------------------------------------------------- summary
def _median(clip: ClipFigures) -> float:
    graded = clip.pose.graded
    return float(np.nanmedian(clip.pose.rotation[graded if graded.any() else slice(None)]))


def _pose_summary(pose: PoseFigures, where: np.ndarray) -> dict[str, float]:
    def mean(name: str, factor: float = 1.0) -> float:
        values = getattr(pose, name)[where]
        return factor * float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

    turn = pose.rotation[where]
    turn = turn[np.isfinite(turn)] if np.isfinite(turn).any() else np.full(1, np.nan)
    return {
        "rotation, median, degrees": float(np.median(turn)),
        "rotation, 95 %, degrees": float(np.percentile(turn, 95)),
        "jaw, lids and lips, % of the eye distance": mean("marked", 100),
        "jaw, % of the eye distance": mean("jaw", 100),
        "jaw, across its line, %": mean("jaw_line", 100),
        "lids, % of the eye distance": mean("lids", 100),
        "lips, % of the eye distance": mean("lips", 100),
        "active actions, mean absolute error": mean("actions"),
        "gaze, degrees": mean("gaze"),
        "ears, % of the eye distance": mean("ears", 100),
        "skull outline, % of the eye distance": mean("skull", 100),
    }


def _graded(clips: list[ClipFigures], crossing: dict[str, Any]) -> dict[str, Any]:
    """The figures that have bounds."""
    values: dict[str, float] = {}
    people = [c for c in clips if _member(c).graded]
    if people:
        pose = PoseFigures.join([c.pose for c in people])
        values |= _pose_summary(pose, pose.graded)
        near = [c for c in people if c.pose.graded.any()]
        values["face shape, mm"] = float(np.mean([c.shape[0] for c in near])) if near else np.nan
        values["face shape of the mean face, mm"] = float(np.mean([c.shape[1] for c in near])) if near else np.nan
    if crossing:
        values["identity switches when two cross"] = crossing["frames on the wrong person"]
    masked = [c for c in clips if c.masks]
    graded = [c.masks for c in masked if _member(c).graded]
    if graded:
        values["head IoU, mean"] = float(np.mean([m["head IoU"] for m in graded]))
        values["head IoU, worst clip"] = min(m["head IoU"] for m in graded)
        values["boundary error at 512, median, px"] = float(np.median([m["boundary"] for m in graded]))
        values["flicker beyond the truth's, % IoU"] = float(np.mean([m["flicker"] for m in graded]))
    if masked:
        values["plate, PSNR where revealed, dB"] = float(np.nanmin([c.masks["plate, revealed, dB"] for c in masked]))
        ratios = [c.masks["plate, flicker ratio"] for c in masked]
        values["plate, flicker over the surroundings'"] = float(np.nanmax(ratios))
        same = [c.seconds for c in masked if _member(c).size == 512]
        if same:
            parts = {name: 1e3 * float(np.mean([s[name] for s in same])) for name in same[0]}
            values["CPU per frame at 512x512, ms"] = sum(parts.values())
            values |= {f"CPU of {name}, ms": ms for name, ms in parts.items()}
    return {name: _with_bound(name, values[name]) for name in [*BOUNDS, *values] if name in values}


def _with_bound(name: str, value: float) -> Any:
    if name not in BOUNDS:
        return value
    must, goal, small = BOUNDS[name]
    verdict = "goal" if (value <= goal if small else value >= goal) else "must"
    if not np.isfinite(value):
        verdict = "not measured"
    elif value > must if small else value < must:
        verdict = "missed"
    return f"{value:.3g} (must {must:g}, goal {goal:g}): {verdict}"


def _groups(clips: list[ClipFigures]) -> dict[str, Any]:
    """Pose figures of the frames that no bound applies to."""
    people = [c for c in clips if _member(c).graded]
    if not people:
        return {}
    pose = PoseFigures.join([c.pose for c in people])
    near = np.concatenate([np.full(len(c.pose.yaw), bool(c.pose.graded.any())) for c in people])
    wide = np.abs(pose.yaw) > figures.GRADED_YAW
    return {
        "turned further than 35 degrees": _pose_summary(pose, near & wide),
        "faces below 120 px": _pose_summary(pose, ~near),
    }


def _member(clip: ClipFigures) -> Member:
    return next(m for m in CAST if m.name == clip.name)


def _row(clip: ClipFigures) -> dict[str, Any]:
    graded = clip.pose.graded if clip.pose.graded.any() else np.isfinite(clip.pose.rotation)
    shape = {"face shape, mm": clip.shape[0], "of the mean face, mm": clip.shape[1], "found": clip.found}
    timing = {f"CPU of {name}, ms": 1e3 * s for name, s in clip.seconds.items()}
    return _pose_summary(clip.pose, graded) | shape | clip.masks | timing
