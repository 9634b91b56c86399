"""One person's face through a clip: find everybody, choose one, follow them with landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.errors import InputError
from gswap.foundation.protocols import Embedder
from gswap.foundation.types import FaceTrack, ImageStore, Progress, RgbImage, Shot, no_progress
from gswap.perception.adapters.mediapipe import Detection, FaceDetector, FaceMesh, Shoulders
from gswap.perception.config import PerceptionConfig
from gswap.perception.head_points import find_head_points, load_finder
from gswap.perception.identity import embed as dlib_embed
from gswap.perception.identity import identity_table
from gswap.perception.quality import sharpness

LOOK = 16
"""Side of the tiny picture that tells whether a face that is not found can be there at all, in pixels."""
STRANGE_LOOK = 32.0
"""Mean difference of tiny pictures, in 8-bit levels, that no motion or hand before a face explains."""
LARGEST_STEP, LARGEST_GROWTH = 0.6, 1.8
"""How far, in face sizes, a face may be from where it was heading, and how much it may grow or shrink."""
SIZE_MATTERS = 1.5
"""Face sizes of distance that a face of e times the size is worth when people are told apart."""
HEADING_FRAMES = 6
"""Detections from which a face's velocity is taken."""
IDENTITY_SPACING = 15
"""Frames between two identities at least: neighbours look alike, and one costs as much as ten frames' landmarks."""
BRIDGED_CONFIDENCE = 0.3
"""Confidence in interpolated landmarks."""
HINT_MARGIN = 1.7
"""Side of the crop around a hinted face, in units of the landmarks' extent."""
Frames = Callable[[], Iterable[RgbImage]]
"""Starts a new pass over the clip's frames."""


@dataclass
class _Tracklet:
    """Detections that belong together because they are close in space and time, within one shot."""

    frames: list[int] = field(default_factory=list)
    faces: list[Detection] = field(default_factory=list)
    best: tuple[float, np.ndarray] | None = None
    """Score and embedding of the best-looking frame so far."""


@dataclass(frozen=True)
class Person:
    """Somebody who appears in the clip."""

    boxes: Float[np.ndarray, "t 4"]
    """Centre x, y, size and score per frame; NaN where the person is not detected."""
    embedding: Float[np.ndarray, "d"] | None
    hidden: Bool[np.ndarray, "t"] | None = None
    """Where somebody else's face is in front of this one: what is seen there is not this person."""

    @property
    def presence(self) -> float:
        """Share of the frames with this person."""
        return float(np.isfinite(self.boxes[:, 0]).mean())

    def describe(self) -> str:
        """Where the person is seen first, for messages."""
        t = int(np.flatnonzero(np.isfinite(self.boxes[:, 0]))[0])
        x, y, size, _ = self.boxes[t]
        return f"from frame {t} around ({x:.0f}, {y:.0f}), {size:.0f} px large, in {self.presence:.0%} of the frames"


def find_people(
    frames: Frames,
    count: int,
    shots: Sequence[Shot],
    cfg: PerceptionConfig,
    *,
    progress: Progress = no_progress,
    embed: Embedder = dlib_embed,
) -> list[Person]:
    """Everybody in the clip, ordered by how much there is of them (frames x size)."""
    starts = {shot.start for shot in shots}
    tracklets: list[_Tracklet] = []
    live: list[_Tracklet] = []
    with FaceDetector(cfg.min_detection) as detect, FaceMesh(video=False) as mesh:
        for t, image in enumerate(frames()):
            if t in starts:
                live = []
            found = [d for d in detect(image) if d.size >= cfg.min_face]
            for face, tracklet in zip(found, _continued(live, found, t, cfg.max_bridge * 3), strict=True):
                if tracklet is None:
                    tracklet = _Tracklet()
                    live.append(tracklet)
                    tracklets.append(tracklet)
                tracklet.frames.append(t)
                tracklet.faces.append(face)
                if len(found) > 1 or len(tracklet.frames) in (1, 15):
                    _look_closer(tracklet, image, face, mesh, cfg, embed)
            progress(t + 1, count, "faces")
    people = _with_hidden(_merge(tracklets, count, cfg), shots, cfg)
    return sorted(people, key=lambda p: -float(np.nansum(p.boxes[:, 2])))


def _continued(live: list[_Tracklet], found: list[Detection], t: int, patience: int) -> list[_Tracklet | None]:
    """The tracklet that each detection continues: the pairs that fit best first, each tracklet once.

    People who cross are told apart by where they were heading and by their sizes.
    """
    pairs = []
    for i, face in enumerate(found):
        for k, tracklet in enumerate(live):
            age = t - tracklet.frames[-1]
            if age > patience:
                continue
            x, y = _heading(tracklet, t)
            last = tracklet.faces[-1]
            larger, smaller = max(face.size, last.size), min(face.size, last.size)
            distance = float(np.hypot(face.x - x, face.y - y)) / larger
            if distance < LARGEST_STEP and larger < LARGEST_GROWTH * smaller:
                pairs.append((distance + SIZE_MATTERS * float(np.log(larger / smaller)), i, k))
    out: list[_Tracklet | None] = [None] * len(found)
    taken: set[int] = set()
    for _, i, k in sorted(pairs):
        if out[i] is None and k not in taken:
            out[i] = live[k]
            taken.add(k)
    return out


def _heading(tracklet: _Tracklet, t: int) -> tuple[float, float]:
    """Where a face would be in frame ``t`` if it kept its velocity."""
    frames, faces = tracklet.frames[-HEADING_FRAMES:], tracklet.faces[-HEADING_FRAMES:]
    x, y = faces[-1].x, faces[-1].y
    span = frames[-1] - frames[0]
    if not span:
        return x, y
    ahead = (t - frames[-1]) / span
    return x + ahead * (x - faces[0].x), y + ahead * (y - faces[0].y)


def _look_closer(
    tracklet: _Tracklet, image: RgbImage, face: Detection, mesh: FaceMesh, cfg: PerceptionConfig, embed: Embedder
) -> None:
    """Compute the identity of a tracklet at its largest, most certain detections, a few times at most."""
    score = face.score * face.size
    if tracklet.best is not None and score < 1.15 * tracklet.best[0]:
        return
    points = mesh(image, (face.x, face.y), face.size * cfg.crop_margin, cfg.crop)
    if points is not None:
        tracklet.best = (score, embed(image, points))


def _merge(tracklets: list[_Tracklet], count: int, cfg: PerceptionConfig) -> list[Person]:
    """Join tracklets of the same identity that are never in one frame together."""
    groups: list[list[_Tracklet]] = []
    for tracklet in sorted(tracklets, key=lambda k: -len(k.frames)):
        home = None
        for group in groups:
            if any(set(tracklet.frames) & set(other.frames) for other in group):
                continue
            known = [other.best[1] for other in group if other.best is not None]
            if tracklet.best is None or not known:
                continue
            if min(float(np.linalg.norm(tracklet.best[1] - k)) for k in known) < cfg.same_person:
                home = group
                break
        if home is None:
            groups.append([tracklet])
        else:
            home.append(tracklet)
    people = []
    for group in groups:
        boxes = np.full((count, 4), np.nan)
        for tracklet in group:
            for t, face in zip(tracklet.frames, tracklet.faces, strict=True):
                boxes[t] = face
        known = [k.best for k in group if k.best is not None]
        people.append(Person(boxes, max(known, key=lambda b: b[0])[1] if known else None))
    return people


def _with_hidden(people: list[Person], shots: Sequence[Shot], cfg: PerceptionConfig) -> list[Person]:
    """Mark where a person is not detected and somebody else is about where they should be."""
    out = []
    for person in people:
        expected = _smooth_boxes(person.boxes, shots, cfg.max_bridge)
        hidden = np.zeros(len(expected), bool)
        for other in people:
            if other is not person:
                near = np.hypot(*(other.boxes[:, :2] - expected[:, :2]).T) < LARGEST_STEP * other.boxes[:, 2]
                hidden |= near & ~np.isfinite(person.boxes[:, 0])
        out.append(replace(person, hidden=hidden))
    return out


def choose_person(
    people: Sequence[Person],
    cfg: PerceptionConfig,
    *,
    index: int | None = None,
    identity: Float[np.ndarray, "d"] | None = None,
) -> Person:
    """The person whose head is replaced.

    Args:
        people: As :func:`find_people` orders them.
        cfg: Thresholds.
        index: 1-based number of the person, as the error message lists them.
        identity: Embedding of a photo of the person.

    Raises:
        InputError: There is nobody, or there are several and none was chosen, or the choice fits nobody.
    """
    if not people:
        raise InputError(
            "Expected a face in the clip, found none in any frame.",
            hint="Use a clip in which the person's face is visible (at least about 24 px wide).",
        )
    notable = [p for p in people if p.presence >= cfg.min_presence] or list(people[:1])
    listing = "; ".join(f"{i + 1}: {p.describe()}" for i, p in enumerate(notable))
    if index is not None:
        if not 1 <= index <= len(notable):
            raise InputError(
                f"Expected --person between 1 and {len(notable)}, found {index}.", hint=f"People: {listing}."
            )
        return notable[index - 1]
    if identity is not None:
        distances = [np.inf if p.embedding is None else float(np.linalg.norm(p.embedding - identity)) for p in notable]
        best = distances.index(min(distances))
        if distances[best] > 0.6:
            raise InputError(
                f"Nobody in the clip looks like the photo of --person (nearest distance {distances[best]:.2f}).",
                hint=f"People: {listing}.",
            )
        return notable[best]
    if len(notable) > 1:
        raise InputError(
            f"Expected one person in the clip, found {len(notable)}.",
            hint=f"Choose one with --person N. People: {listing}.",
        )
    return notable[0]


def follow(
    frames: Frames,
    person: Person,
    *,
    size: tuple[int, int],
    shots: Sequence[Shot],
    duplicate: Bool[np.ndarray, "t"],
    cfg: PerceptionConfig,
    progress: Progress = no_progress,
    embed: Embedder = dlib_embed,
) -> FaceTrack:
    """Landmarks, points of the head, shoulders, identity and focus of one person over the clip.

    Short gaps are bridged by interpolation and marked; in long ones the track is invalid. Nothing is interpolated
    or smoothed across a cut.
    """
    boxes = _smooth_boxes(person.boxes, shots, cfg.max_bridge)
    count, finder = len(boxes), load_finder()
    expected = np.isfinite(boxes[:, 0])
    if person.hidden is not None:
        expected &= ~person.hidden
    found = _Found.nothing(count, len(finder.ear))
    starts = {shot.start for shot in shots}
    spacing, due = max(IDENTITY_SPACING, count // cfg.embeddings), 0
    with FaceMesh(video=True) as mesh, FaceMesh(video=False) as still, Shoulders() as find_shoulders:
        for t, image in enumerate(frames()):
            if t in starts and t > 0:
                mesh.reset()
            if expected[t]:
                x, y, face, score = boxes[t]
                found.looks[t] = _look(image, x, y, face)
                points = _landmarks(image, boxes[t], mesh, still, cfg)
                if points is not None:
                    found.landmarks[t], found.confidence[t] = points, score
                    found.sharpness[t] = sharpness(image, points)
                    found.head_points[t], found.ears_seen[t] = find_head_points(image, points, finder)
                    if t >= due:
                        found.identities[t], due = embed(image, points), t + spacing
                if t % cfg.shoulder_stride == 0 or t in starts:
                    found.shoulders[t] = find_shoulders(image, (x, y), face)
            progress(t + 1, count, "landmarks")
    return found.track(size, shots, duplicate, cfg.max_bridge)


@dataclass(frozen=True)
class _Found:
    """What the frames of a clip show of one person; NaN where it was not found. Filled frame by frame."""

    landmarks: Float[np.ndarray, "t 478 3"]
    confidence: Float[np.ndarray, "t"]
    """0 where there are no landmarks."""
    sharpness: Float[np.ndarray, "t"]
    head_points: Float[np.ndarray, "t k 2"]
    ears_seen: Float[np.ndarray, "t 2"]
    shoulders: Float[np.ndarray, "t 2 3"]
    looks: Float[np.ndarray, "t n n"]
    """Tiny pictures of where the face should be."""
    identities: dict[int, np.ndarray]
    """Frame -> embedding."""

    @classmethod
    def nothing(cls, count: int, head_points: int) -> _Found:
        """Of ``count`` frames, before the first is looked at."""
        return cls(
            landmarks=np.full((count, 478, 3), np.nan),
            confidence=np.zeros(count),
            sharpness=np.full(count, np.nan),
            head_points=np.full((count, head_points, 2), np.nan),
            ears_seen=np.zeros((count, 2)),
            shoulders=np.full((count, 2, 3), np.nan),
            looks=np.zeros((count, LOOK, LOOK), np.float32),
            identities={},
        )

    def track(
        self, size: tuple[int, int], shots: Sequence[Shot], duplicate: Bool[np.ndarray, "t"], max_gap: int
    ) -> FaceTrack:
        """The track, gaps of at most ``max_gap`` frames bridged (in place)."""
        count = len(self.landmarks)
        valid = np.isfinite(self.landmarks[:, 0, 0])
        bridged = np.zeros(count, bool)
        for shot in shots:
            part = slice(shot.start, shot.stop)
            _bridge(self.landmarks[part], valid[part], bridged[part], max_gap, self.looks[part])
            _interpolate(self.shoulders[part])
        return FaceTrack(
            landmarks=self.landmarks.astype(np.float32),
            valid=valid | bridged,
            confidence=np.where(bridged, BRIDGED_CONFIDENCE, self.confidence).astype(np.float32),
            bridged=bridged,
            duplicate=np.asarray(duplicate, bool),
            shoulders=np.nan_to_num(self.shoulders).astype(np.float32),
            embedding=identity_table(self.identities, count),
            sharpness=np.nan_to_num(self.sharpness).astype(np.float32),
            size=size,
            shots=tuple(shots),
            head_points=self.head_points.astype(np.float32),
            ears_seen=self.ears_seen.astype(np.float32),
        )


def _landmarks(
    image: RgbImage, box: Float[np.ndarray, "4"], mesh: FaceMesh, still: FaceMesh, cfg: PerceptionConfig
) -> Float[np.ndarray, "478 3"] | None:
    """Landmarks of the face in a detection's box: ``mesh`` follows it, ``still`` looks anew where that lost it."""
    x, y, face, _ = box
    for look in (mesh, still):
        points = look(image, (x, y), face * cfg.crop_margin, cfg.crop)
        if points is not None and _on_face(points, x, y, face):
            return points
    return None


def _on_face(points: np.ndarray, x: float, y: float, face: float) -> bool:
    """Whether the landmarks lie on the detected face rather than on a neighbour's."""
    centre = points[:468, :2].mean(0)
    return bool(np.hypot(*(centre - (x, y))) < 0.6 * face and 0.4 < np.ptp(points[:468, 1]) / face < 2.5)


def _smooth_boxes(boxes: np.ndarray, shots: Sequence[Shot], max_gap: int) -> np.ndarray:
    """Crop boxes without jitter: short gaps interpolated, moving average over five frames, per shot."""
    out = boxes.copy()
    for shot in shots:
        part = out[shot.start : shot.stop]
        seen = np.isfinite(part[:, 0])
        _bridge(part, seen, np.zeros(len(part), bool), max_gap)
        filled = part.copy()
        for t in range(len(part)):
            if np.isfinite(filled[t, 0]):
                near = filled[max(t - 2, 0) : t + 3]
                part[t] = np.nanmean(near[np.isfinite(near[:, 0])], axis=0)
    return out


def _look(image: RgbImage, x: float, y: float, face: float) -> Float[np.ndarray, "n n"]:
    """A tiny grey picture of where the face should be."""
    half = max(face / 2, 1.0)
    top, left = int(max(y - half, 0)), int(max(x - half, 0))
    part = image[top : max(int(y + half), top + 1), left : max(int(x + half), left + 1)]
    if part.size == 0:
        return np.zeros((LOOK, LOOK), np.float32)
    return cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (LOOK, LOOK), interpolation=cv2.INTER_AREA).astype(
        np.float32
    )


def _bridge(
    values: np.ndarray,
    seen: np.ndarray,
    bridged: np.ndarray,
    max_gap: int,
    looks: Float[np.ndarray, "t n n"] | None = None,
) -> None:
    """Fill interior gaps of at most ``max_gap`` rows linearly, in place; mark them in ``bridged``.

    A gap whose pictures look nothing like those at its ends stays: the person was not there (a flash, an insert).
    """
    known = np.flatnonzero(seen)
    for a, b in pairwise(known):
        if 1 < b - a <= max_gap + 1:
            if looks is not None:
                change = [min(np.abs(looks[t] - looks[e]).mean() for e in (a, b)) for t in range(a + 1, b)]
                if max(change) > STRANGE_LOOK:
                    continue
            for t in range(a + 1, b):
                k = (t - a) / (b - a)
                values[t] = (1 - k) * values[a] + k * values[b]
                bridged[t] = True


def _interpolate(values: np.ndarray) -> None:
    """Fill missing rows from the neighbours in time, in place."""
    known = np.flatnonzero(np.isfinite(values.reshape(len(values), -1)[:, 0]))
    if len(known):
        flat = values.reshape(len(values), -1)
        for k in range(flat.shape[1]):
            flat[:, k] = np.interp(np.arange(len(flat)), known, flat[known, k])


def landmarks_near(
    images: ImageStore,
    hints: Mapping[int, Float[np.ndarray, "478 3"]],
    cfg: PerceptionConfig,
    *,
    progress: Progress = no_progress,
) -> dict[int, Float[np.ndarray, "478 3"]]:
    """Landmarks of single images in which the face is about where the hints say; images without one are left out.

    Args:
        images: Where the images are.
        hints: Index of an image -> landmarks of a face in (nearly) the same place, pixels of that image.
        cfg: Crop size.
        progress: Told after every image.
    """
    found: dict[int, Float[np.ndarray, "478 3"]] = {}
    with FaceMesh(video=False) as mesh:
        for done, (index, hint) in enumerate(hints.items(), 1):
            xy = hint[:468, :2]
            low, high = xy.min(0), xy.max(0)
            x, y = (low + high) / 2
            face = float((high - low).max())
            points = mesh(images[index], (float(x), float(y)), face * HINT_MARGIN, cfg.crop)
            if points is not None and _on_face(points, float(x), float(y), face):
                found[index] = points
            progress(done, len(hints), "landmarks")
    return found
