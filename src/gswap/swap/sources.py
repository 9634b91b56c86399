"""The photos as the generator learns them (Sec. III-B): one person on the target's background, clothes neutralised.

What surrounds the head must not be learnt with it. The person is put before the target's own clean background, and
the clothes have no weight in the loss. The paper lets a diffusion model remove the clothes instead; this program makes
no nude picture of anybody, and needs none: what has no weight cannot leak.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import over, smooth_fill
from gswap.foundation.types import PhotoSet, RgbImage, SoftMask
from gswap.swap.framing import Framing, frame_head

HOLE_MARGIN = 0.02
"""The person is cut from the background with this margin, in shares of the picture's side."""
GREY = 128


@dataclass(frozen=True)
class SourcePicture:
    """One photo, ready to be learnt: all parts in the photo's own pixels, with the square that is used of it."""

    rgb: RgbImage
    person: SoftMask
    head: SoftMask
    """Hair, face, ears, neck."""
    landmarks: Float[np.ndarray, "478 2"]
    framing: Framing


@dataclass(frozen=True)
class LossWeights:
    """Weights of the masked loss."""

    background: float
    clothes: float


def source_pictures(photos: PhotoSet, landmarks: Float[np.ndarray, "n 478 3"], ratio: float) -> list[SourcePicture]:
    """The photos with their squares.

    Args:
        photos: The photos with their masks.
        landmarks: Their landmarks in their own pixels.
        ratio: Side of the square in units of the head's larger extent (as for the target).
    """
    pictures = []
    for i, rgb in enumerate(photos.rgb):
        head, person = photos.head[i], np.maximum(photos.person[i], photos.head[i])
        points = landmarks[i, :, :2]
        pictures.append(SourcePicture(rgb, person, head, points, frame_head(head, points, ratio)))
    return pictures


def clean_background(plate: RgbImage, person: SoftMask, framing: Framing, size: int) -> RgbImage:
    """The target's background as the generator sees it, without anybody in it.

    Args:
        plate: A frame without head and neck.
        person: The person in that frame; what is left of them is filled in from around.
        framing: The square of that frame.
        size: Side of the result, pixels.
    """
    hole = framing.cut(person, size) > 0
    grown = cv2.dilate(hole.astype(np.uint8), _margin(size)) > 0
    picture = framing.cut(plate, size).astype(np.float32)
    if grown.all():
        return np.full((size, size, 3), GREY, np.uint8)
    return np.round(smooth_fill(picture, grown)).clip(0, 255).astype(np.uint8)


def _margin(size: int) -> np.ndarray:
    side = 2 * round(HOLE_MARGIN * size) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def training_picture(source: SourcePicture, framing: Framing, size: int, background: RgbImage | None) -> RgbImage:
    """The person of a photo in a square of it, before the target's background (``None`` = before the photo's own)."""
    rgb = framing.cut(source.rgb, size)
    if background is None:
        return rgb
    person = framing.cut(source.person, size).astype(np.float32) / 255
    return np.round(over(rgb.astype(np.float32), person, background.astype(np.float32))).clip(0, 255).astype(np.uint8)


def loss_weight(source: SourcePicture, framing: Framing, size: int, weights: LossWeights) -> Float[np.ndarray, "s s"]:
    """What of the picture is learnt: 1 on head, hair, ears and neck, less on the background, nothing of the clothes."""
    head = framing.cut(source.head, size).astype(np.float32) / 255
    person = framing.cut(source.person, size).astype(np.float32) / 255
    below = person * weights.clothes + (1 - person) * weights.background
    return head + (1 - head) * below
