"""Inside the eyelids: the iris moves rigidly, lids cover the eyeball instead of squeezing it, shut lids look shut."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator

from gswap.foundation.geometry import similarity
from gswap.foundation.imaging import blur, fill_polygon
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT
from gswap.swap.embedded.regions import LOG_FLOOR, Points2, mean_log, smooth_contour
from gswap.swap.embedded.retarget import EYES

IRIS_STENCIL = 0.9 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
"""Points, in iris radii, that move with the iris."""
STIFFNESS = 0.5
"""Smoothing of the thin-plate spline, pixels squared."""
LID_PATCH = (0.56, 0.34, 0.20)
"""Half width, reach above and reach below the corners of the area of a shut lid, in eye widths."""
LID_FEATHER = 0.06
"""Gaussian that softens its edge, eye widths."""
BARELY_SHUT = 0.05
"""Below this the eye counts as open."""


def eyeball_layer(
    points: Points2, photo_points: Points2, size: tuple[int, int], face_width: float
) -> tuple[Float[np.ndarray, "h w 2"], Float[np.ndarray, "h w"]]:
    """Where to look up the inside of both eye openings in the photo, and their soft area.

    A thin-plate spline through the lid contour and five points that carry the iris. Where the target's eye is less
    open than the photo's, the lid hides part of the eyeball: its contour aims at where it would lie on the photo's.

    Args:
        points: Landmarks in the output.
        photo_points: Landmarks in the photo.
        size: Height and width of the output.
        face_width: Of the output's face, pixels.

    Returns:
        Continuous photo coordinates (0 where the mask is 0), and the mask.
    """
    mapping = np.zeros((*size, 2), np.float32)
    mask = np.zeros(size, np.float32)
    for _, contour, iris in EYES:
        goal = points[list(contour)]
        source = photo_points[list(contour)].copy()
        centre = photo_points[iris[0]]
        radius = float(np.linalg.norm(photo_points[list(iris[1:])] - centre, axis=1).mean())
        scale = float(np.linalg.norm(goal[0] - goal[8]) / np.linalg.norm(source[0] - source[8]))
        covered = source[0, 1] + (goal[:, 1] - goal[0, 1]) / scale
        source[9:, 1] = np.maximum(source[9:, 1], covered[9:])
        source[1:8, 1] = np.minimum(source[1:8, 1], covered[1:8])
        opening = blur(fill_polygon(smooth_contour(goal), *size), max(0.5, 0.003 * face_width))
        ys, xs = np.nonzero(opening > 0.01)
        if len(xs) < 4:
            continue
        knots = np.vstack([goal, points[iris[0]] + IRIS_STENCIL * radius * scale])
        values = np.vstack([source, centre + IRIS_STENCIL * radius])
        spline = RBFInterpolator(knots, values, kernel="thin_plate_spline", smoothing=STIFFNESS)
        mapping[ys, xs] = spline(np.stack([xs, ys], -1) + 0.5)
        mask = np.maximum(mask, opening)
    return mapping, mask


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
