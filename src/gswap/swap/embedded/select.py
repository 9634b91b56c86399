"""Which photo shows the head, the eyes and the mouth of every frame: cheapest path through the frames, cross-faded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.landmarks import CHIN, EYE_CORNERS_OUTER, LIPS_OUTER
from gswap.swap.config import SelectConfig
from gswap.swap.embedded.lift import Lifted, Points
from gswap.swap.embedded.retarget import Face, Similarity, eye_region, near

Costs = Float[np.ndarray, "t n"]

SLIGHTLY_OPEN = 0.06
"""Mouth gap, in eye distances, above which a closed photo is not enough."""
SHOWS_TEETH_GAP = 0.03
"""Mouth gap of a photo, in eye distances, above which it may show teeth."""
BARED = 0.06
"""Share of teeth in the mouth that counts as showing none."""
CHIN_TIP = (CHIN, 377, 148)
IRIS_WEIGHT = 0.8
"""Extra weight of each iris point against one point of the lids."""


@dataclass(frozen=True)
class Choice:
    """Photo weights per frame (rows sum to 1) and the angles behind them."""

    base: Costs
    eyes: Costs
    mouth: Costs
    angle: Costs
    """Degrees between the directions from which frame and photo see the head (roll in the image excluded)."""
    interior: Float[np.ndarray, "t"]
    """Share of the mouth's interior that comes from the photo chosen for the mouth; the rest has no photo."""

    def columns(self, kept: Int[np.ndarray, "k"]) -> Choice:
        """Only some of the photos."""
        return Choice(self.base[:, kept], self.eyes[:, kept], self.mouth[:, kept], self.angle[:, kept], self.interior)

    def rows(self, frames: Int[np.ndarray, "k"]) -> Choice:
        """The choices of some frames."""
        return Choice(
            self.base[frames], self.eyes[frames], self.mouth[frames], self.angle[frames], self.interior[frames]
        )


@dataclass(frozen=True)
class Views:
    """From where frames and photos see the head."""

    angle: Costs
    """See :class:`Choice`."""
    mirrored: Bool[np.ndarray, "n"]
    """Which photos are seen in a mirror."""
    leaks: Float[np.ndarray, "n"]
    """How far each photo's matte sticks out above the head, see :func:`gswap.swap.embedded.outline.leakage`."""


@dataclass(frozen=True)
class MouthLook:
    """What the mouths of some images show."""

    gap: Float[np.ndarray, "t"]
    """Inner-lip gap in eye distances."""
    teeth: Float[np.ndarray, "t"]
    """Share of the interior that is teeth, 0 to 1."""

    def rows(self, kept: Int[np.ndarray, "k"]) -> MouthLook:
        """Only some of the images."""
        return MouthLook(self.gap[kept], self.teeth[kept])


def viterbi(costs: Costs, switch: float) -> Int[np.ndarray, "t"]:
    """Cheapest sequence of columns, paying ``switch`` for every change of column (ties: the lower index)."""
    count, states = costs.shape
    total = costs[0].astype(np.float64)
    back = np.zeros((count, states), np.int64)
    for t in range(1, count):
        best = int(total.argmin())
        change = total[best] + switch < total
        back[t] = np.where(change, best, np.arange(states))
        total = np.where(change, total[best] + switch, total) + costs[t]
    path = np.zeros(count, np.int64)
    path[-1] = total.argmin()
    for t in range(count - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def crossfade(path: Int[np.ndarray, "t"], states: int, sigma: float) -> Costs:
    """One-hot choices blurred over time; rows sum to 1."""
    return gaussian_filter1d(np.eye(states)[path], sigma, axis=0, mode="nearest") if sigma > 0 else np.eye(states)[path]


def view_angles(photos: Lifted, frames: Lifted, to_frames: Similarity) -> Costs:
    """Angle between the viewing directions in the target's head frame, degrees; NaN where a frame is invalid."""
    seen_from = _view_direction(photos.rotation @ to_frames.rotation.T, photos.translation)
    looked_at = _view_direction(frames.rotation, frames.translation)
    angle = np.degrees(np.arccos(np.clip(looked_at @ seen_from.T, -1, 1)))
    angle[~frames.valid] = np.nan
    return angle


def _view_direction(rotation: np.ndarray, translation: np.ndarray) -> Float[np.ndarray, "t 3"]:
    to_camera = -translation / np.linalg.norm(translation, axis=-1, keepdims=True)
    return np.einsum("tji,tj->ti", rotation, to_camera)


def choose(
    posed: Points,
    photos: Points,
    neutral: Face,
    views: Views,
    looks: tuple[MouthLook, MouthLook],
    runs: list[tuple[int, int]],
    cfg: SelectConfig,
) -> Choice:
    """Choose photos for every frame, each run of frames on its own.

    Args:
        posed: The retargeted landmarks of every frame, target head frame.
        photos: The photos' landmarks in the same frame.
        neutral: The source's neutral face in the same frame.
        views: Viewing angles; which photos are mirrored.
        looks: Mouths of the frames and of the photos.
        runs: Stretches of valid frames.
        cfg: Constants.
    """
    angle = views.angle
    count, n = angle.shape
    unit = float(np.linalg.norm(np.subtract(*neutral[list(EYE_CORNERS_OUTER)])))
    eye_weight = eye_region(neutral)
    eye_weight[468:] += IRIS_WEIGHT
    mouth_weight = near(neutral, [*LIPS_OUTER, *CHIN_TIP], 0.15)
    eyes = _distances(posed, photos, eye_weight, unit)
    mouth = _distances(posed, photos, mouth_weight, unit)
    whole = _distances(posed, photos, np.ones(478), unit)
    expressive = np.linalg.norm(photos - neutral, axis=-1).mean(-1) / unit
    base_cost = angle / cfg.angle_base + whole / cfg.expression + expressive / cfg.expression + mouth / cfg.mouth_base
    eyes_cost = eyes / cfg.eyes + angle / cfg.angle_part
    mouth_cost = mouth / cfg.mouth + angle / cfg.angle_part + mouth_mismatch(*looks, cfg)
    base_cost = base_cost + cfg.mirror_base * views.mirrored + views.leaks / cfg.leak
    eyes_cost = eyes_cost + cfg.mirror_part * views.mirrored
    mouth_cost = mouth_cost + cfg.mirror_part * views.mirrored
    enough = interior_fits(*looks, cfg)
    weights = {name: np.zeros((count, n)) for name in ("base", "eyes", "mouth")}
    interior = np.zeros(count)
    prices = (
        ("base", base_cost, cfg.switch_base),
        ("eyes", eyes_cost, cfg.switch_eyes),
        ("mouth", mouth_cost, cfg.switch_mouth),
    )
    for start, stop in runs:
        for name, cost, switch in prices:
            path = viterbi(cost[start:stop], switch)
            weights[name][start:stop] = crossfade(path, n, cfg.crossfade)
            if name == "mouth":
                fits = enough[np.arange(start, stop), path].astype(np.float64)
                interior[start:stop] = gaussian_filter1d(fits, cfg.crossfade, mode="nearest")
    return Choice(weights["base"], weights["eyes"], weights["mouth"], angle, interior)


def _distances(frames: Points, photos: Points, weights: Float[np.ndarray, "478"], unit: float) -> Costs:
    """Weighted root mean square landmark distance of every frame to every photo, in ``unit``."""
    share = weights / weights.sum()
    squared = [((frames - photo) ** 2).sum(-1) @ share for photo in photos]
    return np.sqrt(np.stack(squared, 1)) / unit


def mouth_mismatch(frames: MouthLook, photos: MouthLook, cfg: SelectConfig) -> Costs:
    """Price of showing a photo's mouth: too open, not open enough, teeth where there are none or the reverse."""
    wanted, shown = frames.gap[:, None], photos.gap[None]
    too_open = np.maximum(0, shown - 1.4 * wanted - 0.005) / cfg.too_open
    price = np.where(shown > SHOWS_TEETH_GAP, cfg.too_closed[1], cfg.too_closed[0])
    too_closed = ((shown < cfg.gap_enough * wanted) & (wanted > SLIGHTLY_OPEN)) * price
    teeth = cfg.teeth * np.abs(frames.teeth[:, None] - photos.teeth[None])
    return np.nan_to_num(too_open + too_closed + teeth)


def interior_fits(frames: MouthLook, photos: MouthLook, cfg: SelectConfig) -> Bool[np.ndarray, "t n"]:
    """Whether a photo's mouth interior can stand in for a frame's."""
    open_enough = photos.gap[None] >= cfg.gap_enough * frames.gap[:, None]
    bared = photos.teeth[None] > 2 * frames.teeth[:, None] + BARED  # a closing mouth must not flash a grin's teeth
    return open_enough & ~bared


def frames_text(frames: Int[np.ndarray, "k"]) -> str:
    """``[3, 4, 5, 9]`` -> ``3-5, 9``."""
    parts = []
    for run in np.split(frames, np.flatnonzero(np.diff(frames) > 2) + 1):
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}")
    return ", ".join(parts)


@dataclass(frozen=True)
class Missing:
    """Frames (boolean masks) that lack a fitting photo."""

    open_mouth: Bool[np.ndarray, "t"]
    shut_eyes: Bool[np.ndarray, "t"]
    angle: Float[np.ndarray, "t"]
    """Degrees to the nearest photo; NaN where invalid."""
    yaw: Float[np.ndarray, "t"]
    """Turn of the target's head to its own left, degrees."""


def advise(missing: Missing, cfg: SelectConfig) -> tuple[str, ...]:
    """Sentences that name what another photo should show, and for which frames."""
    out = []
    if missing.open_mouth.any():
        out.append(f"add a photo with the mouth open (frames {frames_text(np.flatnonzero(missing.open_mouth))})")
    if missing.shut_eyes.any():
        out.append(f"add a photo with the eyes closed (frames {frames_text(np.flatnonzero(missing.shut_eyes))})")
    far = np.nan_to_num(missing.angle) > cfg.angle_advice
    for side, mask in (("left", far & (missing.yaw > 0)), ("right", far & (missing.yaw <= 0))):
        if mask.any():
            frames = np.flatnonzero(mask)
            worst = frames[missing.angle[frames].argmax()]
            out.append(
                f"add a photo turned to the person's {side} by about {abs(missing.yaw[worst]):.0f} degrees "
                f"(frames {frames_text(frames)})"
            )
    return tuple(out)
