"""Closing the loop: what a landmark detector reads off some frames of I_gen corrects how far lids and lips are moved.

A warped photo does not look as open, or as wide, as its landmarks were placed: the detector sees about half of what a
lid is moved by half a millimetre, and each photo's mouth has an offset of its own. Held against the reading of the
target by the same detector, both show as expression errors. A few numbers per clip, none per frame, take them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import (
    EYE_CORNERS_OUTER,
    LIP_RINGS_LOWER,
    LIP_RINGS_UPPER,
    LIPS_OUTER,
    lid_opening,
    mouth_gap,
)
from gswap.swap.embedded.lift import Points, to_image
from gswap.swap.embedded.plan import Plan
from gswap.swap.embedded.retarget import EYES, near

SAMPLES = 12
"""Frames spread over the openings of lids, and as many over those of the lips."""
PER_PHOTO = 4
"""Frames, at most, in which one photo shows the mouth alone."""
ALONE = 0.9
"""Weight from which a photo counts as shown alone."""
FEWEST = 6
"""With fewer readings nothing is corrected."""
LID_NOISE, WIDTH_NOISE = 0.008, 0.01
"""What a reading errs by: lid opening in eye widths, mouth width in eye distances. It pulls gains to 1."""
OFFSET_NOISE = 0.5
"""Readings that a photo's offset must outweigh."""
LID_GAIN, WIDTH_GAIN = 1.6, 1.25
"""Largest gains: a picture must not be overdrawn because a detector is shy."""
LID_RANGE = (0.1, 1.25)
"""Openings, relative to the usual one, that no gain leaves."""
LARGEST_OFFSET = 0.03
"""Limit of a photo's offset, eye distances."""
SHUT = 0.1
"""Lids shut by more than this tell nothing about the gain."""
GAP_ONSET = (0.01, 0.05)
"""Mouth gaps, eye distances, between which corrections of the gap set in: closed lips stay closed."""
CORNERS = (61, 291)


def calibration_frames(plan: Plan) -> list[int]:
    """The frames of I_gen that :func:`calibrated` wants read."""
    valid = np.flatnonzero(plan.frames.valid)
    local = plan.posed.local[valid]
    lids = lid_opening(local, "right") + lid_opening(local, "left")
    picked: set[int] = set()
    for values in (lids, mouth_gap(local)):
        order = valid[np.argsort(values, kind="stable")]
        picked.update(_spread(order, SAMPLES))
    for weights in plan.choice.mouth[valid].T:
        picked.update(_spread(valid[weights > ALONE], PER_PHOTO))
    return sorted(picked)


def _spread(numbers: np.ndarray, count: int) -> list[int]:
    if not len(numbers):
        return []
    return [int(n) for n in numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)]]


def calibrated(plan: Plan, readings: Mapping[int, Float[np.ndarray, "478 d"]]) -> Plan:
    """The plan with lids and lips moved so that readings of I_gen follow those of the target.

    Args:
        plan: What the frames that were read were made by.
        readings: Frame number -> landmarks read off I_gen, pixels of the work image.
    """
    chosen = np.array([t for t in sorted(readings) if plan.frames.valid[t]], int)
    if len(chosen) < FEWEST:
        return plan
    read = np.stack([readings[int(t)][:, :2] for t in chosen])
    frames = plan.frames
    placed = np.stack(
        [to_image(plan.posed.local[t], frames.rotation[t], frames.translation[t], frames.cameras[t])[0] for t in chosen]
    )
    local = plan.posed.local.copy()
    _calibrate_lids(local, plan, chosen, placed, read)
    _calibrate_mouth(local, plan, chosen, placed, read)
    return replace(plan, posed=replace(plan.posed, local=local))


def gain_of(placed: Float[np.ndarray, "n"], read: Float[np.ndarray, "n"], noise: float, limit: float) -> float:
    """By how much to overdraw a signal that is read smaller than it is placed, 1 to ``limit``.

    The slope of the readings is pulled towards 1 where the placed values differ by little more than the noise.
    """
    if len(placed) < FEWEST:
        return 1.0
    away = placed - placed.mean()
    prior = len(placed) * noise**2
    slope = (float(away @ (read - read.mean())) + prior) / (float(away @ away) + prior)
    return float(np.clip(1 / max(slope, 1e-3), 1, limit))


def _calibrate_lids(local: Points, plan: Plan, chosen: np.ndarray, placed: np.ndarray, read: np.ndarray) -> None:
    valid = plan.frames.valid
    for k, (side, contour, _) in enumerate(EYES):
        seen = plan.posed.closed[chosen, k] < SHUT
        gain = gain_of(lid_opening(placed[seen], side), lid_opening(read[seen], side), LID_NOISE, LID_GAIN)
        opening = lid_opening(local, side)
        usual = float(np.median(opening[valid & (plan.posed.closed[:, k] < SHUT)])) if seen.any() else 0.0
        if gain == 1 or usual <= 0:
            continue
        free = 1 - plan.posed.closed[:, k]
        wanted = opening + free * (gain - 1) * (opening - usual)
        wanted = np.clip(wanted, np.minimum(opening, LID_RANGE[0] * usual), np.maximum(opening, LID_RANGE[1] * usual))
        factor = (wanted / np.maximum(opening, 1e-3))[:, None, None]
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        local[:, upper] = local[:, lower] + factor * (local[:, upper] - local[:, lower])


def _calibrate_mouth(local: Points, plan: Plan, chosen: np.ndarray, placed: np.ndarray, read: np.ndarray) -> None:
    shares = plan.choice.mouth
    width_offset, widths = _offsets(shares[chosen], _width(placed), _width(read))
    gain = gain_of(_width(placed), widths, WIDTH_NOISE, WIDTH_GAIN)
    gap_offset, _ = _offsets(shares[chosen], mouth_gap(placed), mouth_gap(read))
    current, gap = _width(local), mouth_gap(local)
    usual = float(np.nanmedian(current))
    mean = shares[plan.frames.valid].mean(0)
    wider = (gain - 1) * (current - usual) - shares @ width_offset + mean @ width_offset
    _widen(local, 1 + wider / np.maximum(current, 1e-3))
    low, high = GAP_ONSET
    open_share = np.clip((gap - low) / (high - low), 0, 1)
    _part(local, -np.minimum(open_share * (shares @ gap_offset), 0.8 * gap))


def _width(points: Float[np.ndarray, "... 478 d"]) -> Float[np.ndarray, ...]:
    """Distance of the mouth's corners in eye distances, in the image plane."""
    flat = points[..., :2]
    mouth, eyes = (np.linalg.norm(flat[..., a, :] - flat[..., b, :], axis=-1) for a, b in (CORNERS, EYE_CORNERS_OUTER))
    return mouth / eyes


def _offsets(
    shares: Float[np.ndarray, "n p"], placed: Float[np.ndarray, "n"], read: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "n"]]:
    """How much more each photo is read as than it is placed; and the readings without it."""
    excess = read - placed
    common = float(np.median(excess))
    apart = np.linalg.solve(shares.T @ shares + OFFSET_NOISE * np.eye(shares.shape[1]), shares.T @ (excess - common))
    offset = np.clip(apart + common, -LARGEST_OFFSET, LARGEST_OFFSET)
    return offset, read - shares @ offset


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
    a, b = (local[:, i, :2] for i in EYE_CORNERS_OUTER)
    half = wider * np.linalg.norm(a - b, axis=-1) / 2
    profile = 1 - np.linspace(-1, 1, 11) ** 2
    for rings, sign in ((LIP_RINGS_UPPER, -1), (LIP_RINGS_LOWER, 1)):
        for ring in rings:
            local[:, list(ring), 1] += sign * half[:, None] * profile
