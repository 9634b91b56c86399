"""The area to generate anew (Sec. III-B, Fig. 4 of arXiv 2603.23168).

It must cover the target's head and neck, and leave room for the shape of the new head: the head mask of a coarse
reenactment, warped by the five face points between the reenacted head and the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes

from gswap.foundation.geometry import similarity
from gswap.foundation.imaging import disc, largest_component
from gswap.foundation.landmarks import FIVE_POINTS
from gswap.foundation.types import RgbImage, SoftMask

INSIDE = 127
"""Mask level above which a pixel counts."""
REFERENCE_SIDE = 512
"""Side of the picture in which the configuration's pixels are meant."""

Landmarks2 = Float[np.ndarray, "478 2"]


@dataclass(frozen=True)
class Reenactment:
    """A coarse picture of the new head in a frame's pose and expression. Only its shape is trusted."""

    rgb: RgbImage
    head: SoftMask
    """Hair, face, ears."""
    landmarks: Landmarks2
    """In pixels of ``rgb``."""


class Reenactor(Protocol):
    """Makes the reenactment of a frame."""

    def __call__(self, t: int, /) -> Reenactment:
        """Reenactment of frame ``t``; its picture need not be aligned with the frame."""
        ...


def five_point_warp(source: Landmarks2, target: Landmarks2) -> Float[np.ndarray, "2 3"]:
    """Least-squares similarity from one face's five points to another's, continuous coordinates.

    Four degrees of freedom: an affine map would shear profile views.
    """
    scale, rotation, shift = similarity(source[list(FIVE_POINTS)], target[list(FIVE_POINTS)])
    return np.column_stack([scale * rotation, shift])


def apply(matrix: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Points through an affine map."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp_image(image: np.ndarray, matrix: Float[np.ndarray, "2 3"], width: int, height: int) -> np.ndarray:
    """An image through an affine map of continuous coordinates; masks are 0 outside, colours continue."""
    centred = matrix.copy()
    centred[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return cv2.warpAffine(image, centred, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)


def place(reenactment: Reenactment, target: Landmarks2, width: int, height: int) -> Reenactment:
    """The reenactment moved onto the target's face by the five points, in the target's image."""
    matrix = five_point_warp(reenactment.landmarks, target)
    return Reenactment(
        warp_image(reenactment.rgb, matrix, width, height),
        warp_image(reenactment.head, matrix, width, height),
        apply(matrix, reenactment.landmarks),
    )


def vote(heads: Sequence[SoftMask], landmarks: Sequence[Landmarks2], middle: int) -> Bool[np.ndarray, "h w"]:
    """Majority of neighbouring frames' head masks, each moved onto the middle frame by its five points."""
    height, width = heads[middle].shape
    votes = np.zeros((height, width), np.int32)
    for head, points in zip(heads, landmarks, strict=True):
        votes += warp_image(head, five_point_warp(points, landmarks[middle]), width, height) > INSIDE
    return votes * 2 > len(heads)


def inpaint_area(
    new_head: Bool[np.ndarray, "h w"], head: SoftMask, neck: SoftMask, person: SoftMask, dilation: float
) -> Bool[np.ndarray, "h w"]:
    """M_inp of one frame: both heads dilated, and the neck, but no clothes and nothing in front of the head.

    Args:
        new_head: The warped head of the reenactment.
        head: The target's head.
        neck: The target's neck.
        person: The target's person.
        dilation: By how many pixels of the image the heads grow.
    """
    heads = new_head | (head > INSIDE)
    grown = cv2.dilate(heads.astype(np.uint8), disc(2 * dilation + 1)) > 0
    kept = (person > INSIDE) & (np.maximum(head, neck) <= INSIDE) & ~new_head
    whole = grown | (neck > INSIDE)
    return largest_component(np.asarray(binary_fill_holes(whole)) & ~kept)
