"""Long hair that goes on below its photo's border, in one frame: behind the clothes, and behind the neck."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import disc
from gswap.swap.config import FallConfig
from gswap.swap.embedded.densemap import HALF
from gswap.swap.embedded.photos import ReadyPhoto
from gswap.swap.embedded.regions import FaceRuler, Points2, oval_mask, smoothstep
from gswap.swap.embedded.warped import Warped, look_up, mix

CLOTHED = (0.25, 0.6)
"""Share of clothes in a pixel from which they begin to hide what is behind them, and do: the fit judges no matte over
more clothes than about that."""
JAW = (0.02, 0.08)
"""Distances from the face between which hair begins to go behind the clothes, face heights: the jaw does not."""
SWEEP, SWEEP_EDGE = (0.15, 0.2), 0.03
"""How far hair lies over the neck's sides at the border, and how far below it lies behind them; and its edge there,
face widths."""
SLIVER = 0.05
"""Clothes narrower than this do not come before the hair, face widths."""
SOFT = 2.0
"""Pixels of the photo over which its own picture gives way to the guess."""


@dataclass(frozen=True)
class Fallen:
    """What one frame shows of it."""

    grown: Float[np.ndarray, "h w"]
    """1 where the head's picture is below its photo's border."""
    dives: Float[np.ndarray, "h w"]
    """1 where the hair lies behind the clothes, if they reach there; 0 where before."""
    below: Float[np.ndarray, "h w"]
    """How far below the border, face widths."""
    behind: float
    """Share of the photos whose hair goes behind neck and clothes."""
    back: Float[np.ndarray, "h w 3"]
    """Hair behind the neck."""
    cover: Float[np.ndarray, "h w"]
    """Its matte."""


def falling(pieces: list[tuple[float, ReadyPhoto, Float[np.ndarray, "h w 2"]]], cfg: FallConfig) -> Fallen | None:
    """Look it up in the photos that show the head; ``None`` where no hair of theirs goes on.

    Args:
        pieces: Shares, which add up to 1, photos and maps to them.
        cfg: Constants.
    """
    if all(photo.fall is None for _, photo, _ in pieces):
        return None
    h, w = pieces[0][2].shape[:2]
    grown, dives, lower = (np.zeros((h // HALF, w // HALF), np.float32) for _ in range(3))
    backs, behind = [], 0.0
    for share, photo, mapping in pieces:
        fall = photo.fall
        if fall is None:
            backs.append((share, Warped(np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8))))
            continue
        below = mapping[::HALF, ::HALF, 1] - np.float32(fall.border)
        grown += np.float32(share) * np.clip(below / SOFT + 0.5, 0, 1)
        if not fall.over_clothes:
            below /= np.float32(photo.face_width)
            dives += np.float32(share) * np.clip((below + cfg.dives[0]) / (cfg.dives[0] - cfg.dives[1]), 0, 1)
            lower += np.float32(share) * below
            behind += share
        matte = look_up(fall.back_alpha, mapping, cv2.INTER_LINEAR)
        backs.append((share, Warped(look_up(fall.back, mapping, cv2.INTER_LINEAR), matte)))
    fields = grown, dives, lower / max(behind, 1e-6)
    grown, dives, lower = (cv2.resize(field, (w, h), interpolation=cv2.INTER_LINEAR) for field in fields)
    return Fallen(grown, dives, lower, behind, *mix(backs))


def hidden_by(cover: Float[np.ndarray, "h w"], torso: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """A matte behind the clothes."""
    return cover * (1 - _clothed(torso))


def behind_body(
    alpha: Float[np.ndarray, "h w"],
    fallen: Fallen,
    torso: Float[np.ndarray, "h w"],
    neck: Float[np.ndarray, "h w"],
    points: Points2,
) -> Float[np.ndarray, "h w"]:
    """The head's matte, its hair behind the clothes near and below the photo's border, and swept back behind the neck.

    Args:
        alpha: Of the head.
        fallen: Where its hair goes.
        torso: Where the target wears something, [0, 1].
        neck: The new neck's matte.
        points: Landmarks of the new head.
    """
    h, w = alpha.shape
    face = oval_mask(points / HALF, h // HALF, w // HALF)
    distance = cv2.distanceTransform((face < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    reach = distance * np.float32(HALF / FaceRuler.of(points).height)
    off = cv2.resize(np.clip((reach - JAW[0]) / (JAW[1] - JAW[0]), 0, 1), (w, h), interpolation=cv2.INTER_LINEAR)
    width = FaceRuler.of(points).width
    shown = 1 - fallen.dives * off * _clothed(torso * _broad(torso, width))
    return alpha * shown * (1 - np.float32(fallen.behind) * _swept(fallen.below, neck, width))


def _swept(
    below: Float[np.ndarray, "h w"], neck: Float[np.ndarray, "h w"], face_width: float
) -> Float[np.ndarray, "h w"]:
    """1 where the neck is before the hair: below the border ever more of it, from its middle to its sides."""
    h, w = neck.shape
    small = cv2.resize(neck, (w // HALF, h // HALF), interpolation=cv2.INTER_AREA)
    inside = cv2.distanceTransform((small > 0.5).astype(np.uint8), cv2.DIST_L2, 5) * np.float32(HALF / face_width)
    inside = cv2.resize(inside, (w, h), interpolation=cv2.INTER_LINEAR)
    left = SWEEP[0] * np.maximum(1 - below / SWEEP[1], 0)
    return np.clip((inside - left) / SWEEP_EDGE, 0, 1) * np.clip(below / SWEEP_EDGE, 0, 1)


def _broad(torso: Float[np.ndarray, "h w"], face_width: float) -> Float[np.ndarray, "h w"]:
    """1 on clothes and close to them, 0 on narrow slivers: rims of the target's neck."""
    small = cv2.resize(torso, (torso.shape[1] // HALF, torso.shape[0] // HALF), interpolation=cv2.INTER_AREA)
    kernel = disc(SLIVER * face_width / HALF)
    broad = cv2.dilate(cv2.morphologyEx(small, cv2.MORPH_OPEN, kernel), kernel)
    return cv2.resize(broad, torso.shape[::-1], interpolation=cv2.INTER_LINEAR)


def with_back(
    colour: Float[np.ndarray, "h w 3"],
    head: Float[np.ndarray, "h w"],
    neck: Float[np.ndarray, "h w"],
    back: tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"], Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Hair behind the neck made part of the head, so that head over neck shows what three layers would.

    Args:
        colour: Straight colours of the head.
        head: Its matte.
        neck: The neck's matte.
        back: Straight colours of the hair behind the neck, and its matte.

    Returns:
        Colours and matte of the head with it, the neck's matte, and the share of the hair behind the neck in the head.
    """
    hair, cover = back
    seen = (1 - head) * (1 - neck) * cover
    whole = head + seen
    share = seen / np.maximum(whole, 1e-6)
    lower = neck / np.maximum(1 - cover + neck * cover, 1e-6)
    return colour + share[..., None] * (hair - colour), whole, np.minimum(lower, 1), share


def _clothed(torso: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    return smoothstep((torso - CLOTHED[0]) / (CLOTHED[1] - CLOTHED[0]))
