"""Which pixels lose the old head: the plate's hole, and the mask M_inp within which the result may differ."""

from __future__ import annotations

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
    if not mask.any():
        return mask.copy()
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= distance


def clothes_mask(masks: Masks, landmarks: Float[np.ndarray, "478 3"]) -> Bool[np.ndarray, "h w"]:
    """The person's pixels below the jaw that are neither head nor neck."""
    unit = face_unit(landmarks)
    height, _ = face_axes(landmarks, masks.person.shape)
    rest = masks.person.astype(np.int16) - masks.head - masks.neck
    clothes = ((rest > 127) & (height < _SHOULDER_HEIGHT)).astype(np.uint8)
    clothes = cv2.morphologyEx(clothes, cv2.MORPH_OPEN, disc(0.03 * unit))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(clothes)
    large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] > _SMALLEST_CLOTHES * unit * unit) + 1
    return np.isin(pieces, large)


def hole_mask(masks: Masks, landmarks: Float[np.ndarray, "478 3"], cfg: PlateConfig) -> Bool[np.ndarray, "h w"]:
    """The pixels that the plate replaces: head and neck, generously around the hair, tightly along the clothes.

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
    wide = within(core, cfg.dilation * unit)
    clothes = clothes_mask(masks, landmarks)
    remnants = (masks.person > _TRACE) & within(core, _REMNANT_REACH * unit) & (height > _SHOULDER_HEIGHT)
    tight = within(core, _TIGHT * unit)
    along_clothes = within(clothes, cfg.dilation * unit) & (height < _SHOULDER_HEIGHT)
    return np.where(along_clothes, tight, wide | remnants)


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
