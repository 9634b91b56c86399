"""Photos as an output crop shows them: looked up through a map, and averaged."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.swap.embedded.compose import Box
from gswap.swap.embedded.photos import ReadyPhoto

NEGLIGIBLE = 0.02
"""Photos with less weight than this are left out of a cross-fade."""
OUTLINE_VOTE = 4
"""Exponent of the photos' weights where they vote on the outline: a minor photo leaves no ghost of its hair."""


class Warped(NamedTuple):
    """One photo as a crop shows it."""

    colour: Float[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 3"]
    matte: UInt8[np.ndarray, "h w"]

    def part(self, box: Box) -> Warped:
        """Inside a box of the crop."""
        x0, y0, x1, y1 = box
        return Warped(self.colour[y0:y1, x0:x1], self.matte[y0:y1, x0:x1])


def warp(photo: ReadyPhoto, mapping: Float[np.ndarray, "h w 2"]) -> Warped:
    """A photo through a map from output pixels to the photo's (:func:`~gswap.swap.embedded.densemap.detailed`)."""
    colour = look_up(photo.foreground, mapping, cv2.INTER_CUBIC)
    return Warped(colour, look_up(photo.alpha, mapping, cv2.INTER_LINEAR))


def shares(weights: Float[np.ndarray, "n"]) -> list[tuple[int, float]]:
    """Numbers of the photos whose weight matters, and their shares, which add up to 1."""
    numbers = np.flatnonzero(weights > NEGLIGIBLE)
    return [(int(i), float(weights[i] / weights[numbers].sum())) for i in numbers]


def mix(pieces: list[tuple[float, Warped]]) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Photos averaged by their shares: straight colour, alpha."""
    if len(pieces) == 1:
        return pieces[0][1].colour.astype(np.float32), np.divide(pieces[0][1].matte, 255, dtype=np.float32)
    votes = np.array([share for share, _ in pieces]) ** OUTLINE_VOTE
    size = pieces[0][1].matte.shape
    colour, alpha, total = (np.zeros(shape, np.float32) for shape in ((*size, 3), size, size))
    for (share, piece), vote in zip(pieces, votes / votes.sum(), strict=True):
        cover = piece.matte.astype(np.float32)
        weight = cover * np.float32(share / 255) + np.float32(1e-3 * share)  # colours stay defined without any photo
        colour += cv2.multiply(piece.colour, cv2.merge([weight] * 3), dtype=cv2.CV_32F)
        total += weight
        alpha += cover * np.float32(vote / 255)
    return cv2.divide(colour, cv2.merge([total] * 3)), alpha


def look_up(image: np.ndarray, mapping: Float[np.ndarray, "h w 2"], interpolation: int) -> np.ndarray:
    """Sample an 8-bit image at continuous coordinates; mattes are 0 outside, colours continue."""
    shifted = mapping - np.float32(0.5)
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return cv2.remap(image, shifted[..., 0], shifted[..., 1], interpolation, borderMode=border)
