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
SLACK, SHUT = 0.85, 0.3
"""Shares of the open gap: below the first the gap is believed to shrink faster than it is seen to, and at the second
the lids meet: detectors never see them meet."""
TRUSTED, TAKEN = 0.95, 0.8
"""Shares of the open gap between which the fitted blink gives way to the measured one."""
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


def true_gap(seen: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Lid gap as detected -> lid gap as it is, both in units of the open gap."""
    return np.where(seen >= SLACK, seen, np.clip(SLACK * (seen - SHUT) / (SLACK - SHUT), 0, None))


def close_lids(actions: Float[np.ndarray, "t a"], lm: LandmarkModel, fit: FaceFit) -> Float[np.ndarray, "t a"]:
    """Set ``eyeBlink*`` so that the model's lid gap, as seen in the image, is the measured one.

    The person's open gap is the fitted one of the images in which the eyes are open.
    """
    names = lm.body.action_names
    seen = fit.observations.trust > 0
    if seen.sum() < FEWEST:
        return actions
    out = actions.copy()
    pixels_per_metre = fit.observations.focal / fit.states.translation[:, 2]
    for eye, side in enumerate(("Right", "Left")):
        name = f"eyeBlink{side}"
        if name not in names:
            continue
        blink = names.index(name)
        bare, shut = actions.copy(), actions.copy()
        bare[:, blink], shut[:, blink] = 0, 1
        fitted, widest, closed = (
            model_gap(lm, fit.shape, fit.states.rotation, values, eye) for values in (actions, bare, shut)
        )
        level = model_gap(lm, fit.shape, fit.states.rotation, np.zeros_like(actions), eye)
        foreshortening = np.maximum(level / level[seen].max(), 0.2)
        measured = measured_gap(fit.observations.landmarks, eye) / (pixels_per_metre * foreshortening)
        opening = measured / np.percentile(measured[seen], OPEN_PERCENTILE)
        open_gap = np.percentile((fitted / foreshortening)[seen], OPEN_PERCENTILE)
        wanted = true_gap(opening) * open_gap * foreshortening
        needed = np.clip((widest - wanted) / np.maximum(widest - closed, 1e-4), 0, 1)
        share = np.clip((TRUSTED - opening) / (TRUSTED - TAKEN), 0, 1) * seen
        out[:, blink] += share * (needed - out[:, blink])
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
