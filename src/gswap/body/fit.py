"""Fit a body to the face landmarks of a clip or of photos: shape once; pose, gaze and actions per image (Sec. IV-A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, Int

from gswap.body.config import FitConfig
from gswap.body.gauss_newton import (
    Observations,
    Priors,
    States,
    eye_distance_pixels,
    project,
    solve_offsets,
    solve_shot,
)
from gswap.body.head_offsets import solve_head_offsets
from gswap.body.landmark_model import (
    REFERENCE_EYE_DISTANCE,
    SKIN_COUNT,
    FaceModel,
    FaceShape,
    LandmarkModel,
    gaze_rotation,
    landmark_model,
    rigid_mask,
)
from gswap.body.lids import close_lids, follow_gaze
from gswap.body.offsets import spread_offsets
from gswap.body.shape_step import solve_with_shape
from gswap.body.torso import solve_neck
from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import EYE_CORNERS_OUTER
from gswap.foundation.types import BodyShape, BodyTrack, FaceTrack, Progress, Shot, no_progress

OFFSET_SIGMA = 2e-3
"""Metres: typical distance between the skin and the nearest face of the model's shape space."""
WANDER_SHARE = 0.5
"""Offsets of landmarks that wander over the skin (the face's outline) may be larger by this share of their spread."""
BRIDGED_TRUST = 0.1
"""Weight of interpolated landmarks."""
LOST_RESIDUAL = 0.05
"""Share of the eye distance: a fit this bad says nothing."""
_SHAPE_ROUNDS = 2
_STEPS_PER_SLOPE = 2
_OFFSET_ROUNDS, _OFFSET_ROUNDS_ALONE = 3, 2
"""Where points of the head were found, and where there are landmarks alone."""
_START_STEPS = 2
_NO_DISTORTION = np.zeros(4)


@dataclass(frozen=True)
class FaceFit:
    """The landmark fit of the unique images, before torso and lids."""

    shape: FaceShape
    states: States
    observations: Observations
    index: Int[np.ndarray, "n"]
    """Which image of the track each state belongs to."""
    zoom: float = 1.0
    """Fitted over expected focal length; ``observations`` have the fitted one."""


def fit_track(
    faces: FaceTrack,
    model: FaceModel,
    cfg: FitConfig,
    *,
    focal: float | None = None,
    photos: bool = False,
    progress: Progress = no_progress,
) -> BodyTrack:
    """Fit one body to a person's landmarks.

    Args:
        faces: The person's landmarks over a clip or a set of photos.
        model: The body.
        cfg: Priors and effort.
        focal: Known focal length in pixels, for all images.
        photos: The images are no sequence: no temporal terms, each with its own camera.
        progress: Told after every frame of the final steps.

    Raises:
        InputError: No image shows a usable face.
    """
    if not faces.valid.any():
        raise InputError("Expected a face in at least one image, found none.", hint="Give a clip that shows a face.")
    lm = landmark_model(model)
    observations = observe(faces, cfg, focal)
    shots = () if photos else faces.shots or (Shot(0, len(faces)),)
    unknown = focal is None and not photos and cfg.focal_sigma > 0
    fit = fit_faces(lm, observations, runs(faces, shots), cfg, find_focal=unknown, progress=progress)
    return assemble(fit, faces, observations.focal * fit.zoom, lm, cfg, shots)


def observe(faces: FaceTrack, cfg: FitConfig, focal: float | None) -> Observations:
    """Landmarks and cameras as the solver wants them."""
    sizes = image_sizes(faces)
    seen = faces.valid & np.isfinite(faces.landmarks[:, :, :2]).all((1, 2))
    trust = np.where(seen, np.where(faces.bridged, BRIDGED_TRUST, 1.0), 0.0)
    focals = np.full(len(faces), focal) if focal is not None else cfg.focal_ratio * sizes.max(1)
    landmarks = np.where(np.isfinite(faces.landmarks[:, :, :2]), faces.landmarks[:, :, :2], 0.0)
    return Observations(
        landmarks=landmarks.astype(np.float64),
        trust=trust,
        focal=focals.astype(np.float64),
        centre=sizes / 2,
        head=faces.head_points.astype(np.float64),
        ears=faces.ears_seen.astype(np.float64),
    )


def image_sizes(faces: FaceTrack) -> Int[np.ndarray, "t 2"]:
    """Width and height of every image."""
    return np.array(faces.sizes or [faces.size] * len(faces))


def runs(faces: FaceTrack, shots: Sequence[Shot]) -> list[Int[np.ndarray, "n"]]:
    """Images that are solved together, in order, without duplicates; photos are solved one by one.

    A shot is one run from its first to its last seen image; where the face is lost for a while in between, the
    temporal terms carry the pose across.
    """
    seen = faces.valid & np.isfinite(faces.landmarks[:, 0, 0])
    if not shots:
        return [np.array([t]) for t in np.flatnonzero(seen)]
    out = []
    for shot in shots:
        inside = np.arange(shot.start, shot.stop)
        usable = inside[seen[inside]]
        if len(usable):
            inside = inside[(inside >= usable[0]) & (inside <= usable[-1])]
            out.append(inside[~faces.duplicate[inside] | (inside == usable[0])])
    return out


def fit_faces(
    lm: LandmarkModel,
    observations: Observations,
    sequences: list[Int[np.ndarray, "n"]],
    cfg: FitConfig,
    *,
    find_focal: bool = False,
    progress: Progress = no_progress,
) -> FaceFit:
    """Shape, offsets, pose, gaze and actions from landmarks, and one focal length if it is to be found."""
    index = np.concatenate(sequences)
    lengths = np.cumsum([0, *map(len, sequences)])
    obs = observations.select(index)
    priors = Priors.standard(len(lm.free), cfg.action_prior)
    shape = lm.face_shape(np.zeros(lm.space.basis.shape[1]))
    states = start(lm, shape, obs, lengths)

    keys = key_images(states, obs, cfg.key_frames)
    looked_for = lm.marks is not None and bool(np.isfinite(obs.head).any())
    common = cfg.common_errors if looked_for else cfg.common_errors_alone
    obs = replace(obs, repeats=float(len(keys)), common=common)
    shape_prior = cfg.shape_prior if looked_for else cfg.shape_prior_alone
    offset_prior = cfg.offset_prior if looked_for else cfg.offset_prior_alone
    key_states, key_obs = states.select(keys), obs.select(keys)
    for _ in range(_START_STEPS):
        key_states = _each_alone(lm, shape, key_states, key_obs, priors)
    zoom = 1.0
    for _ in range(_SHAPE_ROUNDS):
        slopes = lm.shape_slopes(shape.parameters)
        for _ in range(_STEPS_PER_SLOPE):
            expected = (float(np.log(zoom)), cfg.focal_sigma) if find_focal else None
            shape, key_states, factor = solve_with_shape(
                lm, shape, key_states, key_obs, priors, slopes, shape_prior, expected
            )
            key_obs, zoom = key_obs.zoomed(factor), zoom * factor
    obs, states = obs.zoomed(zoom), states.moved_away(zoom)
    wander = WANDER_SHARE * lm.body.landmark_spread[:SKIN_COUNT]
    sigma = np.hypot(OFFSET_SIGMA, wander) / np.sqrt(max(offset_prior, 1e-9))
    for _ in range(_OFFSET_ROUNDS if looked_for else _OFFSET_ROUNDS_ALONE):
        key_states = _each_alone(lm, shape, key_states, key_obs, priors)
        shape = solve_offsets(lm, shape, key_states, key_obs, sigma)

    states = _with_keys(states, keys, key_states)
    total = len(index) * cfg.iterations
    for step in range(cfg.iterations):
        parts = []
        for lo, hi in pairwise(lengths):
            part = np.arange(lo, hi)
            parts.append(solve_shot(lm, shape, states.select(part), obs.select(part), priors, cfg.smoothness))
            progress(step * len(index) + hi, total, "body")
        states = _join(parts)
    return FaceFit(shape, states, obs, index, zoom)


def start(lm: LandmarkModel, shape: FaceShape, obs: Observations, lengths: Int[np.ndarray, "r"]) -> States:
    """Rigid pose of every image from the stable landmarks (perspective-n-point), expressionless."""
    count = len(obs)
    stable = rigid_mask()
    rotation, translation = np.full((count, 3), np.nan), np.full((count, 3), np.nan)
    points = np.ascontiguousarray(shape.rest[stable])
    for lo, hi in pairwise(lengths):
        guess = None
        for t in range(lo, hi):
            if obs.trust[t] == 0:
                continue
            (cx, cy), f = obs.centre[t], obs.focal[t]
            camera = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])
            pixels = np.ascontiguousarray(obs.landmarks[t][stable])
            if guess is None:
                _, *guess = cv2.solvePnP(points, pixels, camera, _NO_DISTORTION, flags=cv2.SOLVEPNP_SQPNP)
            r, s = guess
            _, r, s = cv2.solvePnP(points, pixels, camera, _NO_DISTORTION, r, s, True, flags=cv2.SOLVEPNP_ITERATIVE)
            if s[2, 0] <= 0:  # the refinement went through the camera: start afresh, unrefined
                _, r, s = cv2.solvePnP(points, pixels, camera, _NO_DISTORTION, flags=cv2.SOLVEPNP_SQPNP)
            guess = (r, s)
            rotation[t], translation[t] = r.ravel(), s.ravel()
        fill_gaps(rotation[lo:hi])
        fill_gaps(translation[lo:hi])
    return States(rotation, translation, np.zeros((count, 2, 2)), np.zeros((count, len(lm.free))))


def fill_gaps(values: Float[np.ndarray, "t n"]) -> None:
    """Interpolate rows of NaN linearly, in place; the ends are held."""
    known = np.flatnonzero(np.isfinite(values).all(1))
    everywhere = np.arange(len(values))
    for column in range(values.shape[1]):
        values[:, column] = np.interp(everywhere, known, values[known, column])


def key_images(states: States, obs: Observations, count: int) -> Int[np.ndarray, "k"]:
    """Images that show the face from as many sides as possible: evenly spread over the yaw ranking."""
    usable = np.flatnonzero(obs.trust >= 1)
    if not len(usable):
        usable = np.flatnonzero(obs.trust > 0)
    ranked = usable[np.argsort(states.rotation[usable, 1], kind="stable")]
    picks = np.unique(np.round(np.linspace(0, len(ranked) - 1, min(count, len(ranked)))).astype(int))
    return ranked[picks]


def assemble(
    fit: FaceFit,
    faces: FaceTrack,
    focal: Float[np.ndarray, "t"],
    lm: LandmarkModel,
    cfg: FitConfig,
    shots: Sequence[Shot],
) -> BodyTrack:
    """Landmark fit -> track of all images: lids, torso, duplicates, confidence."""
    model, states, index = lm.body, fit.states, fit.index
    shape = body_shape(lm, fit)
    rest = model.rest(shape)
    residual = image_residuals(lm, fit)
    actions = np.zeros((len(index), len(model.action_names)))
    actions[:, lm.free] = states.actions
    actions = follow_gaze(actions, states.gaze, model.action_names)
    if cfg.measured_lids:
        actions = close_lids(actions, lm, fit)
    neck = solve_neck(states, fit.observations, faces.shoulders[index], rest.joints, model.rig, np.diff(index) == 1)

    seen = fit.observations.trust > 0
    solved = np.zeros(len(faces), bool)
    solved[index[seen]] = residual[seen] < LOST_RESIDUAL
    position = nearest_solved(len(faces), index, shots)
    valid = faces.valid & solved[index[position]]
    quality = np.exp(-np.square(residual / (LOST_RESIDUAL / 2)))[position]
    return BodyTrack(
        shape=shape,
        focal=focal,
        rotation=states.rotation[position],
        translation=states.translation[position],
        neck=neck[position],
        eyes=gaze_rotation(states.gaze)[position],
        actions=actions[position],
        valid=valid,
        confidence=np.where(valid, faces.confidence * quality, 0.0),
        residual=residual[position],
        sizes=image_sizes(faces),
    )


def body_shape(lm: LandmarkModel, fit: FaceFit) -> BodyShape:
    """Fitted face -> shape of the whole body; offsets of landmarks and of the head's points, spread over the skin."""
    shape = lm.body_shape(fit.shape.parameters)
    head = solve_head_offsets(lm, fit.shape, fit.states, fit.observations)
    offsets = spread_offsets(lm.body, lm.body.rest(shape).vertices, fit.shape, head)
    return BodyShape(shape.model, shape.coefficients, offsets)


def image_residuals(lm: LandmarkModel, fit: FaceFit) -> Float[np.ndarray, "n"]:
    """Mean landmark residual per image, in units of the person's outer-eye-corner distance."""
    pixels = np.linalg.norm(
        project(lm, fit.shape, fit.states, fit.observations) - fit.observations.landmarks, axis=-1
    ).mean(1)
    right, left = EYE_CORNERS_OUTER
    own = float(np.linalg.norm(fit.shape.rest[right] - fit.shape.rest[left]))
    return pixels / (eye_distance_pixels(fit.observations, fit.states) * own / REFERENCE_EYE_DISTANCE)


def nearest_solved(count: int, index: Int[np.ndarray, "n"], shots: Sequence[Shot]) -> Int[np.ndarray, "t"]:
    """For every image the solved one that stands for it: itself, else the one before it, else the next of its shot."""
    everything = np.arange(count)
    position = np.clip(np.searchsorted(index, everything, side="right") - 1, 0, len(index) - 1)
    for shot in shots:
        inside = np.flatnonzero((index >= shot.start) & (index < shot.stop))
        if len(inside):
            part = slice(shot.start, shot.stop)
            position[part] = np.clip(position[part], inside[0], inside[-1])
    return position


def _each_alone(lm: LandmarkModel, shape: FaceShape, states: States, obs: Observations, priors: Priors) -> States:
    """One step of every image on its own."""
    ones = [np.array([t]) for t in range(len(states))]
    return _join([solve_shot(lm, shape, states.select(t), obs.select(t), priors, 0.0) for t in ones])


def _with_keys(states: States, keys: Int[np.ndarray, "k"], solved: States) -> States:
    """Start values of all images from the solved key images: poses are theirs, the rest keeps its rigid pose."""
    values = states.stack()
    values[keys] = solved.stack()
    return States.unstack(values)


def _join(parts: Sequence[States]) -> States:
    return States.unstack(np.concatenate([part.stack() for part in parts]))
