"""Closing the loop: what a landmark detector reads off some frames of I_gen corrects how far the face is moved.

A warped photo does not look as open, or as wide, as its landmarks were placed: the detector sees about half of what a
lid is moved by half a millimetre, the lips of a wide-open mouth thinner than they are, and each photo's mouth has an
offset of its own; a head whose chin and forehead are others' looks nodded. Held against the reading of the target by
the same detector, all of it shows as errors of expression and pose.
The errors of a few frames are regressed on what they depend on (:mod:`response`) and taken off all frames; what is
left of them once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    LIP_RINGS_LOWER,
    LIP_RINGS_UPPER,
    LIPS_OUTER,
    RIGID,
    eye_distance,
    head_angles,
    lid_opening,
    mouth_gap,
)
from gswap.foundation.types import Shot
from gswap.swap.embedded.lift import Points, smooth_in_shots, to_image
from gswap.swap.embedded.plan import Plan
from gswap.swap.embedded.response import Drivers, expected_error
from gswap.swap.embedded.retarget import ARCH, EYES, carry_skin, near

ROUNDS = 2
"""How often frames are made, read and corrected; every time others."""
SAMPLES = 14
"""Frames, over all rounds, spread over each of time, the openings of lids and of lips, and the mouth's width."""
PER_PHOTO = 4
"""Frames, at most, in which one photo shows the mouth alone."""
ALONE = 0.9
"""Weight from which a photo counts as shown alone."""
FEWEST = 6
"""With fewer readings nothing is corrected."""
LID_NOISE, NOISE = 0.006, 0.005
"""What a reading errs by: lid opening in eye widths, the rest in eye distances. It pulls corrections to none."""
SHY = 0.7
"""Share of what lids are moved by that a detector sees."""
LID_RANGE = (0.1, 1.25)
"""Openings, relative to the usual one, that no correction leaves."""
LARGEST = 0.08
"""Largest correction in a round, eye distances."""
LARGEST_LID, LARGEST_BROW = 0.05, 0.02
"""The same of lids (eye widths) and brows (eye distances): no picture is overdrawn because a detector is shy."""
PITCH_NOISE, LARGEST_PITCH = 0.5, 2.5
"""What a reading of the pitch errs by, and the largest correction of it, degrees."""
PITCH_SMOOTHING = 3.0
"""Temporal Gaussian over that correction, frames: readings of single frames would make the head tremble."""
SHUT = 0.1
"""Lids shut by more than this are left alone."""
GAP_ONSET = (0.01, 0.05)
"""Mouth gaps, eye distances, between which widening the gap sets in: closed lips stay closed."""
MOST_SHUT = 0.5
"""Share of its gap by which a mouth is shut further in a round."""
THINNEST, THICKEST = 0.7, 1.1
"""Share of its thickness that a lip keeps, and takes at most."""
CORNERS = (61, 291)
LIP_MIDDLE = (0, 17)
BROWS = ((105, 159, BROW_RIGHT), (334, 386, BROW_LEFT))
"""Brow, upper lid, all of the brow: right, left."""


def calibration_frames(plan: Plan, part: int = 0) -> list[int]:
    """The frames of I_gen that :func:`calibrated` wants read in one of :data:`ROUNDS` rounds."""
    valid = np.flatnonzero(plan.frames.valid)
    image = plan.frames.image[valid]
    lids = lid_opening(image, "right") + lid_opening(image, "left")
    picked = _spread(valid, SAMPLES) + _spread(valid[np.argsort(lids, kind="stable")], SAMPLES)
    for values in (mouth_gap(image), _width(image)):
        steps = np.linspace(values.min(), values.max(), SAMPLES) if len(valid) else ()
        picked += [int(valid[np.abs(values - step).argmin()]) for step in steps]
    for weights in plan.choice.mouth[valid].T:
        picked += _spread(valid[weights > ALONE], PER_PHOTO)
    return sorted(set(picked))[part::ROUNDS]


def _spread(numbers: np.ndarray, count: int) -> list[int]:
    if not len(numbers):
        return []
    return [int(n) for n in numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)]]


@dataclass(frozen=True)
class _Loop:
    """What one round of corrections knows."""

    plan: Plan
    seen: Int[np.ndarray, "n"]
    placed: Float[np.ndarray, "n 478 2"]
    read: Float[np.ndarray, "n 478 2"]

    @property
    def target(self) -> Float[np.ndarray, "t 478 2"]:
        return self.plan.frames.image

    def error(
        self,
        errors: Float[np.ndarray, "n"],
        drivers: tuple[Float[np.ndarray, "t"], ...],
        shares: Float[np.ndarray, "t p"],
        noise: float,
        usable: Bool[np.ndarray, "n"] | None = None,
        *,
        absolute: bool = False,
    ) -> Float[np.ndarray, "t"]:
        """The error of every frame, from those of the frames that were read; about the usual one if not absolute."""
        usable = np.isfinite(errors) if usable is None else usable & np.isfinite(errors)
        if usable.sum() < FEWEST:
            return np.zeros(len(self.target))
        expected = expected_error(
            Drivers.of(drivers, shares, self.plan.clock), self.seen[usable], errors[usable], noise
        )
        return expected if absolute else expected - np.median(expected[self.plan.frames.valid])

    def against_target(self, signal: Callable[[np.ndarray], np.ndarray], *, absolute: bool = False) -> np.ndarray:
        """Readings minus the target's; the median goes where only changes count (proportions are identity)."""
        away = signal(self.read) - signal(self.target[self.seen])
        return away if absolute else away - np.median(away)


def calibrated(plan: Plan, readings: Mapping[int, Float[np.ndarray, "478 d"]]) -> Plan:
    """The plan with lids, brows and lips moved so that readings of I_gen follow those of the target.

    Args:
        plan: What the frames that were read were made by.
        readings: Frame number -> landmarks read off I_gen, pixels of the work image.
    """
    seen = np.array([t for t in sorted(readings) if plan.frames.valid[t]], int)
    if len(seen) < FEWEST:
        return plan
    frames = plan.frames
    placed = np.stack(
        [to_image(plan.posed.local[t], frames.rotation[t], frames.translation[t], frames.cameras[t])[0] for t in seen]
    )
    loop = _Loop(plan, seen, placed, np.stack([readings[int(t)][:, :2] for t in seen]))
    local = plan.posed.local.copy()
    _calibrate_lids(local, loop)
    _calibrate_mouth(local, loop)
    _calibrate_brows(local, loop)
    return replace(plan, posed=replace(plan.posed, local=local))


def nodded(
    plan: Plan,
    readings: Mapping[int, Float[np.ndarray, "478 3"]],
    angles: Float[np.ndarray, "t 3"],
    shots: tuple[Shot, ...],
) -> Plan:
    """The plan with the head pitched about its face so that readings of I_gen follow those of the target.

    Yaw and roll are read off what is left and right alike, and need no correction. Pitch is read off chin and forehead;
    they are the source's, and the further the mouth opens the more it matters whose chin it is.

    Args:
        plan: What the frames that were read were made by.
        readings: Frame number -> landmarks read off I_gen, pixels.
        angles: The target's :func:`head_angles`, degrees; NaN where unknown.
        shots: The clip's shots; empty = one shot.
    """
    frames = plan.frames
    seen = np.array([t for t in sorted(readings) if frames.valid[t] and np.isfinite(angles[t]).all()], int)
    if len(seen) < FEWEST:
        return plan
    _, new, number = np.unique(plan.clock, return_index=True, return_inverse=True)
    first = new[number]  # repeated frames must stand still
    pitch = angles[first, 1]
    away = head_angles(np.stack([readings[int(t)] for t in seen]))[:, 1] - pitch[seen]
    drivers = Drivers.of((pitch, mouth_gap(frames.image)), plan.choice.base, plan.clock)
    expected = expected_error(drivers, seen, away - np.median(away), PITCH_NOISE)
    expected = expected - np.median(expected[frames.valid])
    expected = smooth_in_shots(expected, frames.valid, shots, PITCH_SMOOTHING)[first]
    turn = rotvec_to_matrix(np.radians(np.clip(-expected, -LARGEST_PITCH, LARGEST_PITCH))[:, None] * [1.0, 0.0, 0.0])
    face = plan.posed.local[:, list(RIGID)].mean(1)
    pivot = np.einsum("tij,tj->ti", frames.rotation, face) + frames.translation
    shift = np.einsum("tij,tj->ti", turn, frames.translation - pivot) + pivot
    valid = frames.valid[:, None]
    rotation = np.where(valid[..., None], turn @ frames.rotation, frames.rotation)
    translation = np.where(valid, shift, frames.translation)
    return replace(plan, frames=replace(frames, rotation=rotation, translation=translation))


def _calibrate_lids(local: Points, loop: _Loop) -> None:
    """Lids against where they were placed: that is the target's opening in proportion to the source's eyes."""
    plan = loop.plan
    for k, (side, contour, _) in enumerate(EYES):
        awake = plan.posed.closed[:, k] < SHUT
        errors = lid_opening(loop.read, side) - lid_opening(loop.placed, side)
        opening = lid_opening(local, side)
        usual = float(np.median(opening[plan.frames.valid & awake])) if (plan.frames.valid & awake).any() else 0.0
        usable = awake[loop.seen]
        if usable.sum() < FEWEST or usual <= 0:
            continue
        errors = errors - np.median(errors[usable])
        expected = loop.error(errors, (opening,), plan.choice.eyes, LID_NOISE, usable)
        free = 1 - plan.posed.closed[:, k]
        wanted = opening - free * np.clip(expected / SHY, -LARGEST_LID, LARGEST_LID)
        wanted = np.clip(wanted, np.minimum(opening, LID_RANGE[0] * usual), np.maximum(opening, LID_RANGE[1] * usual))
        factor = (wanted / np.maximum(opening, 1e-3))[:, None, None]
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        local[:, upper] = local[:, lower] + factor * (local[:, upper] - local[:, lower])


def _calibrate_mouth(local: Points, loop: _Loop) -> None:
    """Width, gap and height of the lips against the target's."""
    shares, gap = loop.plan.choice.mouth, mouth_gap(loop.target)
    found = {
        "width": loop.error(loop.against_target(_width), (_width(loop.target), gap), shares, NOISE),
        "gap": loop.error(loop.against_target(mouth_gap, absolute=True), (gap,), shares, NOISE, absolute=True),
        "height": loop.error(loop.against_target(_height), (_height(loop.target), gap), shares, NOISE),
    }
    error = {name: np.clip(values, -LARGEST, LARGEST) for name, values in found.items()}
    _widen(local, 1 - error["width"] / np.maximum(_width(local), 1e-3))
    low, high = GAP_ONSET
    own = mouth_gap(local)
    opening = np.clip((own - low) / (high - low), 0, 1) * np.minimum(error["gap"], 0)
    parted = -np.where(error["gap"] > 0, np.minimum(error["gap"], MOST_SHUT * own), opening)
    outline = local[:, LIPS_OUTER].copy()
    _part(local, parted)
    _thicken(local, -error["height"] - parted)
    carry_skin(local, outline, np.nanmedian(local, axis=0))


def _calibrate_brows(local: Points, loop: _Loop) -> None:
    """The distance of brows and lids against the target's."""
    for brow, lid, points in BROWS:

        def height(x: np.ndarray, brow: int = brow, lid: int = lid) -> np.ndarray:
            return np.linalg.norm(x[..., brow, :2] - x[..., lid, :2], axis=-1) / eye_distance(x)

        expected = loop.error(loop.against_target(height), (height(loop.target),), loop.plan.choice.eyes, NOISE)
        lower = np.clip(expected, -LARGEST_BROW, LARGEST_BROW) * eye_distance(local)
        weight = near(np.nanmedian(local, axis=0), list(points), 0.12)
        weight[[*EYES[0][1], *EYES[1][1]]] = 0
        local[..., 1] += weight * lower[:, None]


def _width(points: Float[np.ndarray, "... 478 d"]) -> Float[np.ndarray, ...]:
    """Distance of the mouth's corners in eye distances, in the image plane."""
    return _apart(points, *CORNERS)


def _height(points: Float[np.ndarray, "... 478 d"]) -> Float[np.ndarray, ...]:
    """Height of both lips and what is between them in eye distances, in the image plane."""
    return _apart(points, *LIP_MIDDLE)


def _apart(points: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(points[..., a, :2] - points[..., b, :2], axis=-1) / eye_distance(points)


def _widen(local: Points, factor: Float[np.ndarray, "t"]) -> None:
    """Stretch the lips sideways, and less and less what is around them."""
    usual = np.nanmedian(local, axis=0)
    weight = near(usual, list(LIPS_OUTER), 0.2)
    corners = local[:, CORNERS, 0]
    middle, half = corners.mean(1)[:, None], np.abs(np.diff(corners, axis=1)) / 2
    from_middle = np.clip(local[..., 0] - middle, -half, half)
    local[..., 0] += weight * (factor[:, None] - 1) * from_middle


def _part(local: Points, wider: Float[np.ndarray, "t"]) -> None:
    """Move upper and lower lip apart by ``wider`` eye distances in the middle, by nothing at the corners."""
    half = wider * eye_distance(local) / 2
    for rings, sign in ((LIP_RINGS_UPPER, -1), (LIP_RINGS_LOWER, 1)):
        for ring in rings:
            local[:, list(ring), 1] += sign * half[:, None] * ARCH


def _thicken(local: Points, thicker: Float[np.ndarray, "t"]) -> None:
    """Move the lips' outer contours apart by ``thicker`` eye distances in the middle; the inner ones stay."""
    half = thicker * eye_distance(local) / 2
    for rings, sign in ((LIP_RINGS_UPPER, -1), (LIP_RINGS_LOWER, 1)):
        outer, inner = list(rings[0]), list(rings[3])
        thickness = np.linalg.norm(local[:, outer, :2] - local[:, inner, :2], axis=-1)
        move = np.clip(half[:, None] * ARCH, (THINNEST - 1) * thickness, (THICKEST - 1) * thickness)
        for ring, share in zip(rings[:3], (1.0, 2 / 3, 1 / 3), strict=True):
            local[:, list(ring), 1] += sign * share * move
