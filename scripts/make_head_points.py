"""Learn to find the points of the head that landmarks do not show, on synthetic people whose truth is known.

Writes the regressions of ``gswap.perception.head_points``, and where the points lie and how they are missed
(``gswap.body.head_points``), to the package data. The people who are learnt from have the looks of some, and a shape
drawn anew for every picture (hair, clothes and brows follow the skin); from number 40000 on their ears and skulls, from
42000 on their chins and the width of their jaws differ more than synthetic people's do, so that what is learnt also
holds for people at the ends of the model's range. The errors are studied on others, from 3000; ``gswap bench track``
meets none of them. Two hours of rendering, kept in ``--samples``::

    python scripts/make_head_points.py --samples /tmp/samples
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import linalg
from scipy.spatial import KDTree

from gswap.body.head_points import LEFT_EAR, RIGHT_EAR
from gswap.body.landmark_model import landmark_model
from gswap.body.models.anny import AnnyModel, AnnyRest, load_anny
from gswap.foundation.landmarks import CHIN, OVAL
from gswap.foundation.types import BodyTrack
from gswap.people import person as people
from gswap.people import surface
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.render import SyntheticFrame, render
from gswap.people.scene import make_scene
from gswap.perception import head_points as finding
from gswap.perception.adapters.mediapipe import FaceDetector, FaceMesh
from gswap.perception.config import PerceptionConfig
from make_landmark_errors import mirror_pairs

ROOT = Path(__file__).resolve().parents[1] / "src/gswap"
RANGES = ((21000, 122), (22000, 613), (30000, 53), (31000, 64), (40000, 27), (41000, 24), (42000, 514))
BASES = tuple(number for first, count in RANGES for number in range(first, first + count))
SHAPES = 8
EARS = ("ear-", "head-scale")
CHIN_AND_CHEEKS = (
    *(f"chin-{what}" for what in ("width", "bones", "jaw", "prominent", "cleft", "prognathism")),
    "cheek-volume",
    "head-fat",
)
"""But for the height of the chin, which differs enough."""
WIDE, WIDER = {40000: EARS, 42000: CHIN_AND_CHEEKS}, 1.7
"""From these numbers on these changes are so much larger."""
STUDIED, IMAGES = range(3000, 3024), 8
JAW = tuple(i for i in OVAL if i in {58, 172, 136, 150, 149, 176, 148, CHIN, 377, 400, 378, 379, 365, 397, 288})
MOUTH = (0, 17, 61, 291, 37, 267, 84, 314, 40, 270, 91, 321, 13, 14, 82, 312, 87, 317)
"""Landmarks around and between the lips."""
LOWER_LIP = 17
ROWS = (-0.2, 0.25, 0.5, 0.75)
"""Shares of the way from the jaw to the lower lip."""
EAR_POINTS, SKULL_POINTS, FACE_POINTS, MIDDLE_POINTS = 12, 20, 12, 6
"""On each side, and in the middle of the face."""
FOLDS = 4
RANK = 40
HEAD_RIDGE, FACE_RIDGE, LOCAL_RIDGE = 0.3, 0.45, 1.0
FACE_BELLS, NUMBERS, CENTRES, BELLS_RIDGE = 2.0, 150, 2000, 0.1
"""What is not linear in the face's details: its weight against what is, the numbers that it is looked for in, and the
pictures that have bells around them (with which ridge)."""
BY_YAW, BY_VIEW = 0.4, 0.3
"""Weights of what depends on the yaw, and of the view alone, against all that is seen."""
UNSEEN = 127
"""Hair of this opacity hides an ear."""
MODES = 16


# ---------------------------------------------------------------- which points
@dataclass(frozen=True)
class Points:
    """The points on the body's mesh."""

    triangles: np.ndarray
    barycentric: np.ndarray
    landmark: np.ndarray
    ear: np.ndarray
    mirror: np.ndarray
    """For every point the one on the other side."""
    mean: np.ndarray
    """Of the mean person, head coordinates."""
    middle: np.ndarray
    between: np.ndarray
    """(b, p): weights of the points for every place between jaw and mouth where details are looked at, too."""

    @property
    def face(self) -> int:
        """How many of the points, the first, are the face's."""
        return int((self.landmark >= 0).sum())

    def of(self, vertices: np.ndarray) -> np.ndarray:
        """The points of a mesh."""
        return (vertices[self.triangles] * self.barycentric[..., None]).sum(1)


def choose_points(model: AnnyModel) -> Points:
    """Take landmarks of the jaw, the lips and the stable face, and spread points over the ears and the skull."""
    rest = model.rest(model.neutral_shape())
    v = rest.vertices - rest.joints[model.head_joint]
    lm = landmark_model(model)
    face = lm.face_shape(np.zeros(lm.space.basis.shape[1])).points[:468]
    skin = model.part == 0
    ears = np.flatnonzero((model.regions["ears"] > 0.5) & skin & (v[:, 0] > 0))
    away = np.min(np.linalg.norm(v[:, None] - face[None], axis=-1), axis=1) > 8e-3
    skull = skin & away & (model.head_weight > 0.98) & (model.regions["ears"] < 0.1) & (model.regions["mouth"] < 0.1)

    def other_side(index: np.ndarray) -> np.ndarray:
        return np.array([np.argmin(np.linalg.norm(v - v[i] * [-1, 1, 1], axis=1)) for i in index])

    left_ear = _spread(v, ears, EAR_POINTS)
    left_skull = _spread(v, np.flatnonzero(skull & (v[:, 0] > 3e-3)), SKULL_POINTS)
    corners = np.concatenate([other_side(left_ear), left_ear, left_skull, other_side(left_skull)])
    left_face = _spread(face, finding.STABLE[face[finding.STABLE, 0] > 4e-3], FACE_POINTS)
    pairs, middle_line = mirror_pairs(model), finding.STABLE[np.abs(face[finding.STABLE, 0]) < 1.5e-3]
    marks = [*JAW, *MOUTH, *_spread(face, middle_line, MIDDLE_POINTS), *left_face, *pairs[left_face]]
    e, s = EAR_POINTS, SKULL_POINTS
    starts = len(marks) + np.array([0, e, 2 * e, 2 * e + s])
    order = [np.arange(a, a + n) for a, n in zip(starts[[1, 0, 3, 2]], (e, e, s, s), strict=True)]
    points = Points(
        triangles=np.concatenate([model.landmark_triangles[marks], np.repeat(corners[:, None], 3, 1)]),
        barycentric=np.concatenate([model.landmark_barycentric[marks], np.tile([1.0, 0, 0], (len(corners), 1))]),
        landmark=np.concatenate([marks, np.full(len(corners), -1)]),
        ear=np.repeat([0, RIGHT_EAR, LEFT_EAR, 0], [len(marks), e, e, 2 * s]),
        mirror=np.concatenate([[marks.index(i) for i in pairs[marks]], *order]),
        mean=np.zeros(0),
        middle=np.array([0.0, *v[skull, 1:].mean(0)]),
        between=_between(marks, len(marks) + 2 * (e + s)),
    )
    return replace(points, mean=points.of(v))


def _spread(v: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Vertices that are far from each other."""
    chosen, far = [0], np.linalg.norm(v[index] - v[index[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(v[index] - v[index[chosen[-1]]], axis=1))
    return index[chosen]


def _between(marks: list[int], count: int) -> np.ndarray:
    """Places between the jaw, a little outside of it, and the lower lip."""
    jaw, lip = [marks.index(i) for i in JAW], marks.index(LOWER_LIP)
    out = np.zeros((len(ROWS), len(jaw), count))
    for weights, share in zip(out, ROWS, strict=True):
        weights[range(len(jaw)), jaw] = 1 - share
        weights[:, lip] += share
    return out.reshape(-1, count)


# ---------------------------------------------------------------- pictures
def reshaped(person: people.Person, seed: int, rng: np.random.Generator, wide: Sequence[str]) -> people.Person:
    """Somebody of another shape with the same skin, hair and clothes, which follow the skin beneath them.

    ``wide``: parts of the names of changes that differ more than synthetic people's do.
    """
    n = len(person.figure.vertices)
    age = float(np.clip(person.traits.age + rng.normal(0, 0.04), 0.58, 0.95))
    drawn = {name: float(rng.uniform(*span)) for name, span in
             (("weight", (0.25, 0.62)), ("muscle", (0.3, 0.6)), ("proportions", (0.3, 0.8)))}  # fmt: skip
    model = person.model
    shape = people._shape(model, replace(person.traits, seed=seed, age=age, **drawn))
    if wide:
        far = np.array([0] * len(model.phenotype_names) + [any(w in n for w in wide) for n in model.local_names])
        wider = np.clip(WIDER * shape.coefficients, -0.85, 0.85)
        shape = replace(shape, coefficients=np.where(far, wider, shape.coefficients))
    figure = people._figure(model, shape)
    skin = np.flatnonzero(model.part == 0)
    tree, moved = KDTree(person.figure.vertices[skin]), figure.vertices - person.figure.vertices

    def carried(points: np.ndarray) -> np.ndarray:
        distance, near = tree.query(points, k=3)
        weight = 1 / (distance + 1e-3)
        return (moved[skin[near]] * (weight / weight.sum(1, keepdims=True))[..., None]).sum(1)

    attributes = person.mesh.attributes.copy()
    attributes[n:, :3] += carried(attributes[n:, :3])
    attributes[:n, :3] = figure.vertices
    strands = replace(person.strands, points=person.strands.points + carried(person.strands.points))
    mesh = replace(person.mesh, attributes=attributes)
    rest = AnnyRest(figure.vertices, figure.joints)
    return replace(person, figure=figure, rest=rest, anchor=figure.head_centre, mesh=mesh, strands=strands)


def shots(first: int, count: int, study: bool) -> Iterator[tuple[SyntheticFrame, int]]:
    """Pictures of one person (``study``) or of people who share the looks of one; and the quality to store them at."""
    rng = np.random.default_rng(first)
    person = people.make_person(first)
    noise = {}
    for k in range(count):
        seed = first if study else 100 * first + k
        wide = next((names for start, names in reversed(WIDE.items()) if first >= start), ())
        one = person if study or not (k or wide) else reshaped(person, seed, rng, wide)
        if not study or not k:
            noise = {"head_fraction": float(rng.uniform(0.38, 0.64)), "noise": float(rng.uniform(0.5, 4))}
        config = MotionConfig(
            yaw=float(rng.uniform(15, 50)), pitch=11.0, sway=8.0, wide_mouth=seed % 3 == 0, blink_every=1.8
        )
        motion = make_motion(seed, 120, 12.5, config)
        t = int(rng.integers(len(motion)))
        size = int(rng.choice((320, 400, 480) if study else (208, 256, 320)))
        yield render(one, motion[t], make_scene(seed, **noise), size, frame=t), int(rng.uniform(45, 97))


def picture_people(file: Path, study: bool, detect: FaceDetector, mesh: FaceMesh) -> None:
    """Render, compress, find the landmarks, and store everything that is true."""
    cfg, rows = PerceptionConfig(), []
    for frame, quality in shots(int(file.stem), IMAGES if study else SHAPES, study):
        jpg = cv2.imencode(".jpg", frame.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        rgb = np.ascontiguousarray(cv2.imdecode(jpg, cv2.IMREAD_COLOR)[..., ::-1])
        faces, marks = detect(rgb), None
        mesh.reset()
        for _ in range(2 if faces else 0):
            marks = mesh(rgb, (faces[0].x, faces[0].y), faces[0].size * cfg.crop_margin, cfg.crop)
        if marks is None:
            continue
        track = frame.track
        rows.append({
            "jpg": jpg.ravel(), "marks": marks.astype(np.float32), "coefficients": track.shape.coefficients,
            "focal": track.focal[0], "hair": cv2.imencode(".png", frame.masks.hair)[1].ravel(),
            **{name: getattr(track, name)[0] for name in ("rotation", "translation", "neck", "eyes", "actions")},
        })  # fmt: skip
    if rows:
        np.savez(file, n=len(rows), **{f"{k}_{i}": np.asarray(v) for i, row in enumerate(rows) for k, v in row.items()})


# ---------------------------------------------------------------- what is seen in them
def read_pictures(
    file: Path, model: AnnyModel, points: Points
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Picture, detected landmarks, true points in pixels, and how much of the right and left ear hair leaves free."""
    with np.load(file) as archive:
        data = {name: archive[name] for name in archive.files}
    neutral = model.neutral_shape()
    for i in range(int(data["n"])):
        row = {name.removesuffix(f"_{i}"): value for name, value in data.items() if name.endswith(f"_{i}")}
        rgb = np.ascontiguousarray(cv2.imdecode(row["jpg"], cv2.IMREAD_COLOR)[..., ::-1])
        height, width = rgb.shape[:2]
        track = BodyTrack(
            neutral, *(row[name][None] for name in ("focal", "rotation", "translation", "neck", "eyes", "actions")),
            np.ones(1, bool), np.ones(1), np.zeros(1), np.array([[width, height]]),
        )  # fmt: skip
        mesh = model.pose(track, model.rest(replace(neutral, coefficients=row["coefficients"])), 0).vertices
        spots = points.of(mesh)
        pixels = row["focal"] * spots[:, :2] / spots[:, 2:] + np.array([width, height]) / 2
        hair = cv2.imdecode(row["hair"], cv2.IMREAD_GRAYSCALE)
        x, y = np.clip(np.round(pixels), 0, np.array([width, height]) - 1).astype(int).T
        free = [1 - (hair[y, x] > UNSEEN)[points.ear == side].mean() for side in (1, 2)]
        yield rgb, row["marks"], pixels, np.array(free)


@dataclass(frozen=True)
class Looks:
    """What is seen in ``n`` pictures, and where the points are in them, all in the head's frame."""

    who: np.ndarray
    view: np.ndarray
    """(n, 2): yaw and pitch."""
    landmarks: np.ndarray
    """(n, 956): against the mean person's."""
    head: np.ndarray
    """(n, 24, 24, 9): histograms."""
    picture: np.ndarray
    """(n, 256, 256): the head, grey."""
    base: np.ndarray
    """(n, p, 2): mean places."""
    shift: np.ndarray
    """(n, p, 2): from there to the true ones."""
    free: np.ndarray
    """(n, 2): how much of each ear hair leaves free."""

    @staticmethod
    def join(parts: list[Looks]) -> Looks:
        """One after the other."""
        return Looks(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])})


def look_at(file: Path, model: AnnyModel, points: Points, bare: finding.HeadPointFinder) -> Looks:
    """What is seen in the pictures of a file; kept beside it."""
    kept = file.with_name(f"{file.stem}.looks.npz")
    if kept.exists():
        with np.load(kept) as archive:
            return Looks(**{name: archive[name] for name in archive.files})
    rows = []
    for rgb, marks, pixels, free in read_pictures(file, model, points):
        frame = finding.head_frame(marks[:, :2].astype(np.float64), bare)
        base = frame.project(points.mean)
        seen = finding.head_features(rgb, marks, frame, bare.canonical)
        cells = finding.HEAD_SIZE // finding.CELL
        rows.append(
            Looks(
                who=np.array(int(file.stem)),
                view=np.array([frame.yaw, frame.pitch]),
                landmarks=seen[:956].astype(np.float32),
                head=seen[956:].reshape(cells, cells, finding.BINS).astype(np.float16),
                picture=finding.local_picture(rgb, frame),
                base=base.astype(np.float32),
                shift=(frame.inside(pixels) - base).astype(np.float32),
                free=free,
            )
        )
    out = Looks(**{name: np.stack([getattr(r, name) for r in rows]) for name in vars(rows[0])})
    np.savez(kept, **vars(out))
    return out


def mirrored(looks: Looks, points: Points, pairs: np.ndarray) -> Looks:
    """The mirror images."""
    flip = np.array([-1, 1])
    bins = -np.arange(finding.BINS) % finding.BINS
    return replace(
        looks,
        view=looks.view * flip,
        landmarks=(looks.landmarks.reshape(-1, 478, 2)[:, pairs] * flip).reshape(len(looks.who), -1),
        head=looks.head[:, :, ::-1][..., bins],
        picture=looks.picture[:, :, ::-1],
        base=looks.base[:, points.mirror] * flip,
        shift=looks.shift[:, points.mirror] * flip,
        free=looks.free[:, ::-1],
    )


# ---------------------------------------------------------------- learning
def learn(looks: Looks, points: Points) -> dict[str, np.ndarray]:
    """The arrays of a :class:`finding.HeadPointFinder`, but for where the points are."""
    n = len(looks.who)
    fold = np.searchsorted(np.unique(looks.who), looks.who) % FOLDS
    true = looks.shift.reshape(n, -1).astype(np.float64)
    head = _Step([looks.landmarks, looks.head.reshape(n, -1)], looks.view, HEAD_RIDGE)
    guess = head.of_strangers(fold, true)
    _report("whole head", looks, points, guess)
    arrays = head.arrays("head", true)
    del head  # its kernel takes gigabytes
    near = []
    for picture, points_at in zip(looks.picture, looks.base + guess.reshape(n, -1, 2), strict=True):
        places = np.concatenate([points_at, points.between @ points_at])
        near.append(finding.local_features(np.ascontiguousarray(picture), places).astype(np.float32))
    details, closer = np.array(near), np.concatenate([true - guess, looks.free], 1)
    of_face = finding.face_places(points.face, len(points.ear), len(points.between))
    guesses = []
    for name, target, seen, ridge, bells in (
        ("face", closer[:, : 2 * points.face], of_face, FACE_RIDGE, FACE_BELLS),
        ("local", closer[:, 2 * points.face :], ~of_face, LOCAL_RIDGE, 0.0),
    ):
        step = _Step([details[:, seen].reshape(n, -1)], looks.view, ridge, bells)
        guesses.append(step.of_strangers(fold, target))
        arrays |= step.arrays(name, target)
    _report("and every point", looks, points, guess + np.concatenate(guesses, 1)[:, :-2])
    return arrays


def _report(label: str, looks: Looks, points: Points, guess: np.ndarray) -> None:
    """Mean error on people who were not learnt from."""
    off = 100 * np.linalg.norm(looks.shift - guess.reshape(looks.shift.shape), axis=-1)
    near = np.abs(looks.view[:, 0]) < np.radians(38)
    ear, free = off[:, points.ear == LEFT_EAR].mean(1), looks.free[:, 1] > 0.6
    jaw, lips = np.isin(points.landmark, JAW), np.isin(points.landmark, MOUTH)
    marks, skull = points.landmark >= 0, (points.landmark < 0) & (points.ear == 0)
    figures = {
        "jaw": off[near][:, jaw],
        "lips": off[near][:, lips],
        "face": off[near][:, marks & ~jaw & ~lips],
        "skull": off[near][:, skull],
    }
    figures["seen ear"] = ear[near & free]
    figures["hidden ear"] = ear[near & ~free]
    said = ", ".join(f"{name} {values.mean():.2f}" for name, values in figures.items())
    print(f"{label}, {len(looks.who)} pictures, % of the eye distance: {said}")


class _Step:
    """Ridge regression on all that is seen, also multiplied by the shares of the yaws, and on the view.

    With ``bells`` also on how near what is seen is to what is seen in some of the pictures, for what is not linear.
    """

    def __init__(self, parts: list[np.ndarray], view: np.ndarray, ridge: float, bells: float = 0.0) -> None:
        yaw, pitch = view.T
        self.ridge, self.bells = ridge, bells
        self.mean = np.concatenate([part.mean(0, dtype=np.float64) for part in parts])
        self.columns = np.concatenate(parts, 1) - self.mean.astype(np.float32)
        widths = [part.shape[1] for part in parts]
        starts = np.cumsum([0, *widths[:-1]])
        spread = np.add.reduceat(np.square(self.columns).mean(0, dtype=np.float64), starts)
        self.size = np.repeat(1 / np.sqrt(spread), widths)
        self.columns *= self.size.astype(np.float32)
        self.shares = np.array([finding.yaw_shares(y) for y in yaw], np.float32)
        powers = np.stack([np.ones(len(yaw)), yaw, pitch, yaw**2, yaw * pitch, pitch**2, yaw**3], 1)
        self.spread = np.concatenate([[1.0], powers[:, 1:].std(0)])
        self.view = (powers / self.spread).astype(np.float32)
        self.kernel = self.columns @ self.columns.T
        self.kernel *= np.float32(1 - BY_YAW) + np.float32(len(finding.YAWS) * BY_YAW) * self.shares @ self.shares.T
        self.kernel += np.float32(BY_VIEW) * self.view @ self.view.T
        if bells:
            self._add_bells(view)

    def _add_bells(self, view: np.ndarray) -> None:
        """Bells around a few of the pictures (Nystroem), in the numbers that differ most."""
        wanted = [len(self.mean) - NUMBERS, len(self.mean) - 1]
        _, axes = linalg.eigh(self.columns.T @ self.columns, subset_by_index=wanted)
        self.axes = _bytes("bells_axes", axes * self.size[:, None])
        looks = self.columns / self.size.astype(np.float32)
        places = finding.bell_places(looks, view, finding.from_bytes(self.axes, "bells_axes"))
        some = np.random.default_rng(0).permutation(len(places))[:CENTRES]
        self.centres = _bytes("bells_centres", places[some])
        centres = finding.from_bytes(self.centres, "bells_centres")
        system = finding.bells(centres, centres).astype(np.float64)
        system[np.diag_indices(len(system))] += BELLS_RIDGE
        self.root = np.linalg.cholesky(system)
        near = finding.bells(places, centres).astype(np.float64)
        self.near = linalg.solve_triangular(self.root, near.T, lower=True).T.astype(np.float32)
        self.kernel += np.float32(self.bells) * self.near @ self.near.T

    def dual(self, used: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Coefficients of the pictures."""
        system = self.kernel[np.ix_(used, used)].astype(np.float64)
        system[np.diag_indices(len(used))] += self.ridge
        factor = torch.linalg.cholesky(torch.from_numpy(system))  # SciPy's threads crash beyond 20,000 rows
        return torch.cholesky_solve(torch.from_numpy(target[used]), factor).numpy()

    def of_strangers(self, fold: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Guesses for every picture, learnt from the other folds."""
        out = np.empty_like(target)
        for k in range(FOLDS):
            used, asked = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            mean = target[used].mean(0)
            out[asked] = self.kernel[np.ix_(asked, used)] @ self.dual(used, target - mean) + mean
        return out

    def arrays(self, name: str, target: np.ndarray) -> dict[str, np.ndarray]:
        """Explicit weights, through a few numbers."""
        mean = target.mean(0)
        dual = self.dual(np.arange(len(target)), target - mean)
        count = len(finding.YAWS)
        common = (1 - BY_YAW) * self.columns.T @ dual
        weights = np.stack(
            [common + count * BY_YAW * (self.columns * self.shares[:, [q]]).T @ dual for q in range(count)]
        )
        weights *= self.size[:, None]
        scale = np.tile(self.columns.std(0) / self.size, count)[:, None]
        flat = weights.reshape(-1, weights.shape[2]) * scale  # what counts is what the shifts are, not the weights
        left, sizes, right = np.linalg.svd(flat, full_matrices=False)
        kept = (left[:, :RANK] * sizes[:RANK]) / np.maximum(scale, 1e-9)
        view = BY_VIEW * (self.view.T @ dual) / self.spread[:, None]
        view[0] += mean
        out = {
            f"{name}_mean": self.mean,
            **_bytes(f"{name}_weights", kept.reshape(count, -1, RANK)),
            f"{name}_shapes": right[:RANK],
            f"{name}_view": view,
        }
        if not self.bells:
            return out
        heights = self.bells * linalg.solve_triangular(self.root, self.near.T @ dual, lower=True, trans="T")
        return out | self.axes | self.centres | {"bells_heights": heights.astype(np.float16)}


def _bytes(name: str, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weights as bytes, with a step per column."""
    step = np.abs(weights).max(tuple(range(weights.ndim - 1))) / 127
    return {name: np.round(weights / step).astype(np.int8), f"{name}_step": step.astype(np.float32)}


# ---------------------------------------------------------------- how they are missed
def study(people_errors: list[tuple[np.ndarray, np.ndarray, np.ndarray]], points: Points) -> dict[str, np.ndarray]:
    """The errors' arrays of ``gswap.body.head_points``.

    Args:
        people_errors: Of every person (and mirror image): found minus true (t, p, 2), yaw (t), ears seen (t, 2).
        points: Which points they are.
    """
    off = np.concatenate([e for e, _, _ in people_errors])
    yaw = np.concatenate([y for _, y, _ in people_errors])
    seen = np.concatenate([s for _, _, s in people_errors])
    left = points.ear == LEFT_EAR
    sizes = np.sqrt(np.square(off[:, left]).mean((1, 2)))
    hidden_share = 1 - np.clip(seen[:, 1], 0, 1)
    causes = np.stack([np.ones(len(yaw)), hidden_share, np.clip(yaw, -0.7, 0.7)], 1)
    _, by_hiding, turned = np.linalg.lstsq(causes, np.log(sizes), rcond=None)[0]
    hidden = float(np.clip(np.exp(by_hiding), 1, 3))
    turned = float(np.clip(turned, 0, 2))
    means, rests = [], []
    for error, angle, free in people_errors:
        share = np.concatenate([np.ones((len(angle), 1)), np.clip(free, 0, 1)], 1)[:, points.ear]
        away = (np.clip(angle, -0.7, 0.7)[:, None] * [0.0, -1.0, 1.0])[:, points.ear]
        even = error / ((share + (1 - share) * hidden) * np.exp(turned * away))[..., None]
        means.append(even.mean(0))
        rests.append((even - even.mean(0)) * np.sqrt(len(even) / max(len(even) - 1, 1)))
    rest = np.concatenate(rests)
    frame, frame_left = _modes(rest)
    images = np.mean([len(e) for e, _, _ in people_errors])
    share = max(1 - np.square(rest).mean() / images / np.square(np.array(means)).mean(), 0.2)
    person, person_left = _modes(np.array(means) * np.sqrt(share))
    print(f"hidden {hidden:.2f}, turned {turned:.2f}; rms: person "
          f"{100 * np.sqrt(share * np.square(np.array(means)).mean()):.2f}, "
          f"frame {100 * np.sqrt(np.square(rest).mean()):.2f} % of the eye distance and axis")  # fmt: skip
    return {
        "person": person,
        "frame": frame,
        "variance": np.array([person_left, frame_left]),
        "scales": np.array([hidden, turned]),
    }


def _modes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modes one standard deviation long, and the variance that they leave, per point and coordinate."""
    flat = rows.reshape(len(rows), -1) / np.sqrt(len(rows))
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    modes = sizes[:MODES, None] * directions[:MODES]
    left = np.square(flat).sum(0) - np.square(modes).sum(0)
    return modes.reshape(-1, rows.shape[1], 2), np.maximum(left.reshape(-1, 2).mean(1), 0.004**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="folder for what is rendered and detected")
    parser.add_argument("--root", type=Path, default=ROOT, help="package folder to write to")
    parser.add_argument("--kept-only", action="store_true", help="do without what has not been rendered yet")
    args = parser.parse_args()
    model = load_anny()
    points, pairs = choose_points(model), mirror_pairs(model)
    surface.OCCLUSION_DIRECTIONS, surface.OCCLUSION_SIZE = 10, 240  # coarse ambient occlusion: people in half the time
    groups: list[list[Path]] = []
    for name, numbers in (("learn", BASES), ("study", STUDIED)):
        folder = args.samples / name
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{number}.npz" for number in numbers]
        if not args.kept_only and not all(f.exists() for f in files):
            with FaceDetector(PerceptionConfig().min_detection) as detect, FaceMesh(video=True) as mesh:
                for file in files:
                    if not file.exists():
                        picture_people(file, name == "study", detect, mesh)
        groups.append([f for f in files if f.exists()])
    lm = landmark_model(model)
    canonical = lm.face_shape(np.zeros(lm.space.basis.shape[1])).points
    places = {"canonical": canonical, "points": points.mean, "middle": points.middle, "ear": points.ear}
    places |= {"between": points.between}
    nothing, no_bells = finding.Regression(*4 * [np.zeros(0)]), finding.Bells(*3 * [np.zeros(0)])
    bare = finding.HeadPointFinder(**places, head=nothing, face=nothing, face_bells=no_bells, local=nothing)
    looks = Looks.join([look_at(f, model, points, bare) for f in groups[0]])
    looks = Looks.join([looks, mirrored(looks, points, pairs)])
    arrays = places | learn(looks, points)
    small = {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}
    np.savez_compressed(args.root / "perception/data/head_points.npz", **small)

    finder = finding.read_finder(small)
    errors = []
    for file in groups[1]:
        rows: list[list] = [[], []]
        for rgb, marks, pixels, _ in read_pictures(file, model, points):
            for flip, out in enumerate(rows):
                if flip:
                    width = rgb.shape[1]
                    rgb = np.ascontiguousarray(rgb[:, ::-1])
                    marks = marks[pairs] * [-1, 1, 1] + [width, 0, 0]
                    pixels = pixels[points.mirror] * [-1, 1] + [width, 0]
                frame = finding.head_frame(marks[:, :2].astype(np.float64), finder)
                found, seen = finding.find_head_points(rgb, marks, finder)
                out.append((frame.inside(found) - frame.inside(pixels), frame.yaw, seen))
        errors += [tuple(np.array(column) for column in zip(*out, strict=True)) for out in rows]
    body = {"triangles": points.triangles, "barycentric": points.barycentric, "landmark": points.landmark}
    body |= {"ear": points.ear} | study(errors, points)
    small = {n: a.astype(np.float32) if a.dtype == np.float64 else a.astype(np.int32) for n, a in body.items()}
    np.savez_compressed(args.root / "body/data/head_points.npz", **small)


if __name__ == "__main__":
    main()
