"""Where the head may be edited, and how sure the fit is about a pixel. The same masks serve the fit and the render."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import FloatMask, blur, disc
from gswap.foundation.types import RgbImage, SoftMask

PRESENT = 24
"""A soft mask counts as present above this level (of 255)."""
REPLACED = 6
"""Levels by which the plate must differ from the target to count as replaced: more than rounding leaves."""
REACH = 0.021
"""M_inp reaches this far beyond head and neck, in units of the window's longer side."""
EDGE = 0.0063
"""The feather ends this far inside M_inp, in the same unit; its sigma is 0.8 of it."""
BACK_MARGIN = 4
"""Pixels around M_inp that the background loss leaves alone."""


def side(mask: np.ndarray) -> int:
    """Longer side of an image, the unit of the lengths here."""
    return max(mask.shape[:2])


def _edge(mask: np.ndarray) -> float:
    return max(EDGE * side(mask), 1.0)


def inpaint_mask(*matte: SoftMask, rgb: RgbImage, plate: RgbImage) -> SoftMask:
    """M_inp: the new and the old head and neck with a margin, and everything that the plate replaced (0 or 255).

    Args:
        matte: Mattes of the new and of the old head and neck.
        rgb: The target.
        plate: The target without its head; strands of hair that the mattes miss differ here.
    """
    union = np.maximum.reduce(matte)
    margin = 2 * max(round(REACH * side(union)), 1) + 1
    heads = cv2.dilate((union > PRESENT).astype(np.uint8), disc(margin))
    replaced = (cv2.absdiff(rgb, plate).max(2) > REPLACED).astype(np.uint8)
    replaced = cv2.dilate(replaced, disc(2 * round(2 * _edge(union)) + 1))
    return np.maximum(heads, replaced) * np.uint8(255)


def feather(hole: SoftMask) -> FloatMask:
    """Weight of the edited image: 1 inside M_inp, falling to 0 before its border; exactly 0 outside it."""
    edge = _edge(hole)
    inner = cv2.erode(hole, disc(2 * edge + 1)).astype(np.float32) / 255
    return np.where(hole > 0, blur(inner, 0.8 * edge), 0).astype(np.float32)


def union_matte(head: SoftMask, neck: SoftMask) -> SoftMask:
    """A_gen of a head and its neck."""
    return np.minimum(head.astype(np.uint16) + neck, 255).astype(np.uint8)


def torso(person: SoftMask, head: SoftMask, neck: SoftMask) -> FloatMask:
    """The part of the target person that the plate keeps: body and clothes without head and neck."""
    return person.astype(np.float32) / 255 * (1 - np.maximum(head, neck).astype(np.float32) / 255)


def head_gate(hole: SoftMask, body: Float[np.ndarray, "h w"], head: SoftMask, neck: SoftMask) -> FloatMask:
    """M_head of eq. 9: M_inp, but over the target's torso only where the new head or neck is.

    The neck ends at the collar exactly as its own matte does; hair and chin may lie on the clothes wherever they are,
    with a margin of two pixels in which their rendered alpha decides.

    Args:
        hole: M_inp.
        body: :func:`torso`.
        head: Matte of the new head.
        neck: Matte of the new neck.
    """
    near_head = cv2.dilate((head > 12).astype(np.uint8), disc(5)).astype(np.float32)
    allowed = np.maximum(near_head, neck.astype(np.float32) / 255)
    return (hole > 0) * (1 - body * (1 - allowed))


def mask_weight(body: Float[np.ndarray, "h w"], matte: SoftMask) -> FloatMask:
    """Weight of the mask loss: 0 on clothes, behind which the neck may go on unseen."""
    return np.where((body > 0.4) & (matte < 128), 0, 1).astype(np.float32)


def pixel_weight(matte: SoftMask, confidence: SoftMask, least: float) -> FloatMask:
    """Weight of a pixel of I_gen: the swapper's confidence inside the new head, 1 on the plate."""
    trust = np.maximum(confidence.astype(np.float32) / 255, least)
    return 1 - matte.astype(np.float32) / 255 * (1 - trust)


def outside(hole: SoftMask) -> FloatMask:
    """Where the background loss may look: well outside M_inp, where I_gen and I_tgt are the same picture."""
    return (cv2.dilate(hole, disc(2 * BACK_MARGIN + 1)) == 0).astype(np.float32)
