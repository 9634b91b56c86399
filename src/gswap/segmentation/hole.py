"""Which pixels lose the old head: the plate's hole, and the mask M_inp within which the result may differ."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.imaging import disc, fill_polygon
from gswap.foundation.landmarks import OVAL
from gswap.foundation.types import Masks, SoftMask
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.layout import face_axes, face_unit

_TRACE = 30
"""A soft mask above this (of 255) still holds something of the head."""
_SHOULDER_HEIGHT = 0.3
"""Face units over the chin: clothes do not reach higher."""
_TIGHT = 0.012
"""Face units: how far the hole reaches into clothes; the collar stays."""
_REMNANT_REACH = 0.3
"""Face units around the head within which stray pieces of the person (fly-away hair) go too."""
_SMALLEST_CLOTHES = 0.05
"""Clothes smaller than this many square face units are a mistake of the masks."""


def within(mask: Bool[np.ndarray, "h w"], distance: float) -> Bool[np.ndarray, "h w"]:
    """The pixels at most ``distance`` pixels from the mask; as fast for large distances as for small ones."""
    return distance_to(mask) <= distance


def distance_to(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Pixels from every pixel to the mask; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)


def surroundings(mask: Bool[np.ndarray, "h w"], margin: float) -> tuple[slice, slice]:
    """Rows and columns of a mask and ``margin`` pixels around it, as far as the image reaches.

    Those of an empty mask are a corner of the image.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    reach = int(np.ceil(margin))
    return slice(max(y - reach, 0), y + height + reach), slice(max(x - reach, 0), x + width + reach)


@dataclass(frozen=True)
class HeadRegion:
    """What the plate replaces in one work image, and what lies around it. Made by :func:`head_region`."""

    hole: Bool[np.ndarray, "h w"]
    clothes: Bool[np.ndarray, "h w"]
    """The person's pixels below the jaw that are neither head nor neck."""
    height: Float[np.ndarray, "h w"]
    """Height over the chin, in face units."""
    unit: float
    """Face unit in pixels."""


def _clothes(masks: Masks, low: Bool[np.ndarray, "h w"], unit: float) -> Bool[np.ndarray, "h w"]:
    out = np.zeros_like(low)
    opening = disc(0.03 * unit)
    box = surroundings(low, len(opening))
    rest = cv2.subtract(cv2.subtract(masks.person[box], masks.head[box]), masks.neck[box])
    clothes = cv2.morphologyEx(((rest > 127) & low[box]).view(np.uint8), cv2.MORPH_OPEN, opening)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(clothes)
    large = stats[:, cv2.CC_STAT_AREA] > _SMALLEST_CLOTHES * unit * unit
    large[0] = False
    out[box] = large.take(np.asarray(pieces, np.int32))
    return out


def head_region(masks: Masks, landmarks: Float[np.ndarray, "478 3"], cfg: PlateConfig) -> HeadRegion:
    """Head and neck, generously around the hair, tightly along the clothes.

    Args:
        masks: Of one work image.
        landmarks: In pixels of that image.
        cfg: Its ``dilation`` is the generosity.
    """
    unit = face_unit(landmarks)
    shape = masks.head.shape
    height, _ = face_axes(landmarks, shape)
    face = fill_polygon(landmarks[list(OVAL), :2], shape[0], shape[1]) > 0.5
    core = (masks.head > _TRACE) | (masks.neck > _TRACE) | face
    low = height < _SHOULDER_HEIGHT
    clothes = _clothes(masks, low, unit)
    box = surroundings(core, max(_REMNANT_REACH, 2 * cfg.dilation) * unit)
    from_core = distance_to(core[box])
    remnants = (masks.person[box] > _TRACE) & (from_core <= _REMNANT_REACH * unit) & (height[box] > _SHOULDER_HEIGHT)
    along_clothes = low[box] & (distance_to(clothes[box]) <= cfg.dilation * unit)
    wide = (from_core <= cfg.dilation * unit) | remnants
    hole = np.zeros(shape, bool)
    hole[box] = np.where(along_clothes, from_core <= _TIGHT * unit, wide)
    return HeadRegion(hole, clothes, height, unit)


def hole_mask(masks: Masks, landmarks: Float[np.ndarray, "478 3"], cfg: PlateConfig) -> Bool[np.ndarray, "h w"]:
    """The pixels that the plate replaces (see :func:`head_region`)."""
    return head_region(masks, landmarks, cfg).hole


def inpaint_mask(
    generated_head: SoftMask, masks: Masks, landmarks: Float[np.ndarray, "478 3"], cfg: PlateConfig | None = None
) -> SoftMask:
    """M_inp: where I_out may differ from the target, 255 inside (binary).

    It holds the new head (of I_gen), the old head and neck, a margin around them, and the plate's hole.

    Args:
        generated_head: Alpha of head and neck of I_gen.
        masks: The target's masks.
        landmarks: The target's, in pixels of the work image.
        cfg: Its ``dilation`` is the margin.
    """
    cfg = cfg or PlateConfig()
    together = np.maximum(np.maximum(generated_head, masks.head), masks.neck)
    dilated = within(together > _TRACE // 3, cfg.dilation * face_unit(landmarks))
    return np.where(dilated | hole_mask(masks, landmarks, cfg), 255, 0).astype(np.uint8)
