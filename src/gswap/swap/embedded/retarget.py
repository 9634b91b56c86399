"""The target's expression on the source's face, as landmarks in the target's head frame.

Source landmarks = the source's neutral face, aligned by a similarity, plus the target's motion away from its own
neutral face; then corrections, because eyes and mouth are judged by the millimetre: lids close when the target's
close, the gaze is the target's, and the lips open as far as the target's without folding over or reaching the nose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from gswap.foundation.geometry import similarity
from gswap.foundation.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIP_RINGS_LOWER,
    LIP_RINGS_UPPER,
    LIPS,
    LIPS_OUTER,
    OVAL,
    RIGID,
    eye_distance,
    lid_opening,
    mouth_gap,
)
from gswap.swap.config import RetargetConfig
from gswap.swap.embedded.lift import Lifted, Points
from gswap.swap.embedded.regions import smoothstep

Face = Float[np.ndarray, "478 3"]
Side = Literal["right", "left"]

EYES: tuple[tuple[Side, tuple[int, ...], tuple[int, ...]], ...] = (
    ("right", EYE_RIGHT, IRIS_RIGHT),
    ("left", EYE_LEFT, IRIS_LEFT),
)
"""Side, contour, iris of both eyes, in the order used for every pair of numbers about eyes."""
ARCH = 1 - np.linspace(-1, 1, 11) ** 2
"""Along a lip's chain: 1 in its middle, 0 at its corners."""
NOSE_BASE = 2
"""Landmark under the nose."""
CROWDED = (0.4, 0.8)
"""Shares of the skin above the upper lip by which that rises, between which it begins to crowd the nose."""
SKIN_SPREAD, SKIN_REACH = 0.1, 0.25
"""Skin follows the lips next to it (Gaussian), less and less up to this far from them, eye distances."""
SKIN_MARGIN, SKIN_KEPT = 0.14, 0.6
"""Skin up to this far from the lips at rest (eye distances) keeps up to this share of its distance."""
FEW_IMAGES = 4
"""With fewer images a neutral face is not searched for but computed from the fitted actions."""


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * rotation @ x + offset``, from the source's head frame to the target's."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
        """Move points into the target's head frame."""
        return self.scale * points @ self.rotation.T + self.offset


def near(points: Float[np.ndarray, "n d"], chosen: list[int], reach: float) -> Float[np.ndarray, "n"]:
    """1 at the chosen points, falling linearly to 0 at ``reach`` eye distances, in the face plane."""
    flat = points[:, :2]
    unit = eye_distance(flat)
    distance = np.linalg.norm(flat[:, None] - flat[None, chosen], axis=-1).min(1)
    return np.clip(1 - distance / (reach * unit), 0, 1)


def eye_region(face: Face) -> Float[np.ndarray, "478"]:
    """Soft weights of lids and brows."""
    return near(face, [*EYE_RIGHT, *EYE_LEFT, *BROW_RIGHT, *BROW_LEFT], 0.12)


def neutral_face(person: Lifted, cfg: RetargetConfig) -> Face:
    """The face at rest: mouth closed with the least expression, eyes as open as usual.

    With a handful of images (one photo) it is the detected face with the fitted actions taken away, so that the
    detector's detail stays.
    """
    valid = np.flatnonzero(person.valid)
    local = person.local[valid]
    if len(valid) < FEW_IMAGES and np.abs(person.expression).max() > 0:
        return (local - person.expression[valid]).mean(0)
    count = max(min(2, len(valid)), int(len(valid) * cfg.neutral_share))
    strength = person.strength[valid]
    effort = mouth_gap(local) / 0.05 + strength / (0.5 * np.median(strength) + 0.1)
    calm = local[np.argsort(effort, kind="stable")[:count]].mean(0)
    opening = (lid_opening(local, "right") + lid_opening(local, "left")) / 2
    usual = np.percentile(opening, cfg.neutral_lid_percentile)
    awake = local[np.argsort(np.abs(opening - usual), kind="stable")[:count]].mean(0)
    weight = eye_region(np.median(local, axis=0))[:, None]
    return weight * awake + (1 - weight) * calm


def align(source: Face, target: Face) -> Similarity:
    """Similarity that lays one neutral face on another: size, place, and the bias between two fits' rotations."""
    weights = np.full(468, 0.3)
    weights[list(RIGID)] = 3.0
    weights[list(OVAL)] = 1.0
    return Similarity(*similarity(source[:468], target[:468], weights))


@dataclass(frozen=True)
class Retargeted:
    """The source's face with the target's expression."""

    local: Points
    """Target head frame, metres; NaN where the target is invalid."""
    closed: Float[np.ndarray, "t 2"]
    """How shut the right and left eye are, 0 to 1."""


def retarget(target: Points, target_neutral: Face, source_neutral: Face, cfg: RetargetConfig) -> Retargeted:
    """Put the target's expression on the source's face.

    Args:
        target: The target's lifted landmarks.
        target_neutral: The target's neutral face.
        source_neutral: The source's neutral face, already in the target's head frame.
        cfg: Constants.
    """
    base = source_neutral
    motion = target - target_neutral
    for side, contour, _ in EYES:
        ratio = lid_opening(base, side) / lid_opening(target_neutral, side)
        motion[:, list(contour)] *= np.clip(ratio, *cfg.lid_scale)
    posed = base + motion
    _drop_jaw(posed, base, target_neutral)
    outline = posed[:, LIPS_OUTER].copy()
    _shape_lips(posed, target, base, target_neutral, cfg)
    _keep_philtrum(posed, target, base, target_neutral, cfg)
    _roll_corners(posed, target, cfg)
    carry_skin(posed, outline, base)
    _couple_lids(posed, base, cfg)
    closed = _shut_lids(posed, base, cfg)
    _place_irises(posed, target, base, target_neutral)
    return Retargeted(posed, closed)


def _place_irises(posed: Points, target: Points, base: Face, neutral: Face) -> None:
    """Gaze is absolute: the iris sits between the corners as in the target, scaled by the eye's width.

    Relative to a neutral face it would inherit the direction in which the photos happen to look.
    """
    for _, contour, iris in EYES:
        outer, inner, points = contour[0], contour[8], list(iris)
        scale = np.linalg.norm(base[outer] - base[inner]) / np.linalg.norm(neutral[outer] - neutral[inner])
        middle = (target[:, outer] + target[:, inner]) / 2
        posed[:, points] = ((posed[:, outer] + posed[:, inner]) / 2)[:, None] + scale * (
            target[:, points] - middle[:, None]
        )


def _drop_jaw(posed: Points, base: Face, neutral: Face) -> None:
    """Where the source has less skin between nose and upper lip than the target, the mouth opens further down.

    The upper lip rises by the share of that skin that the target's takes, not by its millimetres, which would push it
    into the nose; the jaw drops by what the lip does not rise, so that the mouth is as wide open.
    """
    inside = slice(1, -1)  # the upper lip's chains share their ends with the lower lip's
    lips = []
    for ring in LIP_RINGS_UPPER:
        points = list(ring[inside])
        lips.append((points, posed[:, points, 1] + _overshoot(posed, base, neutral, ring)[:, None] * ARCH[inside]))
    drop = _overshoot(posed, base, neutral, LIP_RINGS_UPPER[3])
    posed[:, :468, 1] += drop[:, None] * _on_jaw(base)
    for points, height in lips:
        posed[:, points, 1] = height


def _overshoot(posed: Points, base: Face, neutral: Face, ring: tuple[int, ...]) -> Float[np.ndarray, "t"]:
    """How much too far the middle of one of the upper lip's chains rises for the room that the source has.

    A smile leaves room enough: how far anybody's lip rises in it is theirs.
    """
    room, rise = _room(base, ring), np.maximum(_room(base, ring) - _room(posed, ring), 0)
    outline = LIP_RINGS_UPPER[0]
    low, high = CROWDED
    taken = 1 - _room(posed, outline) / _room(base, outline)
    return np.clip((taken - low) / (high - low), 0, 1) * (1 - np.clip(room / _room(neutral, ring), 0, 1)) * rise


def _room(face: Float[np.ndarray, "... 478 3"], ring: tuple[int, ...]) -> Float[np.ndarray, ...]:
    """From the nose down to the middle of one of the upper lip's chains."""
    return face[..., ring[len(ring) // 2], 1] - face[..., NOSE_BASE, 1]


def _on_jaw(face: Face) -> Float[np.ndarray, "468"]:
    """How far skin goes with the jaw: 1 below the lower lip, 0 at the nose's height and beside the ears."""
    x, y = face[:468, 0] - face[NOSE_BASE, 0], face[:468, 1] - face[NOSE_BASE, 1]
    side = x[list(OVAL)]
    reach = np.where(x < 0, -side.min(), side.max())
    corner = np.abs(x[[LIP_RINGS_UPPER[3][0], LIP_RINGS_UPPER[3][-1]]]).max()
    inwards = np.clip((reach - np.abs(x)) / (reach - corner), 0, 1)
    return inwards * np.clip(y / y[LIP_RINGS_LOWER[3][5]], 0, 1)


def _shape_lips(posed: Points, target: Points, base: Face, neutral: Face, cfg: RetargetConfig) -> None:
    """Inner lips open as far as the target's; the lip between is its own thickness times the target's change.

    Adding displacements instead folds thin lips over. All four chains are rebuilt between inner and outer contour.
    """
    upper, lower = LIP_RINGS_UPPER[3], LIP_RINGS_LOWER[3]
    for q in range(1, 10):
        wanted = target[:, upper[q], 1] - target[:, lower[q], 1]
        excess = wanted - (posed[:, upper[q], 1] - posed[:, lower[q], 1])
        posed[:, upper[q], 1] += excess / 2
        posed[:, lower[q], 1] -= excess / 2
    for rings in (LIP_RINGS_UPPER, LIP_RINGS_LOWER):
        for q in range(11):
            corner = q in (0, 10)
            if corner and rings is LIP_RINGS_LOWER:
                continue  # the chains share their ends
            outer, second, third, inner = (ring[q] for ring in rings)
            thickness = np.linalg.norm(base[outer] - base[inner])
            ratio = np.clip(thickness / np.linalg.norm(neutral[outer] - neutral[inner]), *cfg.lip_scale)
            if not corner:
                rebuilt = posed[:, inner] + ratio * (target[:, outer] - target[:, inner])
                posed[:, outer] = (rebuilt + posed[:, outer]) / 2
            across = posed[:, outer] - posed[:, inner]
            for ring, low, high in ((second, 0.1, 0.9), (third, 0.05, 0.8)):
                share = np.linalg.norm(base[ring] - base[inner]) / thickness
                posed[:, ring] = posed[:, inner] + np.clip(share, low, high) * across


def _keep_philtrum(posed: Points, target: Points, base: Face, neutral: Face, cfg: RetargetConfig) -> None:
    """The skin between nose and upper lip shortens by the target's share, not by its millimetres.

    Where the source has less of it, a wide-open mouth would otherwise push the lip into the nose; the lip gets thinner
    instead, as stretched lips do.
    """
    nose, top = NOSE_BASE, LIP_RINGS_UPPER[0][5]
    share = (target[:, top, 1] - target[:, nose, 1]) / (neutral[top, 1] - neutral[nose, 1])
    floor = (base[top, 1] - base[nose, 1]) * np.clip(share, *cfg.philtrum)
    missing = np.maximum(floor - (posed[:, top, 1] - posed[:, nose, 1]), 0)
    outer, inner = list(LIP_RINGS_UPPER[0]), list(LIP_RINGS_UPPER[3])
    thickness = posed[:, inner, 1] - posed[:, outer, 1]
    lower = np.minimum(missing[:, None] * ARCH, (1 - cfg.thinnest_lip) * np.maximum(thickness, 0))
    for ring, part in zip(LIP_RINGS_UPPER[:3], (1.0, 2 / 3, 1 / 3), strict=True):
        posed[:, list(ring), 1] += part * lower


def _roll_corners(posed: Points, target: Points, cfg: RetargetConfig) -> None:
    """Near its corners the red of a wide-open mouth's lips is rolled inwards: detectors, and photos of a shut mouth,
    have it broad there, and stretched it would surround the mouth like a ring.
    """
    low, high = cfg.rolled_gap
    rolled = cfg.rolled_lip * np.clip((mouth_gap(target) - low) / (high - low), 0, 1)
    towards_corner = 1 - ARCH
    for rings, chain in ((LIP_RINGS_UPPER, range(11)), (LIP_RINGS_LOWER, range(1, 10))):  # they share their ends
        for q in chain:
            inner = posed[:, rings[3][q]]
            for ring in rings[:3]:
                across = posed[:, ring[q]] - inner
                posed[:, ring[q]] -= (rolled * towards_corner[q])[:, None] * across


def carry_skin(posed: Points, before: Float[np.ndarray, "t 20 3"], face: Face) -> None:
    """Let the skin around the mouth go with the lips (in place): lips moved alone would fold over it.

    Args:
        posed: Points whose lips were moved.
        before: Where the lips' outer contour was.
        face: A face at rest, in which distances are taken.
    """
    moved = posed[:, LIPS_OUTER] - before
    flat, unit = face[:468, :2], eye_distance(face[:, :2])
    distance = np.linalg.norm(flat[:, None] - flat[None, LIPS_OUTER], axis=-1) / unit
    share = np.exp(-((distance / SKIN_SPREAD) ** 2)) + 1e-9
    share *= (np.clip(1 - distance.min(1) / SKIN_REACH, 0, 1) / share.sum(1))[:, None]
    share[list(LIPS)] = 0
    touched = np.flatnonzero(share.sum(1) > 0)
    posed[:, touched] += np.einsum("vk,tkc->tvc", share[touched], moved)
    _unfold_skin(posed, face)


def _unfold_skin(posed: Points, face: Face) -> None:
    """Keep the skin next to the lips outside them (in place).

    Detectors read lips and skin by separate networks; in wide mouths the one lies over the other, and the map folds.
    """
    outline, unit = list(LIPS_OUTER), eye_distance(face[:, :2])
    a, b = face[outline, :2], face[np.roll(outline, -1), :2]
    along = b - a
    place = np.einsum("vkc,kc->vk", face[:468, None, :2] - a, along) / (along**2).sum(-1)
    place = np.clip(place, 0, 1)
    away = np.linalg.norm(face[:468, None, :2] - (a + place[..., None] * along), axis=-1) / unit
    nearest = away.argmin(1)
    margin = away.min(1)
    margin[list(LIPS)] = np.inf
    skin = np.flatnonzero(margin < SKIN_MARGIN)
    first, second = np.array(outline)[nearest[skin]], np.array(np.roll(outline, -1))[nearest[skin]]
    u = place[skin, nearest[skin]][:, None]
    start, end = posed[:, first, :2], posed[:, second, :2]
    foot, side = start + u * (end - start), end - start
    out = np.stack([side[..., 1], -side[..., 0]], -1)
    out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-9)
    out *= np.sign(((foot - posed[:, outline, :2].mean(1)[:, None]) * out).sum(-1, keepdims=True))
    wanted = SKIN_KEPT * margin[skin] * (1 - margin[skin] / SKIN_MARGIN)
    width = eye_distance(posed[..., :2])[:, None]
    missing = np.maximum(wanted * width - ((posed[:, skin, :2] - foot) * out).sum(-1), 0)
    posed[:, skin, :2] += missing[..., None] * out


def _couple_lids(posed: Points, base: Face, cfg: RetargetConfig) -> None:
    """Lids move together unless it is a wink: in a turned head one of the two is measured badly."""
    ratios = np.stack([lid_opening(posed, side) / lid_opening(base, side) for side, _, _ in EYES], -1)
    apart = np.abs(ratios[:, 0] - ratios[:, 1])
    low, high = cfg.wink
    share = cfg.lid_coupling * np.clip((high - apart) / (high - low), 0, 1)
    wanted = ratios + share[:, None] * (ratios.mean(-1, keepdims=True) - ratios)
    for k, (_, contour, _) in enumerate(EYES):
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        factor = wanted[:, k] / np.maximum(ratios[:, k], 1e-3)
        posed[:, upper] = posed[:, lower] + factor[:, None, None] * (posed[:, upper] - posed[:, lower])


def _shut_lids(posed: Points, base: Face, cfg: RetargetConfig) -> Float[np.ndarray, "t 2"]:
    """Lids that are nearly closed close fully: the upper lid comes down onto the lower one."""
    closed = np.zeros((len(posed), 2))
    low, high = cfg.lid_shut
    for k, (side, contour, _) in enumerate(EYES):
        opening = lid_opening(posed, side) / lid_opening(base, side)
        closed[:, k] = np.nan_to_num(1 - smoothstep((opening - low) / (high - low)))
        upper, lower = list(contour[:8:-1]), list(contour[1:8])
        posed[:, upper] += closed[:, k, None, None] * (posed[:, lower] - posed[:, upper])
    return closed
