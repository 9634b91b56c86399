"""Study how the landmark detector errs, on synthetic people whose truth is known.

Renders people, finds their landmarks as the pipeline does, and writes ``landmark_errors.npz`` (see
``gswap.body.landmark_errors``) to the package data. The people are numbered from 2000: ``gswap bench track`` uses
others. About six minutes of rendering, kept in ``--samples``::

    python scripts/make_landmark_errors.py --samples /tmp/samples
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment, nnls

from gswap.body.landmark_errors import COUNT, KNOTS, VIEW_FEATURES, head_axes, view_angles, view_features
from gswap.body.landmark_model import REFERENCE_EYE_DISTANCE, landmark_model
from gswap.body.models.anny import AnnyModel, load_anny
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import IRIS_LEFT, IRIS_RIGHT
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.perception.adapters.mediapipe import FaceDetector, FaceMesh
from gswap.perception.config import PerceptionConfig

DATA = Path(__file__).resolve().parents[1] / "src/gswap/body/data"
FIRST, PEOPLE, IMAGES = 2000, 72, 10
SIZE, HEAD = 384, 0.62
"""Pixels, and height of the head as a share of them."""
SECONDS, FPS = 9.6, 25.0
ABSURD = 0.5
"""Share of the eye distance: an image with a larger error shows a failure, not an error."""
SHUT = 0.4
"""Irises are studied with lids less closed than this."""
FRONT = np.radians(40)
"""Views turned further count less."""
PERSON_MODES, FRAME_MODES = 20, 20
RIDGE = {"bells": 0.3, "pitch": 0.5, "gaze": 0.3, "actions": 3.0}
PERSON_SIGMA, PERSON_NOISE = 3e-3, 0.02
"""Metres, and shares of the eye distance: prior and noise when a person's own errors are estimated."""
TEMPER, IRIS_TEMPER = 12.0, 2.0
"""The images of a clip err alike, so each is worth less than its own variance says. Chosen on clips."""
GAZE_SHARE = 0.7
"""Of the studied understating of gaze: undoing all of it would amplify noise."""
SMALLEST = 0.004
IRISES = np.array(IRIS_RIGHT + IRIS_LEFT)


@dataclass(frozen=True)
class Samples:
    """Everything about the images of one person (or of their mirror image)."""

    error: np.ndarray
    """(t, 478, 2): detected minus true, shares of the eye distance along the head's axes."""
    angles: np.ndarray
    """(t, 2): yaw and pitch, radians."""
    gaze: np.ndarray
    """(t, 2): up, left."""
    actions: np.ndarray
    """(t, a): the free ones."""
    by_head: np.ndarray
    """(t, 2, 3): how a displacement in head coordinates (metres) shows."""


def render_and_detect(seed: int, model: AnnyModel, detect: FaceDetector, mesh: FaceMesh) -> Samples:
    """The images of one person."""
    rng = np.random.default_rng(seed)
    person, scene = make_person(seed), make_scene(seed, head_fraction=HEAD)
    config = MotionConfig(
        yaw=float(rng.uniform(25, 60)), pitch=14.0, sway=6.0, wide_mouth=seed % 3 == 0, blink_every=1.2
    )
    length = round(SECONDS * FPS)
    motion = make_motion(seed, length, FPS, config)
    free = landmark_model(model).free
    rows = []
    for t in np.sort(rng.choice(length, IMAGES, replace=False)):
        frame = render(person, motion[int(t)], scene, SIZE, frame=int(t))
        marks = _detect(frame.rgb, detect, mesh)
        if marks is None:
            continue
        turn, place = rotvec_to_matrix(frame.track.rotation[0]), frame.track.translation[0]
        axes = head_axes(turn)
        scale = frame.track.focal[0] * REFERENCE_EYE_DISTANCE / place[2]
        error = (marks[:, :2] - frame.landmarks) @ axes.T / scale
        ahead = rotvec_to_matrix(frame.track.eyes[0, 0]) @ np.array([0.0, 0.0, -1.0])
        gaze = np.array([-np.arcsin(ahead[1]), np.arctan2(ahead[0], -ahead[2])])
        shown = axes @ turn[:2] / REFERENCE_EYE_DISTANCE
        rows.append((error, np.array(view_angles(turn, place)), gaze, frame.track.actions[0, free], shown))
    return Samples(*(np.array(column) for column in zip(*rows, strict=True)))


def _detect(rgb: np.ndarray, detect: FaceDetector, mesh: FaceMesh) -> np.ndarray | None:
    """Landmarks as in the middle of a clip: the second look starts from the first one's landmarks."""
    faces = detect(rgb)
    if not faces:
        return None
    cfg, face = PerceptionConfig(), faces[0]
    mesh.reset()
    marks = None
    for _ in range(2):
        marks = mesh(rgb, (face.x, face.y), face.size * cfg.crop_margin, cfg.crop)
    return marks


def mirror_pairs(model: AnnyModel) -> np.ndarray:
    """For every landmark the one on the other side."""
    lm = landmark_model(model)
    points = lm.face_shape(np.zeros(lm.space.basis.shape[1])).rest
    distance = np.linalg.norm((points * [-1, 1, 1])[:, None] - points[None], axis=-1)
    skin = linear_sum_assignment(distance[:468, :468])[1]
    return np.concatenate([skin, 468 + linear_sum_assignment(distance[468:, 468:])[1]])


def mirrored(samples: Samples, pairs: np.ndarray, swapped: np.ndarray) -> Samples:
    """The mirror image of a person is a person, too."""
    return Samples(
        samples.error[:, pairs] * [-1, 1],
        samples.angles * [-1, 1],
        samples.gaze * [1, -1],
        samples.actions[:, swapped],
        samples.by_head * np.array([[-1], [1]]) * [-1, 1, 1],
    )


def other_side(names: tuple[str, ...]) -> np.ndarray:
    """For every action the one of the other side."""
    swap = {n: n.replace("Left", "#").replace("Right", "Left").replace("#", "Right") for n in names}
    return np.array([names.index(swap[n]) if swap[n] in names else i for i, n in enumerate(names)])


def study(people: list[Samples], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of ``landmark_errors.npz``."""
    kept = [np.abs(p.error).max((1, 2)) < ABSURD for p in people]
    error = np.concatenate([p.error[k] for p, k in zip(people, kept, strict=True)])
    angles = np.concatenate([p.angles[k] for p, k in zip(people, kept, strict=True)])
    gaze = np.concatenate([p.gaze[k] for p, k in zip(people, kept, strict=True)])
    actions = np.concatenate([p.actions[k] for p, k in zip(people, kept, strict=True)])
    by_head = np.concatenate([p.by_head[k] for p, k in zip(people, kept, strict=True)])
    who = np.repeat(np.arange(len(people)), [k.sum() for k in kept])
    count, yaw = len(error), angles[:, 0]
    frontal = 1 / (1 + (yaw / FRONT) ** 4)
    seen = actions[:, names.index("eyeBlinkLeft")] < SHUT
    weight = np.repeat(frontal[:, None], COUNT, 1)
    weight[:, IRISES] *= seen[:, None]

    causes = np.concatenate([[view_features(*a) for a in angles], gaze, actions], 1)
    ridge = np.repeat(list(RIDGE.values()), [len(KNOTS), VIEW_FEATURES - len(KNOTS), 2, len(names)])
    response = np.empty((causes.shape[1], COUNT, 2))
    skin = np.setdiff1d(np.arange(COUNT), IRISES)
    for group, own in ((skin, frontal), (IRISES, frontal * seen)):
        normal = causes.T @ (causes * own[:, None]) + np.diag(ridge)
        right = (causes * own[:, None]).T @ error[:, group].reshape(count, -1)
        response[:, group] = np.linalg.solve(normal, right).reshape(len(ridge), len(group), 2)
    left = error - np.tensordot(causes, response, 1)

    person = personal_modes(left, by_head, weight, who)
    coefficients, modes = person
    left = left - np.einsum("tij,tlj->tli", by_head, np.tensordot(coefficients, modes, 1)[who])
    trust = np.sqrt(frontal * seen)
    _, sizes, directions = np.linalg.svd(
        (left * trust[:, None, None]).reshape(count, -1) / np.sqrt(np.square(trust).sum()), full_matrices=False
    )
    directions = directions[:FRAME_MODES]
    flat = left.reshape(count, -1)
    left = (flat - flat @ directions.T @ directions).reshape(left.shape)
    print(f"left unexplained: {100 * np.sqrt(np.square(left).sum(-1).mean()):.2f} % of the eye distance (rms)")
    view, turned = VIEW_FEATURES, VIEW_FEATURES + 2
    return {
        "view": response[:view],
        "gaze": GAZE_SHARE * response[view:turned],
        "actions": response[turned:],
        "person": modes,
        "frame": (sizes[:FRAME_MODES, None] * directions).reshape(-1, COUNT, 2),
        "variance": np.where(np.isin(np.arange(COUNT), IRISES), IRIS_TEMPER, TEMPER) * variances(left, yaw, seen),
    }


def personal_modes(
    left: np.ndarray, by_head: np.ndarray, weight: np.ndarray, who: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What every person's images have in common, in head coordinates: coefficients (p, k) and modes (k, 478, 3)."""
    people = np.unique(who)
    own = np.empty((len(people), COUNT, 3))
    for i, person in enumerate(people):
        mine = who == person
        p, w = by_head[mine], weight[mine]
        normal = np.einsum("tij,tik,tl->ljk", p, p, w) / PERSON_NOISE**2 + np.eye(3) / PERSON_SIGMA**2
        right = np.einsum("tij,tli,tl->lj", p, left[mine], w) / PERSON_NOISE**2
        own[i] = np.linalg.solve(normal, right[..., None])[..., 0]
    flat = own.reshape(len(people), -1)
    _, sizes, directions = np.linalg.svd(flat / np.sqrt(len(people)), full_matrices=False)
    sizes, directions = sizes[:PERSON_MODES], directions[:PERSON_MODES]
    return flat @ directions.T / sizes, (sizes[:, None] * directions).reshape(-1, COUNT, 3)


def variances(left: np.ndarray, yaw: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(3, 478): frontal variance of every landmark, and its growth by the squared yaw to either side."""
    causes = np.stack([np.ones(len(yaw)), np.maximum(yaw, 0) ** 2, np.maximum(-yaw, 0) ** 2], 1)
    squares = np.square(left).mean(-1)
    out = np.empty((3, COUNT))
    for mark in range(COUNT):
        used = seen if mark in IRISES else np.ones(len(yaw), bool)
        out[:, mark] = nnls(causes[used], squares[used, mark])[0]
    out[0] = np.maximum(out[0], SMALLEST**2)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="folder for what is rendered and detected")
    parser.add_argument("--first", type=int, default=FIRST, help="render from this person on (to share the work)")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--output", type=Path, default=DATA / "landmark_errors.npz")
    parser.add_argument("--render-only", action="store_true")
    args = parser.parse_args()
    args.samples.mkdir(parents=True, exist_ok=True)
    model = load_anny()
    files = [args.samples / f"{seed}.npz" for seed in range(args.first, args.first + args.people)]
    if not all(f.exists() for f in files):
        with FaceDetector(PerceptionConfig().min_detection) as detect, FaceMesh(video=True) as mesh:
            for file in files:
                if not file.exists():
                    np.savez(file, **vars(render_and_detect(int(file.stem), model, detect, mesh)))
    if args.render_only:
        return
    people = []
    pairs, swapped = mirror_pairs(model), other_side(model.free_actions)
    for file in files:
        with np.load(file) as archive:
            samples = Samples(**{k: archive[k] for k in archive.files})
        people += [samples, mirrored(samples, pairs, swapped)]
    arrays = {name: a.astype(np.float32) for name, a in study(people, model.free_actions).items()}
    np.savez_compressed(args.output, action_names=np.array(model.free_actions), **arrays)


if __name__ == "__main__":
    main()
