"""The neck: the target's own neck pixels in the source's complexion.

They touch the collar perfectly and carry the scene's real shadows; only what the target's chin hid is filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import median_filter

from gswap.foundation.imaging import blur, blur_wide, disc, fill_polygon, largest_component, over, smooth_fill
from gswap.foundation.landmarks import JAW
from gswap.swap.embedded.regions import LOG_FLOOR, FaceRuler, Points2, Turn, bounds_of, mean_log, oval_mask

HALF = 2
"""Masks and the smooth fill are computed at half the resolution."""
NECK_TOP, NECK_HALF_WIDTH = 0.12, 0.62
"""Where neck is looked for: below this height over the chin (face heights), this close to the axis (face widths)."""
FILL_TOP, FILL_HALF_WIDTH = 0.25, 0.5
"""Where the part hidden by the target's chin is filled."""
TURNED_FILL_TOP = 0.5
"""On the side that a turned head shows, the neck is filled up to its ear."""
LEAST_WIDTH = 0.8
"""A face counts as at least this wide for its height, however turned."""
SHADOW_REACH = 0.09
"""Gaps of the neck narrower than twice this are the chin's shadow, face widths."""
CHIN_MARGIN = 0.075
"""This close to the target's face its jaw line shows, and the neck is filled instead, face widths."""
EDGE = 0.03
"""Pixels this close to the neck's edge are not continued into what is filled, face widths."""
JAW_SLOPE = 0.3
"""How fast the neck's side may leave the new jaw, from the neck's upper end down; 0 = straight down the face's axis."""
SPREAD, EAR_LOBE = 0.1, 0.45
"""How fast a neck that is not seen any more gets wider towards its upper end, and where that is, face heights."""
WAIST, STEP = (-0.06, 0.1), 0.02
"""Range of heights about its last pixels in which a neck's narrowest place is looked for, in steps, face heights."""
FEWEST = 40
"""With fewer pixels on one side its edge is not measured."""
JAW_BAND = 0.02
"""Half the range of heights over which the jaw's width is read there, face heights."""
GREY_CHROMA = 6.0
"""Lab chroma (8-bit units) below which skin has no hue to compare by: grey pictures."""
RIM = 0.07
"""How far from the neck layer the target's skin may be left, face widths."""
TOLD_APART = 12.0
"""Levels between skin and cloth from which their mixture is told apart (fully from twice that)."""
LOWER_FACE = 0.35
"""Skin below this height gives the complexion, face heights."""


@dataclass(frozen=True)
class Neck:
    """The recoloured neck of one crop."""

    colour: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]
    filled: Float[np.ndarray, "h w"]
    """1 where the colour is not the target's but filled in."""
    beyond: Float[np.ndarray, "h w"]
    """1 where the target has head or neck outside the new neck's sides: the background belongs there."""
    scene: Float[np.ndarray, "h w 3"]
    """The target, its skin at the collar recoloured like the neck."""


def build_neck(
    target: UInt8[np.ndarray, "h w 3"],
    person: Float[np.ndarray, "h w"],
    target_points: Points2,
    head: tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"], Points2],
    target_skin: Bool[np.ndarray, "h w"],
    torso: Float[np.ndarray, "h w"],
) -> Neck:
    """Recolour the target's neck to the new head's lower face, and fill what its chin hid.

    Args:
        target: Target crop.
        person: Target's head and neck mask, [0, 1].
        target_points: Its landmarks.
        head: The relit head, its alpha, its skin, its landmarks.
        target_skin: The target's face skin.
        torso: Where the target wears something, [0, 1].
    """
    colour, head_alpha, skin, points = head
    image = target.astype(np.float32)
    ruler = FaceRuler.of(target_points)
    gain = mean_log(colour, _lower(skin, points)) - mean_log(target, _lower(target_skin, target_points))
    recoloured = _with_gain(target, gain)
    core, own, region = _areas(target, person, target_points, target_skin)
    region, beyond = _between_sides(core, region, head_alpha, target_points)
    if not core.any():
        empty = np.zeros(person.shape, np.float32)
        return Neck(recoloured, empty, empty, empty, image)
    edge = disc(EDGE * ruler.width / HALF)
    known = own & (cv2.erode(region.astype(np.uint8), edge) > 0)
    shown = blur(_enlarged(own, person.shape), 0.006 * ruler.width)
    _fill_hidden(recoloured, shown, known if known.any() else core, region)
    alpha = blur(cv2.dilate(_enlarged(region, person.shape), np.ones((3, 3), np.uint8)), 1.2)
    outside = blur(_enlarged(beyond, person.shape), 1.2) * person
    scene = recolour_rim(image, alpha, torso, gain, ruler.width)
    return Neck(recoloured, alpha, (1 - shown) * alpha, outside, scene)


def _with_gain(target: UInt8[np.ndarray, "h w 3"], gain: Float[np.ndarray, "3"]) -> Float[np.ndarray, "h w 3"]:
    """The picture with its colours multiplied by ``exp(gain)``, 8-bit levels."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = np.clip((levels + LOG_FLOOR) * np.exp(gain).astype(np.float32) - LOG_FLOOR, 0, 255)
    return cv2.LUT(target, table.reshape(256, 1, 3))


def _between_sides(
    core: Bool[np.ndarray, "h2 w2"],
    region: Bool[np.ndarray, "h2 w2"],
    head_alpha: Float[np.ndarray, "h w"],
    target_points: Points2,
) -> tuple[Bool[np.ndarray, "h2 w2"], Bool[np.ndarray, "h2 w2"]]:
    """The new neck, and what of the target's ``region`` lies outside its sides; both at half resolution."""
    ruler = FaceRuler.of(target_points, 1 / HALF)
    within, column = upright(core, region, ruler)
    if column.any():
        region = region | column
    else:  # a waist that is not seen on both sides tells nothing
        new_head = cv2.resize(head_alpha, core.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
        within = below_jaw(region, new_head, ruler, Turn.of(target_points / HALF, ruler))
    return region & within, region & ~within


def _fill_hidden(
    colour: Float[np.ndarray, "h w 3"],
    shown: Float[np.ndarray, "h w"],
    known: Bool[np.ndarray, "h2 w2"],
    region: Bool[np.ndarray, "h2 w2"],
) -> None:
    """Continue the neck's colours smoothly over what the target's chin hid, in place.

    Args:
        colour: The recoloured target.
        shown: Where it stays as it is, [0, 1].
        known: Where its colours are taken from, at half resolution.
        region: The whole neck, at half resolution.
    """
    x0, y0, x1, y1 = (HALF * side for side in bounds_of(region | known, 4) or (0, 0, 0, 0))
    box, small = np.s_[y0:y1, x0:x1], np.s_[y0 // HALF : y1 // HALF, x0 // HALF : x1 // HALF]
    coarse = cv2.resize(colour[box], known[small].shape[::-1], interpolation=cv2.INTER_AREA)
    fill = smooth_fill(coarse, ~known[small], smoothing=4, coarsest=1)
    fill = cv2.resize(fill, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    colour[box] = over(colour[box], shown[box], fill)


def _enlarged(mask: Bool[np.ndarray, "h2 w2"], shape: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
    """A mask of half resolution at ``shape`` (h, w), [0, 1]."""
    return cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_LINEAR)


def recolour_rim(
    image: Float[np.ndarray, "h w 3"],
    neck: Float[np.ndarray, "h w"],
    torso: Float[np.ndarray, "h w"],
    gain: Float[np.ndarray, "3"],
    width: float,
) -> Float[np.ndarray, "h w 3"]:
    """Recolour what is left of the target's skin between the neck's mask and the clothes.

    A pixel there is a mixture of the skin and the cloth beside it; only the skin's part changes.

    Args:
        image: Target crop.
        neck: Neck layer.
        torso: Clothes, [0, 1].
        gain: Log gain of the skin.
        width: Face width, pixels.
    """
    h, w = neck.shape
    rows, columns = np.flatnonzero((neck > 0.5).any(1)), np.flatnonzero((neck > 0.5).any(0))
    if not len(rows):
        return image
    reach = round(3 * RIM * width)
    y0, y1 = (int(np.clip(y, 0, h)) // 4 * 4 for y in (rows[0] - reach, rows[-1] + reach + 4))
    x0, x1 = (int(np.clip(x, 0, w)) // 4 * 4 for x in (columns[0] - reach, columns[-1] + reach + 4))
    box, size = np.s_[y0:y1, x0:x1], ((x1 - x0) // HALF, (y1 - y0) // HALF)
    small_neck = cv2.resize(neck[box], size, interpolation=cv2.INTER_AREA)
    solid = (small_neck > 0.5).astype(np.uint8)
    near = cv2.dilate(solid, disc(2 * RIM * width / HALF)) > 0
    small = cv2.resize(image[box], size, interpolation=cv2.INTER_AREA)
    inner = cv2.erode(solid, disc(RIM * width / HALF)).astype(np.float32)
    clothes = cv2.resize(torso[box], size, interpolation=cv2.INTER_AREA)
    skin, skin_near = _spread(small, inner, RIM * width)
    cloth, cloth_near = _spread(small, ((clothes > 0.9) & ~near).astype(np.float32), RIM * width)
    known = near & (skin_near > 1e-3) & (cloth_near > 1e-3)
    across = skin - cloth
    length = (across**2).sum(-1)
    known = known * np.clip(np.sqrt(length) / TOLD_APART - 1, 0, 1)
    across = across * (known / np.maximum(length, 1))[..., None]
    change = (skin + LOG_FLOOR) * (np.exp(gain).astype(np.float32) - 1)
    full = (x1 - x0, y1 - y0)
    cloth, across, change = (cv2.resize(x, full, interpolation=cv2.INTER_LINEAR) for x in (cloth, across, change))
    share = np.clip(np.einsum("hwc,hwc->hw", image[box] - cloth, across), 0, 1) * (neck[box] < 0.98)
    out = image.copy()
    out[box] = np.round(np.clip(image[box] + share[..., None] * change, 0, 255))
    return out


def _spread(image: np.ndarray, mask: Float[np.ndarray, "h w"], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Colours of a mask continued smoothly, and how much of the mask is near."""
    near = blur_wide(mask, sigma)
    total = blur_wide(image * cv2.merge([mask] * 3), sigma)
    return total / cv2.merge([np.maximum(near, 1e-6)] * 3), near


def upright(
    core: Bool[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"], ruler: FaceRuler
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Where a neck may be whose upper part the old jaw hid, and where it surely is behind the new one.

    From where it is narrowest, near the last that is seen of it, it goes on straight up to the ears, hardly wider: the
    old jaw's own sides are no neck.

    Args:
        core: Neck that is seen.
        region: All that could be neck.
        ruler: The target's.

    Returns:
        All that the sides leave, and the column between them.
    """
    height, lateral = ruler.grid(*core.shape)
    within, column = np.ones(core.shape, bool), height < EAR_LOBE
    slope = SPREAD * ruler.height / ruler.width
    for side in (-1, 1):
        seen = core & (side * lateral > 0)
        if np.count_nonzero(seen) < FEWEST:
            return within, np.zeros(core.shape, bool)
        top = float(np.partition(height[seen], -FEWEST // 2)[-FEWEST // 2])
        level, edge = _waist(height[region], (side * lateral)[region], top)
        inside = side * lateral <= edge + slope * np.maximum(height - level, 0)
        within &= inside | (height < level)
        column &= ((height > level) & inside) | (side * lateral <= 0)
    return within, column


def _waist(height: Float[np.ndarray, "n"], out: Float[np.ndarray, "n"], top: float) -> tuple[float, float]:
    """Height, near ``top``, at which an area reaches out least, and how far."""
    first, last = (round((top + end) / STEP) for end in WAIST)
    steps = np.floor(height / STEP).astype(int) - first
    edges = np.zeros(last - first)
    used = (steps >= 0) & (steps < len(edges))
    np.maximum.at(edges, steps[used], out[used])
    reached = np.flatnonzero(edges > 0)
    if not len(reached):
        return top, np.inf
    smooth = median_filter(edges[reached], 3, mode="nearest")  # a dent in the mask is no waist
    narrowest = int(smooth.argmin())
    return (first + int(reached[narrowest]) + 0.5) * STEP, float(smooth[narrowest])


def below_jaw(
    neck: Bool[np.ndarray, "h w"], new_head: Bool[np.ndarray, "h w"], ruler: FaceRuler, turn: Turn
) -> Bool[np.ndarray, "h w"]:
    """Where the neck of a new head may be: its sides come out from under the jaw and do not stick out with a corner.

    The old jaw may have been wider, and the area that it hid ends at one height.

    Args:
        neck: All that could be neck.
        new_head: The new head with its hair; long hair hides the sides.
        ruler: The target's.
        turn: Its turn: on the side that it shows, the back of the neck is seen, which no jaw covers.
    """
    h, w = neck.shape
    height, lateral = ruler.grid(h, w)
    slope = JAW_SLOPE * ruler.height / ruler.width
    within = np.ones((h, w), bool)
    for side in (-1, 1):
        bare = neck & ~new_head & (side * lateral > 0)
        if not bare.any():
            continue
        top = float(height[bare].max())
        level = new_head & (np.abs(height - top) < JAW_BAND)
        if level.any():
            jaw = float((side * lateral[level]).max()) + (turn.amount if side == turn.side else 0)
            within &= side * lateral <= np.maximum(jaw + slope * (top - height), 0)
    return within


def _lower(skin: Bool[np.ndarray, "h w"], points: Points2) -> Bool[np.ndarray, "h w"]:
    low = skin & (FaceRuler.of(points).heights(*skin.shape) < LOWER_FACE)
    return low if np.count_nonzero(low) >= 50 else skin


def _areas(target, person, points, skin) -> tuple[Bool[np.ndarray, "h2 w2"], ...]:
    """Half-resolution masks: surely neck skin; where the target's own pixels are shown; the whole neck."""
    h, w = person.shape
    size = (w // HALF, h // HALF)
    small = cv2.resize(target, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(person, size, interpolation=cv2.INTER_AREA) > 0.5
    scaled = points / HALF
    ruler = FaceRuler.of(points, 1 / HALF)
    height, lateral, fill_top = _neck_axes(scaled, ruler, size)
    face = oval_mask(scaled, size[1], size[0])
    seen = inside & (face < 0.02) & (height < fill_top - FILL_TOP + NECK_TOP) & (lateral < NECK_HALF_WIDTH)
    seen = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    face_skin = cv2.resize(skin.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    skin_coloured = _like_skin(lab, _lower(face_skin, scaled))
    core = seen & skin_coloured
    kernel = disc(0.03 * ruler.width)
    core = cv2.morphologyEx(largest_component(core).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    behind = np.zeros(core.shape, bool)
    ys, xs = np.nonzero(core)
    if len(xs) > 10:
        jaw = JAW[1:-1] if fill_top.max() > FILL_TOP else JAW[4:-4]
        corners = np.vstack([np.stack([xs, ys], -1)[::3] + 0.5, scaled[list(jaw)]])
        outline = cv2.convexHull(corners.astype(np.float32))[:, 0]
        behind = fill_polygon(outline, size[1], size[0]) > 0.5
    core = cv2.morphologyEx(core, cv2.MORPH_OPEN, kernel) > 0
    chin = cv2.dilate((face > 0.02).astype(np.uint8), disc(0.03 * ruler.width)) > 0
    nape = (fill_top > FILL_TOP) & (height > FILL_TOP - NECK_TOP)
    hidden = behind & inside & (height < fill_top) & (lateral < FILL_HALF_WIDTH) & (chin | skin_coloured | nape)
    region = cv2.morphologyEx((core | hidden).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    shadow = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, disc(SHADOW_REACH * ruler.width)) > 0
    region |= shadow & behind & inside
    below_chin = cv2.dilate((face > 0.02).astype(np.uint8), disc(2 * CHIN_MARGIN * ruler.width)) == 0
    own = (cv2.dilate(core.astype(np.uint8), disc(0.03 * ruler.width)) > 0) & below_chin
    return core, own, region


def _neck_axes(points: Points2, ruler: FaceRuler, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pixel: height over the chin, distance from the neck's axis, height up to which the neck is filled.

    The neck of a turned head is not under its chin but under its jaw corners, meets the near jaw up to the ear, and is
    seen as far as its nape.
    """
    w, h = size
    height, lateral = ruler.grid(h, w)
    turn = Turn.of(points, ruler)
    fill_top = np.where(
        turn.side * lateral > 0, FILL_TOP + turn.amount * (TURNED_FILL_TOP - FILL_TOP), np.float32(FILL_TOP)
    )
    width = max(ruler.width, LEAST_WIDTH * ruler.height) / ruler.width
    away = np.abs(lateral - turn.axis) / width
    shown = turn.side * (lateral - turn.axis) > 0
    return height, np.where(shown, away / (1 + turn.amount), away), fill_top


def _like_skin(lab: Float[np.ndarray, "h w 3"], skin: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels of the face skin's hue, in light or shadow."""
    middle = np.median(lab[skin] if skin.any() else lab.reshape(-1, 3), axis=0)
    tint = middle[1:] - 128
    chroma = float(np.linalg.norm(tint))
    light, a, b = cv2.split(lab)
    near = (np.abs(light - middle[0]) < 90) & (np.hypot(a - middle[1], b - middle[2]) < 0.5 * chroma + 4)
    if chroma < GREY_CHROMA:
        return near
    return near & ((a - 128) * tint[0] + (b - 128) * tint[1] > 0.45 * chroma**2)
