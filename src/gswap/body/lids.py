"""Lids: they follow the gaze, and they close exactly as far as they are measured to close.

Landmark fits smooth a blink away (it reaches 0.15 of a full one). The gap between the lids is measured directly, in
units of the gap the model would show with open eyes in the same pose, so that a turned head is no blink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gswap.body.landmark_model import FaceShape, LandmarkModel
from gswap.foundation.geometry import rotvec_to_matrix

if TYPE_CHECKING:
    from gswap.body.fit import FaceFit

LID_GAPS = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))
"""Upper and lower lid landmarks that face each other, of the right and of the left eye."""
OPEN_PERCENTILE = 70
"""The eyes count as open at this percentile of their gaps."""
SLACK, CLOSED = 0.15, 0.7
"""A gap smaller by this share is where closing starts, and where the lids meet: detectors never see them meet."""
FEWEST = 8
"""With fewer images the open gap is unknown and the fitted lids stay."""
LOOK_RANGE = {"Up": 0.5, "Down": 0.5, "In": 0.6, "Out": 0.6}
"""Radians of gaze at which the lids have followed fully."""


def follow_gaze(
    actions: Float[np.ndarray, "t a"], gaze: Float[np.ndarray, "t 2 2"], names: Sequence[str]
) -> Float[np.ndarray, "t a"]:
    """Set the ``eyeLook*`` actions (lids only) from the gaze angles."""
    out = actions.copy()
    for eye, side in enumerate(("Right", "Left")):
        up, left = gaze[:, eye, 0], gaze[:, eye, 1]
        outwards = left if side == "Left" else -left
        for direction, angle in (("Up", up), ("Down", -up), ("Out", outwards), ("In", -outwards)):
            name = f"eyeLook{direction}{side}"
            if name in names:
                out[:, names.index(name)] = np.clip(angle / LOOK_RANGE[direction], 0, 1)
    return out


def closure(opening: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Lid gap over open gap -> how far the lids are closed, in [0, 1]."""
    return np.clip((1 - opening - SLACK) / (CLOSED - SLACK), 0, 1)


def close_lids(actions: Float[np.ndarray, "t a"], lm: LandmarkModel, fit: FaceFit) -> Float[np.ndarray, "t a"]:
    """Set ``eyeBlink*`` so that the model's lid gap, as seen in the image, is the measured one."""
    names = lm.body.action_names
    seen = fit.observations.trust > 0
    if seen.sum() < FEWEST:
        return actions
    out = actions.copy()
    for eye, side in enumerate(("Right", "Left")):
        name = f"eyeBlink{side}"
        if name not in names:
            continue
        blink = names.index(name)
        bare = out.copy()
        bare[:, blink] = 0
        open_gap = model_gap(lm, fit.shape, fit.states.rotation, np.zeros_like(out), eye)
        gap = model_gap(lm, fit.shape, fit.states.rotation, bare, eye)
        bare[:, blink] = 1
        shut = model_gap(lm, fit.shape, fit.states.rotation, bare, eye)
        scale = fit.observations.focal / fit.states.translation[:, 2]
        opening = measured_gap(fit.observations.landmarks, eye) / (scale * np.maximum(open_gap, 1e-4))
        opening = opening / np.percentile(opening[seen], OPEN_PERCENTILE)
        wanted = closure(opening)
        target = (1 - wanted) * open_gap
        needed = np.clip((gap - target) / np.maximum(gap - shut, 1e-4), 0, 1)
        out[:, blink] = np.where(wanted > 0, needed, out[:, blink])
    return out


def measured_gap(landmarks: Float[np.ndarray, "t 478 2"], eye: int) -> Float[np.ndarray, "t"]:
    """Mean distance between facing lid landmarks, pixels."""
    return np.mean([np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) for a, b in LID_GAPS[eye]], axis=0)


def model_gap(
    lm: LandmarkModel, shape: FaceShape, rotation: Float[np.ndarray, "t 3"], actions: Float[np.ndarray, "t a"], eye: int
) -> Float[np.ndarray, "t"]:
    """The same gap of the model: metres across the line of sight, signed (negative = the lids have crossed)."""
    turn = rotvec_to_matrix(rotation)
    gaps = []
    for upper, lower in LID_GAPS[eye]:
        base = shape.rest[lower] - shape.rest[upper]
        moved = base + actions @ (lm.every_action[:, lower] - lm.every_action[:, upper])
        across = np.einsum("tij,tj->ti", turn, moved)
        reference = np.einsum("tij,j->ti", turn, base)[:, :2]
        direction = reference / np.maximum(np.linalg.norm(reference, axis=-1, keepdims=True), 1e-9)
        gaps.append((across[:, :2] * direction).sum(-1))
    return np.mean(gaps, axis=0)
