"""From a generated clip to the track that drives it: its shape, and its constant bias against the target's track.

Two independent landmark fits of the same motion differ by a degree and more from image to image, so the generated
clip is not tracked on its own. A few of its images give the shape of the new head and the *constant* differences to
the target's track (rotation, depth factor, translation, actions); the motion stays the target's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from gswap.body.config import FitConfig
from gswap.body.fit import body_shape, fit_faces, fit_track, observe
from gswap.body.landmark_model import FaceModel, landmark_model
from gswap.foundation.errors import InputError, UsageError
from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.types import BodyTrack, FaceTrack, Progress, no_progress

LID_ACTIONS = ("eyeBlink", "eyeLook")
"""Actions that are measured in the target and taken over as they are."""


@dataclass(frozen=True)
class TrackBias:
    """How a second fit of the same motion differs from the first, on the median image."""

    rotation: Float[np.ndarray, "3"]
    """Radians, in head coordinates."""
    depth: float
    """Ratio of the depths."""
    translation: Float[np.ndarray, "3"]
    """Metres, in head coordinates, after the depths are made equal."""
    actions: Float[np.ndarray, "a"]


def retrack(
    gen_faces: FaceTrack,
    target: BodyTrack,
    model: FaceModel,
    cfg: FitConfig,
    *,
    progress: Progress = no_progress,
) -> BodyTrack:
    """The drive track: the generated head's shape, the target's motion with the constant bias added.

    Args:
        gen_faces: Landmarks of the generated clip, image for image with the target, in full-frame pixels. Images that
            were not looked at may be invalid; a few dozen are enough.
        target: The target's track; its focal length is kept.
        model: The body.
        cfg: As for the target's fit.
        progress: Told after every frame of the fit.

    Raises:
        UsageError: The clips do not have the same number of images.
        InputError: No image of the generated clip shows a face.
    """
    if len(gen_faces) != len(target):
        raise UsageError(f"Expected {len(target)} generated images, one per target image, found {len(gen_faces)}.")
    usable = gen_faces.valid & ~gen_faces.bridged & target.valid & np.isfinite(gen_faces.landmarks[:, 0, 0])
    chosen = np.flatnonzero(usable)
    if not len(chosen):
        raise InputError("Expected faces in the generated clip, found none where the target has one.")

    lm = landmark_model(model)
    observations = replace(observe(gen_faces, cfg, None), focal=target.focal)
    fit = fit_faces(lm, observations, [np.array([t]) for t in chosen], cfg, progress=progress)
    actions = np.zeros((len(chosen), len(model.action_names)))
    actions[:, lm.free] = fit.states.actions
    bias = measure_bias(target, chosen, fit.states.rotation, fit.states.translation, actions)
    return replace(apply_bias(target, bias, model.action_names), shape=body_shape(lm, fit))


def retrack_fully(
    gen_faces: FaceTrack,
    target: BodyTrack,
    model: FaceModel,
    cfg: FitConfig,
    *,
    progress: Progress = no_progress,
) -> tuple[BodyTrack, BodyTrack]:
    """The paper's retracking (Sec. III-C1): every generated image is fitted for the training.

    Returns:
        The track to train on, and the one that drives: the target's motion on the generated head's shape, with the
        constant bias between the two tracks added (without it the head would be driven at another place and size).

    Raises:
        InputError: No image of the generated clip shows a face.
    """
    own = fit_track(gen_faces, model, cfg, focal=float(np.median(target.focal)), progress=progress)
    own = replace(own, neck=target.neck, valid=own.valid & target.valid)
    both = np.flatnonzero(own.valid)
    if not len(both):
        raise InputError("Expected faces in the generated clip, found none where the target has one.")
    bias = measure_bias(target, both, own.rotation[both], own.translation[both], own.actions[both])
    return own, replace(apply_bias(target, bias, model.action_names), shape=own.shape)


def measure_bias(
    target: BodyTrack,
    images: np.ndarray,
    rotation: Float[np.ndarray, "n 3"],
    translation: Float[np.ndarray, "n 3"],
    actions: Float[np.ndarray, "n a"],
) -> TrackBias:
    """Median differences between a second fit of some images and the target's track."""
    turn = rotvec_to_matrix(target.rotation[images])
    towards_head = np.swapaxes(turn, -1, -2)
    extra = matrix_to_rotvec(towards_head @ rotvec_to_matrix(rotation))
    depth = float(np.median(translation[:, 2] / target.translation[images, 2]))
    shift = (towards_head @ (translation - depth * target.translation[images])[..., None])[..., 0]
    return TrackBias(np.median(extra, 0), depth, np.median(shift, 0), np.median(actions - target.actions[images], 0))


def apply_bias(track: BodyTrack, bias: TrackBias, action_names: tuple[str, ...]) -> BodyTrack:
    """The track with a constant bias added. The torso keeps its attitude; lids and gaze stay as measured."""
    turn, extra = rotvec_to_matrix(track.rotation), rotvec_to_matrix(bias.rotation)
    measured = np.array([name.startswith(LID_ACTIONS) for name in action_names])
    actions = np.clip(track.actions + np.where(measured, 0, bias.actions), 0, 1)
    return replace(
        track,
        rotation=matrix_to_rotvec(turn @ extra),
        translation=bias.depth * track.translation + turn @ bias.translation,
        neck=matrix_to_rotvec(rotvec_to_matrix(track.neck) @ extra),
        actions=actions,
    )
