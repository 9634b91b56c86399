"""How far a track, masks and a plate are from the truth. Functions of arrays; one row of figures per frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.body.models.anny import AnnyModel
from gswap.foundation.geometry import matrix_to_rotvec, project, rotvec_to_matrix, similarity
from gswap.foundation.landmarks import CHIN, EYE_CORNERS_OUTER, EYE_LEFT, EYE_RIGHT, LIPS, OVAL, face_height
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import BodyShape, BodyTrack, Camera, SoftMask

GRADED_YAW, GRADED_FACE = 35.0, 120.0
"""Degrees and pixels: the limits of the frames to which the issue's bounds apply."""
ACTIVE = 0.15
"""An action counts in a frame when its true value is at least this: relaxed lids hang at 0.12."""
CLOSED_LIDS = 0.5
"""With lids further closed than this the eyes cannot be seen, and their gaze is not graded."""
FACE_REACH = 8e-3
"""Metres from a landmark within which a vertex of the mean person belongs to the face."""
LINE_POINTS = 200
"""Points at which the jaw's line is measured."""
OUTLINE_STEP = 2
"""Pixels: every n-th pixel of an outline is measured."""
AHEAD = np.array([0.0, 0.0, -1.0])
JAW = tuple(i for i in OVAL if i in {58, 172, 136, 150, 149, 176, 148, CHIN, 377, 400, 378, 379, 365, 397, 288})
LIDS = (*EYE_RIGHT, *EYE_LEFT)


@dataclass(frozen=True)
class PoseFigures:
    """Errors of a track, one value per frame; NaN where the track has nothing."""

    graded: Bool[np.ndarray, "t"]
    yaw: Float[np.ndarray, "t"]
    """True, degrees; the head's front against the line of sight."""
    rotation: Float[np.ndarray, "t"]
    """Degrees, the clip's constant offset removed."""
    jaw: Float[np.ndarray, "t"]
    jaw_line: Float[np.ndarray, "t"]
    """Distance of the jaw's line from the true one, wherever along it the landmarks are."""
    marked: Float[np.ndarray, "t"]
    """Mean over the landmarks of jaw, lids and lips."""
    lids: Float[np.ndarray, "t"]
    lips: Float[np.ndarray, "t"]
    """Shares of the eye distance, as are jaw, lids and the next two."""
    ears: Float[np.ndarray, "t"]
    skull: Float[np.ndarray, "t"]
    gaze: Float[np.ndarray, "t"]
    """Degrees against the head, mean of both eyes."""
    actions: Float[np.ndarray, "t"]
    """Mean absolute error over the active actions."""
    residual: Float[np.ndarray, "t"]

    @staticmethod
    def join(parts: list[PoseFigures]) -> PoseFigures:
        """The frames of several clips."""
        return PoseFigures(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(PoseFigures)})


def pose_figures(
    model: AnnyModel, truth: BodyTrack, found: BodyTrack, marks: Float[np.ndarray, "t 478 2"]
) -> PoseFigures:
    """Compare a track with the truth, frame by frame."""
    count = len(truth)
    yaw = head_yaw(truth)
    graded = (np.abs(yaw) <= GRADED_YAW) & (float(np.median(face_height(marks))) >= GRADED_FACE) & found.valid
    columns = {f.name: np.full(count, np.nan) for f in fields(PoseFigures)[2:]}
    rest, true_rest = model.rest(found.shape), model.rest(truth.shape)
    ears = np.flatnonzero((model.regions["ears"] > 0.5) & (model.part == 0))
    names = np.array([not n.startswith("eyeLook") for n in model.action_names])
    lids = model.action_names.index("eyeBlinkLeft")
    columns["rotation"] = rotation_errors(truth, found, graded if graded.any() else found.valid)
    columns["residual"] = np.where(found.valid, found.residual, np.nan)
    for t in np.flatnonzero(found.valid):
        width, height = truth.sizes[t]
        camera = Camera(float(truth.focal[t]), width / 2, height / 2, int(width), int(height))
        guess = Camera(float(found.focal[t]), width / 2, height / 2, int(width), int(height))
        mesh, true_mesh = model.pose(found, rest, int(t)).vertices, model.pose(truth, true_rest, int(t)).vertices
        corners = landmark_points(model, true_mesh)[list(EYE_CORNERS_OUTER)]
        unit = float(np.linalg.norm(corners[1] - corners[0]) / corners[:, 2].mean() * camera.focal)
        seen = project(landmark_points(model, mesh), guess)
        off = np.linalg.norm(seen - marks[t], axis=-1) / unit
        for name, group in (("jaw", JAW), ("lids", LIDS), ("lips", LIPS)):
            columns[name][t] = off[list(group)].mean()
        columns["marked"][t] = off[[*JAW, *LIDS, *LIPS]].mean()
        columns["jaw_line"][t] = line_distance(seen[list(JAW)], marks[t, list(JAW)]) / unit
        ear = project(mesh[ears], guess) - project(true_mesh[ears], camera)
        columns["ears"][t] = np.linalg.norm(ear, axis=-1).mean() / unit
        columns["skull"][t] = skull_error(model, mesh, guess, true_mesh, camera) / unit
        if truth.actions[t, lids] < CLOSED_LIDS:
            columns["gaze"][t] = gaze_error(truth.eyes[t], found.eyes[t])
        active = (truth.actions[t] >= ACTIVE) & names
        if active.any():
            columns["actions"][t] = np.abs(truth.actions[t] - found.actions[t])[active].mean()
    return PoseFigures(graded=graded, **(columns | {"yaw": yaw}))


def head_yaw(track: BodyTrack) -> Float[np.ndarray, "t"]:
    """Degrees by which the face is turned away from the camera sideways."""
    ahead = rotvec_to_matrix(track.rotation) @ AHEAD
    sight = track.translation / np.linalg.norm(track.translation, axis=1, keepdims=True)
    return np.degrees(np.arctan2(ahead[:, 0], -ahead[:, 2]) - np.arctan2(-sight[:, 0], sight[:, 2]))


def rotation_errors(truth: BodyTrack, found: BodyTrack, used: Bool[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Degrees between true and found rotation, the mean difference of the ``used`` frames removed."""
    turn = np.swapaxes(rotvec_to_matrix(truth.rotation), -1, -2) @ rotvec_to_matrix(found.rotation)
    u, _, v = np.linalg.svd(turn[used].sum(0))
    errors = np.degrees(np.linalg.norm(matrix_to_rotvec(turn @ (u @ v).T), axis=1))
    return np.where(found.valid, errors, np.nan)


def landmark_points(model: AnnyModel, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "478 3"]:
    """The landmarks on a posed mesh."""
    return (vertices[model.landmark_triangles] * model.landmark_barycentric[..., None]).sum(1)


def line_distance(first: Float[np.ndarray, "n 2"], second: Float[np.ndarray, "n 2"]) -> float:
    """Mean distance between two open polylines, mean of both directions."""
    a, b = (_along(line) for line in (first, second))
    apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return float(apart.min(1).mean() + apart.min(0).mean()) / 2


def _along(line: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    place = np.linspace(0, len(line) - 1, LINE_POINTS)
    return np.stack([np.interp(place, np.arange(len(line)), column) for column in line.T], 1)


def gaze_error(true: Float[np.ndarray, "2 3"], found: Float[np.ndarray, "2 3"]) -> float:
    """Degrees between the directions of both eyes, against the head, on average."""
    cosine = ((rotvec_to_matrix(true) @ AHEAD) * (rotvec_to_matrix(found) @ AHEAD)).sum(-1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def shape_errors(model: AnnyModel, true: BodyShape, found: BodyShape) -> tuple[float, float]:
    """Millimetres between the faces at rest after the best similarity, and the same for the mean face."""
    mean = model.rest(model.neutral_shape()).vertices
    points = landmark_points(model, mean)[:468]
    near = np.min(np.linalg.norm(mean[:, None] - points[None], axis=-1), axis=1) < FACE_REACH
    face = near & (model.part == 0) & (model.regions["mouth"] < 0.3)
    target = model.rest(true).vertices[face]

    def error(vertices: np.ndarray) -> float:
        scale, turn, shift = similarity(vertices[face], target)
        return 1e3 * float(np.linalg.norm(scale * vertices[face] @ turn.T + shift - target, axis=1).mean())

    return error(model.rest(found).vertices), error(mean)


def skull_error(model: AnnyModel, mesh: np.ndarray, camera: Camera, true_mesh: np.ndarray, true: Camera) -> float:
    """Pixels between the outlines of the bare heads above the jaw, mean of both directions."""
    first, second = _outline(model, mesh, camera), _outline(model, true_mesh, true)
    if not len(first) or not len(second):
        return np.nan
    shape = (true.height, true.width)
    return (_mean_distance(first, second, shape) + _mean_distance(second, first, shape)) / 2


def _outline(model: AnnyModel, mesh: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels (x, y) where the head ends against the background."""
    face = rasterize_mesh(mesh, model.faces, camera).face
    head = (face >= 0) & (model.head_weight[model.faces].mean(1) > 0.5)[face]
    other = cv2.dilate(((face >= 0) & ~head).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    edge = head & (cv2.erode(head.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=(1,)) == 0) & ~other
    y, x = np.nonzero(edge)
    return np.stack([x, y], 1)[::OUTLINE_STEP]


def _mean_distance(points: np.ndarray, others: np.ndarray, shape: tuple[int, int]) -> float:
    empty = np.ones(shape, np.uint8)
    empty[others[:, 1], others[:, 0]] = 0
    return float(cv2.distanceTransform(empty, cv2.DIST_L2, 5)[points[:, 1], points[:, 0]].mean())


# ---------------------------------------------------------------- masks and plate
def overlap(a: SoftMask, b: SoftMask) -> float:
    """Intersection over union of two masks at half opacity."""
    a, b = a > 127, b > 127
    union = float((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0


def boundary_error(found: SoftMask, true: SoftMask) -> float:
    """Median distance in pixels from the outline of one mask to that of the other, mean of both directions."""
    edges = []
    for mask in (found, true):
        inside = (mask > 127).astype(np.uint8)
        y, x = np.nonzero(inside & (cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=(1,)) == 0))
        edges.append(np.stack([x, y], 1))
    if not len(edges[0]) or not len(edges[1]):
        return np.nan
    out = []
    for a, b in (edges, edges[::-1]):
        empty = np.ones(true.shape, np.uint8)
        empty[b[:, 1], b[:, 0]] = 0
        out.append(np.median(cv2.distanceTransform(empty, cv2.DIST_L2, 5)[a[:, 1], a[:, 0]]))
    return float(np.mean(out))


def squared_error(a: np.ndarray, b: np.ndarray, where: Bool[np.ndarray, "h w"]) -> tuple[float, int]:
    """Sum of squared differences of 8-bit pictures in a region, and how many values it has."""
    difference = a[where].astype(np.float64) - b[where]
    return float(np.square(difference).sum()), difference.size


def psnr(sums: list[tuple[float, int]]) -> float:
    """Decibels from several :func:`squared_error`; NaN when nothing was measured."""
    total, count = (sum(column) for column in zip(*sums, strict=True)) if sums else (0.0, 0)
    return float(10 * np.log10(255**2 / max(total / count, 1e-9))) if count else np.nan
