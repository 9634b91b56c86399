"""Inside the eyelids: the iris moves rigidly, lids cover the eyeball instead of squeezing it, shut lids look shut."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.interpolate import RBFInterpolator

from gswap.foundation.geometry import similarity
from gswap.foundation.imaging import blur, fill_polygon, over, smooth_fill
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT
from gswap.swap.embedded.compose import to_image8
from gswap.swap.embedded.regions import LOG_FLOOR, Points2, luminance, mean_log, smooth_contour
from gswap.swap.embedded.retarget import EYES
from gswap.swap.embedded.warped import look_up

STIFFNESS = 0.5
"""Smoothing of the thin-plate spline, pixels squared."""
PATCH = 0.35
"""Kept around an eye's opening, eye widths."""
LIMBUS = (0.9, 1.5)
"""The iris ends between these distances, detected radii: detectors know a mean iris."""
USUAL_LIMBUS = 1.05
"""Where that cannot be seen."""
LIMBUS_STEP, SIDEWAYS = 0.05, 0.8
"""Steps in which its end is looked for, detected radii, and cosine of the directions: above and below lie the lids."""
CONTRAST = 4.0
"""Levels, from step to step, that tell the white from the iris."""
RIM = 0.14
"""Width of the iris's soft rim, iris radii."""
LASHES = 0.07
"""What lies this near to the lids is shaded by them, eye widths."""
FEWEST_WHITE = 6
"""With fewer pixels of the eye's white it is guessed from the brightest ones of the opening."""
RINGS = 6
"""Rings of the iris whose hidden parts take the mean colour of the seen ones."""
LID_PATCH = (0.56, 0.34, 0.20)
"""Half width, reach above and reach below the corners of the area of a shut lid, in eye widths."""
LID_FEATHER = 0.06
"""Gaussian that softens its edge, eye widths."""
BARELY_SHUT = 0.05
"""Below this the eye counts as open."""


class Eyeball(NamedTuple):
    """The inside of one eye of a photo, taken apart so that the iris can move over the white."""

    corner: tuple[int, int]
    """Left and upper edge of the pictures in the photo, pixels."""
    white: UInt8[np.ndarray, "h w 3"]
    """The photo without the iris."""
    iris: UInt8[np.ndarray, "h w 3"]
    """The photo with the whole iris, what the lids hide of it completed."""
    radius: float
    """Of the iris, pixels of the photo."""


def take_apart(image: UInt8[np.ndarray, "h w 3"], points: Points2) -> tuple[Eyeball, ...]:
    """Both eyeballs of a photo, right and left."""
    return tuple(_take_apart(image, points, contour, iris) for _, contour, iris in EYES)


def _take_apart(
    image: UInt8[np.ndarray, "h w 3"], points: Points2, contour: tuple[int, ...], iris: tuple[int, ...]
) -> Eyeball:
    lids = points[list(contour)]
    width = float(np.linalg.norm(lids[0] - lids[8]))
    limit = np.array([image.shape[1] - 1, image.shape[0] - 1])
    x0, y0 = np.clip(np.floor(lids.min(0) - PATCH * width), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(lids.max(0) + PATCH * width) + 1, 1, limit + 1).astype(int)
    patch = image[y0:y1, x0:x1].astype(np.float32)
    h, w = patch.shape[:2]
    opening = fill_polygon(smooth_contour(lids) - [x0, y0], h, w) > 0.5
    clear = cv2.distanceTransform(opening.view(np.uint8), cv2.DIST_L2, 5) / max(LASHES * width, 1.0)
    detected = max(float(np.linalg.norm(points[list(iris[1:])] - points[iris[0]], axis=1).mean()), 0.5)
    x = (np.arange(w) + 0.5 + x0 - points[iris[0], 0]) / detected
    y = (np.arange(h) + 0.5 + y0 - points[iris[0], 1]) / detected
    away = np.hypot(x[None], y[:, None])
    beside = (np.abs(x)[None] > SIDEWAYS * away) & (clear >= 0.5)
    limbus = _limbus(luminance(patch)[beside], away[beside])
    away = away / limbus
    white = to_image8(_without_iris(patch, opening, clear, away))
    return Eyeball((int(x0), int(y0)), white, to_image8(_completed(patch, clear >= 0.5, away)), limbus * detected)


def _limbus(light: Float[np.ndarray, "n"], away: Float[np.ndarray, "n"]) -> float:
    """Where the eye gets bright all at once, detected radii; ``away`` is the distance from the iris's centre."""
    edges = np.arange(LIMBUS[0] - 2 * LIMBUS_STEP, LIMBUS[1] + 2.5 * LIMBUS_STEP, LIMBUS_STEP)
    ring = np.digitize(away, edges) - 1
    inside = (ring >= 0) & (ring < len(edges) - 1)
    count = np.bincount(ring[inside], minlength=len(edges) - 1)
    mean = np.bincount(ring[inside], light[inside], len(edges) - 1) / np.maximum(count, 1)
    rise = np.where((count[2:] > 0) & (count[:-2] > 0), mean[2:] - mean[:-2], 0.0)
    best = int(rise.argmax())
    return float(edges[best + 1] + LIMBUS_STEP / 2) if rise[best] > CONTRAST else USUAL_LIMBUS


def _without_iris(
    patch: Float[np.ndarray, "h w 3"],
    opening: Bool[np.ndarray, "h w"],
    clear: Float[np.ndarray, "h w"],
    away: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """The patch with the white continued under the iris, darker next to the lids as the rest of it is.

    ``clear`` is the distance to the lids over that of their shade, ``away`` that to the iris's centre over its radius.
    """
    outside = 1 + 2 * RIM
    seen = (clear >= 1) & (away > outside)
    if seen.sum() < FEWEST_WHITE:
        light = luminance(patch)
        seen = opening & (light >= np.percentile(light[opening], 80)) if opening.any() else ~opening
    filled = smooth_fill(patch, ~seen)
    shaded = opening & (clear < 1) & (away > outside)
    if shaded.any() and seen.any():
        shade = (patch[shaded].mean(0) + 1) / (filled[shaded].mean(0) + 1)
        filled = filled * (1 + np.clip(1 - clear, 0, 1)[..., None] * (np.minimum(shade, 1) - 1))
    share = np.clip((outside - away) / RIM, 0, 1) * opening
    return over(filled.astype(np.float32), share.astype(np.float32), patch)


def _completed(
    patch: Float[np.ndarray, "h w 3"], seen: Bool[np.ndarray, "h w"], away: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """The patch with what is hidden of the iris in the mean colour of the same ring."""
    out = patch.copy()
    ring = np.minimum((away / (1 + RIM / 2) * RINGS).astype(int), RINGS)
    for k in range(RINGS):
        known = (ring == k) & seen
        if known.any():
            out[(ring == k) & ~seen] = patch[known].mean(0)
    return out


def eyeballs(
    points: Points2,
    photo_points: Points2,
    photo_eyes: tuple[Eyeball, ...],
    size: tuple[int, int],
    face_width: float,
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """The inside of both eye openings, and their soft area.

    The white goes with the lids (a thin-plate spline through their contour), the iris rigidly over it. Where the
    target's eye is less open than the photo's, the lid hides part of the eyeball: its contour aims at where it would
    lie on the photo's.

    Args:
        points: Landmarks in the output.
        photo_points: Landmarks in the photo.
        photo_eyes: The photo's eyes (:func:`take_apart`).
        size: Height and width of the output.
        face_width: Of the output's face, pixels.

    Returns:
        Levels (0 where the area is 0), and the area.
    """
    colour = np.zeros((*size, 3), np.float32)
    mask = np.zeros(size, np.float32)
    for eye, (_, contour, iris) in zip(photo_eyes, EYES, strict=True):
        goal = points[list(contour)]
        source = photo_points[list(contour)].copy()
        scale = float(np.linalg.norm(goal[0] - goal[8]) / np.linalg.norm(source[0] - source[8]))
        covered = source[0, 1] + (goal[:, 1] - goal[0, 1]) / scale
        source[9:, 1] = np.maximum(source[9:, 1], covered[9:])
        source[1:8, 1] = np.minimum(source[1:8, 1], covered[1:8])
        opening = blur(fill_polygon(smooth_contour(goal), *size), max(0.5, 0.003 * face_width))
        ys, xs = np.nonzero(opening > 0.01)
        if len(xs) < 4:
            continue
        box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        x, y = np.meshgrid(np.arange(xs.min(), xs.max() + 1) + 0.5, np.arange(ys.min(), ys.max() + 1) + 0.5)
        places = np.stack([x, y], -1)
        spline = RBFInterpolator(goal, source, kernel="thin_plate_spline", smoothing=STIFFNESS)
        with_lids = spline(places.reshape(-1, 2)).reshape(places.shape)
        from_iris = (places - points[iris[0]]) / scale
        away = np.linalg.norm(from_iris, axis=-1) / eye.radius
        share = np.clip((1 - away) / RIM + 0.5, 0, 1).astype(np.float32)
        white = look_up(eye.white, (with_lids - eye.corner).astype(np.float32), cv2.INTER_CUBIC)
        on_iris = (photo_points[iris[0]] + from_iris - eye.corner).astype(np.float32)
        ball = over(look_up(eye.iris, on_iris, cv2.INTER_CUBIC).astype(np.float32), share, white.astype(np.float32))
        colour[box] = np.where((opening[box] > mask[box])[..., None], ball, colour[box])
        mask[box] = np.maximum(mask[box], opening[box])
    return colour, mask


def shut_lids(
    colour: Float[np.ndarray, "h w 3"],
    target: Float[np.ndarray, "h w 3"],
    points: Points2,
    target_points: Points2,
    shut: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "h w"]:
    """Lay the target's shut lids, recoloured to the skin around the source's eye, over stretched ones (in place).

    Without a photo with shut eyes the lid's skin is not known; stretched from an open eye it looks painted. Lid,
    crease and lashes of the target are almost free of identity once their colour is the source's.

    Args:
        colour: The source's face in the output, float levels.
        target: The target's picture of the same pixels, float levels.
        points: Landmarks of the source's face in the output.
        target_points: Landmarks of the target's face in the output.
        shut: How much of each lid to replace, 0 to 1.

    Returns:
        Where something was replaced, 0 to 1.
    """
    h, w = colour.shape[:2]
    touched = np.zeros((h, w), np.float32)
    for amount, (_, contour, _), brow in zip(shut, EYES, (BROW_RIGHT, BROW_LEFT), strict=True):
        if amount < BARELY_SHUT:
            continue
        anchors = [*contour, *brow]
        scale, turn, shift = similarity(points[anchors], target_points[anchors])
        matrix = np.column_stack([scale * turn, shift + scale * turn @ [0.5, 0.5] - 0.5])
        donor = cv2.warpAffine(
            target, matrix, (w, h), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        np.clip(donor, 0, 255, out=donor)  # beside black, cubic interpolation falls below it
        outer, inner = points[contour[0]], points[contour[8]]
        width = float(np.linalg.norm(outer - inner))
        mask = _lid_area(outer, inner, points[list(contour)].mean(0), (h, w))
        ring = (blur(mask, 0.12 * width) > 0.1) & (mask < 0.2)
        gain = mean_log(colour, ring) - mean_log(donor, ring)
        soft = (blur(mask, LID_FEATHER * width) * amount)[..., None]
        lid = (donor + LOG_FLOOR) * np.exp(gain).astype(np.float32) - LOG_FLOOR
        colour *= 1 - soft
        colour += soft * lid
        touched = np.maximum(touched, soft[..., 0])
    return touched


def _lid_area(outer: np.ndarray, inner: np.ndarray, middle: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Half ellipses above and below the line between the corners."""
    width = float(np.linalg.norm(outer - inner))
    along = (inner - outer) / width
    up = np.array([along[1], -along[0]])
    up = up if up[1] < 0 else -up
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.where(np.sin(angle) > 0, LID_PATCH[1], LID_PATCH[2])
    rim = middle + width * (LID_PATCH[0] * np.cos(angle)[:, None] * along + (reach * np.sin(angle))[:, None] * up)
    return fill_polygon(rim, *size)
