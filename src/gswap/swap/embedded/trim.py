"""Cut what is not head from the warped photo: its neck below the jaw, its collar, and coloured rims."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.imaging import blur, disc, largest_component
from gswap.swap.config import TrimConfig
from gswap.swap.embedded.regions import (
    FEWEST_HAIRS,
    HAIR_ABOVE,
    FaceRuler,
    Points2,
    Turn,
    bounds_of,
    nearest_known,
    oval_mask,
    skin_mask,
    unlike,
)

HALF = 2
"""Fields of this module are computed at half the resolution."""
CHROMA_FLOOR = 7.0
"""Smallest tolerance on Lab chroma (8-bit units): grey photos have no chroma to measure by."""
DARKER = 75.0
"""How much darker than the skin (8-bit L) a pixel beside the jaw may be."""
OFF_THE_JAW = 0.10
"""Distance from the face from which a photo's pixels below the ears are surely not the head, face heights."""
NAPE, NAPE_FADE = 0.25, 0.1
"""A turned head keeps this much more of the photo's nape (face heights), from this far behind the jaw's corner on
(face widths)."""
SERRATION = 0.02
"""Teeth of the cut along the jaw up to about this size are smoothed away, face widths."""
STRAY = 0.03
"""What is left below the jaw this far from the rest of the head is a scrap of the photo's neck, face widths."""
HAZE = 0.4
"""Matte below which a skin edge is taken for background."""
NEIGHBOURHOOD = 0.1
"""How far from the rim around jaw and ears a colour further inside is looked for, face widths."""
NECK_HALF_WIDTH = 0.9
"""Long hair: skin further from the axis than this is not neck, face widths."""
NECK_FAVOUR, FAVOURED = 3.0, (0.4, 0.7)
"""Long hair of the skin's colour: by so much more unlike the skin than unlike the hair may neck be, falling to 0
between these distances from the axis, face widths."""
FALLS = (0.0, 0.06)
"""Long hair: below the jaw it ends between these distances from where it is widest beside the face, face widths."""


def trim(
    alpha: Float[np.ndarray, "h w"],
    colour: Float[np.ndarray, "h w 3"],
    points: Points2,
    torso: Float[np.ndarray, "h w"],
    long_hair: bool,
    cfg: TrimConfig,
    grown: Float[np.ndarray, "h w"] | None = None,
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w 3"]]:
    """Head matte without neck and collar, and colours without a rim of the photo's background beside the jaw.

    Args:
        alpha: Warped matte of head and neck.
        colour: Warped foreground, float levels.
        points: Landmarks of the source's face in the output.
        torso: Where the target wears something, [0, 1]: the photo's neck does not lie on a collar.
        long_hair: The source's hair falls below the jaw: keep it, cut skin only.
        cfg: Constants.
        grown: 1 where long hair goes on below its photo's border; there are no clothes.
    """
    h, w = alpha.shape
    look = _Look.of(alpha, colour, points)
    dressed = cv2.resize(torso, look.alpha.shape[::-1], interpolation=cv2.INTER_AREA)
    fade = _fall(look.reach, cfg.jaw_fade) * (1 - dressed) + _fall(look.reach, cfg.ear_fade) * dressed
    if long_hair:
        own = 1.0 if grown is None else 1 - cv2.resize(grown, look.alpha.shape[::-1], interpolation=cv2.INTER_AREA)
        cut = _cut_of_long_hair(look, fade, own)
    else:
        cut, collar = _cut_of_short_hair(look, fade, cfg)
        firm = np.clip((cfg.tuft_height - look.height) / 0.05, 0, 1)
        alpha = _harden(alpha, cv2.resize(firm, (w, h), interpolation=cv2.INTER_LINEAR))
        outline = alpha * (1 - cv2.resize(collar, (w, h), interpolation=cv2.INTER_LINEAR))
        colour = _defringe(outline, colour, points, cfg)
    return alpha * (1 - cv2.resize(cut, (w, h), interpolation=cv2.INTER_LINEAR)), colour


@dataclass(frozen=True)
class _Look:
    """A warped photo at half the resolution, and where its face is in it."""

    alpha: Float[np.ndarray, "h w"]
    lab: Float[np.ndarray, "h w 3"]
    points: Points2
    ruler: FaceRuler
    height: Float[np.ndarray, "h w"]
    """Over the chin, face heights."""
    across: Float[np.ndarray, "h w"]
    """Signed distance from the face's axis, face widths."""
    face: Float[np.ndarray, "h w"]
    distance: Float[np.ndarray, "h w"]
    """From the face, pixels."""
    skin: Bool[np.ndarray, "h w"]

    @classmethod
    def of(cls, alpha: Float[np.ndarray, "2*h 2*w"], colour: Float[np.ndarray, "2*h 2*w 3"], points: Points2) -> _Look:
        """Of the photo at the full resolution."""
        w, h = size = (alpha.shape[1] // HALF, alpha.shape[0] // HALF)
        small = np.clip(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), 0, 255).astype(np.uint8)
        scaled, ruler = points / HALF, FaceRuler.of(points, 1 / HALF)
        height, across = ruler.grid(h, w)
        face = oval_mask(scaled, h, w)
        return cls(
            cv2.resize(alpha, size, interpolation=cv2.INTER_AREA),
            cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32),
            scaled, ruler, height, across, face,
            cv2.distanceTransform((face < 0.5).astype(np.uint8), cv2.DIST_L2, 5),
            skin_mask(scaled, h, w),
        )  # fmt: skip

    @cached_property
    def reach(self) -> Float[np.ndarray, "h w"]:
        """Distance from the face, face heights."""
        return self.distance / self.ruler.height

    def strays(self, cut: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        """What a cut leaves that is not one with the face."""
        return _strays(self.alpha * (1 - cut), self.face, STRAY * self.ruler.width)


def _cut_of_long_hair(
    look: _Look, fade: Float[np.ndarray, "h w"], own: Float[np.ndarray, "h w"] | float
) -> Float[np.ndarray, "h w"]:
    """Neck below the jaw, clothes beside the hair where the photo is its ``own`` picture, and scraps."""
    lateral = np.abs(look.across)
    neck = ((look.height < 0.30) & (lateral < 0.60)) | (look.height < -0.05)
    below = blur(neck.astype(np.float32), 0.03 * look.ruler.width)
    shown = look.alpha > 0.9
    hair = shown & (look.height > HAIR_ABOVE) & (look.reach > OFF_THE_JAW)
    cut = below * blur(_neck_skin(look.lab, look.skin, hair, lateral), 0.75) * (1 - fade)
    cut = np.maximum(cut, own * _beside_the_hair(shown, look.height, look.across))
    return np.maximum(cut, np.clip((HAIR_ABOVE - look.height) / 0.05, 0, 1) * look.strays(cut))


def _cut_of_short_hair(
    look: _Look, fade: Float[np.ndarray, "h w"], cfg: TrimConfig
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Neck below the jaw, collar and scraps; and the collar alone."""
    height, width = look.height, look.ruler.width
    beside = np.clip(height / 0.06, 0, 1)
    fade = fade * (1 - beside) + beside * _fall(look.reach, cfg.ear_fade)
    low = height < _lower_end(look.points, look.ruler, (height.shape[0], height.shape[1]), cfg)
    below = blur(low.astype(np.float32), 0.03 * width)
    outside = (look.reach > OFF_THE_JAW) | (look.alpha < 0.5)
    odd = _collar(look.lab, look.skin, height, look.distance, outside, cfg).astype(np.float32)
    collar = blur((blur(odd, SERRATION * width) > 0.5).astype(np.float32), 0.75)
    cut = 1 - (1 - below * (1 - fade)) * (1 - collar)
    return np.maximum(cut, below * look.strays(cut)), collar


def _lower_end(points: Points2, ruler: FaceRuler, size: tuple[int, int], cfg: TrimConfig) -> Float[np.ndarray, "h w"]:
    """Height under which a short-haired head ends at its jaw; behind the jaw of a turned head is nape, which stays."""
    turn = Turn.of(points, ruler)
    _, lateral = ruler.grid(*size)
    behind = np.clip((turn.side * lateral - turn.corner) / NAPE_FADE, 0, 1)
    return cfg.short_height - turn.amount * NAPE * behind


def _harden(alpha: Float[np.ndarray, "h w"], amount: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Steepen the matte where skin, not hair, has the edge: a faint haze there is background."""
    steep = np.clip((alpha - HAZE) / (0.9 - HAZE), 0, 1)
    return alpha + amount * (steep - alpha)


def _strays(shown: Float[np.ndarray, "h w"], face: Float[np.ndarray, "h w"], reach: float) -> Float[np.ndarray, "h w"]:
    """1 further than ``reach`` from the part of a matte that is one with the face."""
    solid = ((shown > 0.5) | (face > 0.5)).astype(np.uint8)
    labels = cv2.connectedComponents(solid)[1]
    whole = np.isin(labels, np.unique(labels[face > 0.5])).astype(np.uint8)
    return 1 - blur(cv2.dilate(whole, disc(2 * reach)).astype(np.float32), reach / 3)


def _fall(x: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """1 below the first edge, falling linearly to 0 at the second."""
    return np.clip((edges[1] - x) / (edges[1] - edges[0]), 0, 1)


def _skin_stats(lab: np.ndarray, skin: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    pixels = lab[skin] if skin.any() else lab.reshape(-1, 3)
    return np.median(pixels, axis=0), pixels.std(0)


def _collar(lab, skin, height, distance, beyond, cfg: TrimConfig) -> Bool[np.ndarray, "h w"]:
    """Pixels beside and below the jaw that are not of the skin's colour, joined to what is ``beyond`` the head.

    Shadow and beard under the jaw are not.
    """
    middle, spread = _skin_stats(lab, skin)
    chroma = float(np.linalg.norm(middle[1:] - 128))
    light, a, b = cv2.split(lab)
    away = np.hypot(a - middle[1], b - middle[2])
    tolerance = max(CHROMA_FLOOR, 0.8 * float(np.hypot(*spread[1:])))
    outside = distance > 0.5
    low = (height < cfg.short_height) & ((away > max(0.45 * chroma, tolerance)) | (light < middle[0] - DARKER))
    tuft = (height < cfg.tuft_height) & (away > max(0.38 * chroma, tolerance)) & (light > middle[0] - 25)
    odd = (low | tuft) & outside
    labels = cv2.connectedComponents((odd | beyond).astype(np.uint8))[1]
    joined = np.unique(labels[beyond])
    odd &= np.isin(labels, joined[joined > 0])
    return cv2.dilate(odd.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _neck_skin(lab, skin, hair, lateral) -> Float[np.ndarray, "h w"]:
    """Face and neck skin as one connected, closed area: what is like the face's skin, and more so than like hair."""
    of_skin = unlike(lab, skin)
    like = (of_skin < 9) & (lateral < NECK_HALF_WIDTH)
    if np.count_nonzero(hair) >= FEWEST_HAIRS:
        like &= of_skin < unlike(lab, hair) + NECK_FAVOUR * _fall(lateral, FAVOURED)
    opened = cv2.morphologyEx(like.astype(np.uint8), cv2.MORPH_OPEN, disc(4))
    return cv2.morphologyEx(largest_component(opened).astype(np.uint8), cv2.MORPH_CLOSE, disc(5)).astype(np.float32)


def _beside_the_hair(
    shown: Bool[np.ndarray, "h w"], height: Float[np.ndarray, "h w"], across: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """1 below the jaw further out than the hair is beside the face: long hair falls, what lies there is clothes."""
    beside = shown & (height > 0) & (height < HAIR_ABOVE)
    if not beside.any():
        return np.zeros(shown.shape, np.float32)
    left, right = float(across[beside].min()), float(across[beside].max())
    out = np.maximum(across - right, left - across)
    return (1 - _fall(out, FALLS)) * np.clip(-height / 0.05, 0, 1)


def _defringe(alpha, colour, points: Points2, cfg: TrimConfig) -> Float[np.ndarray, "h w 3"]:
    """Colours of the matte's rim around jaw and ears, taken from the nearest pixel further inside."""
    ruler = FaceRuler.of(points)
    height = ruler.heights(*alpha.shape)
    zone = np.clip((cfg.tuft_height + 0.05 - height) / 0.1, 0, 1) * np.clip(height / 0.06, 0, 1)
    box = bounds_of((zone > 0) & (alpha > 0), NEIGHBOURHOOD * ruler.width)
    if box is None:
        return colour
    area = np.s_[box[1] : box[3], box[0] : box[2]]
    core = cv2.erode((alpha[area] > 0.98).astype(np.uint8), disc(cfg.defringe * ruler.width)) > 0
    rim = ~core & (alpha[area] > 0) & (zone[area] > 0)
    if not rim.any() or not core.any():
        return colour
    _, nearest = nearest_known((~core).astype(np.uint8))
    inside = blur(colour[area], 0.008 * ruler.width).reshape(-1, 3)[nearest[rim]]
    weight = zone[area][rim][:, None]
    out = colour.copy()
    out[area][rim] = colour[area][rim] * (1 - weight) + inside * weight
    return out
