"""How far heads reach beyond their skulls in the photos, and what only one of the photos says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.swap.embedded.lift import Lifted, to_image
from gswap.swap.embedded.photos import ReadyPhoto
from gswap.swap.embedded.regions import Points2

RADIAL_BINS = 72
"""Directions in the image in which the hair's outline is measured."""
FEWEST_PHOTOS = 3
"""With fewer photos none of them is doubted."""
LEAK = (1.06, 1.12)
"""How far a matte may reach, in usual reaches, before it fades, and where it ends."""
ABOVE = 0.2
"""Sine of the elevation over the head's centre from which directions are compared: hair below falls as it likes."""


@dataclass(frozen=True)
class Head:
    """A rigid head: skull of the fitted body, with or without the hair."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    centre: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Reach:
    """How far head and skull reach from the head's centre in one photo, in every direction."""

    middle: Float[np.ndarray, "2"]
    """The head's centre, pixels."""
    direction: Int[np.ndarray, "v"]
    """Of the skull's vertices, an index."""
    distance: Float[np.ndarray, "v"]
    """Of the skull's vertices, pixels."""
    skull: Float[np.ndarray, "k"]
    outline: Float[np.ndarray, "k"]

    @classmethod
    def of_all(cls, skull: Head, people: Lifted, photos: Sequence[ReadyPhoto]) -> list[Reach]:
        """Measure every photo."""
        return [cls.of(skull, people, i, photo) for i, photo in enumerate(photos)]

    @classmethod
    def of(cls, skull: Head, people: Lifted, i: int, photo: ReadyPhoto) -> Reach:
        """Measure photo ``i``."""
        pose = people.rotation[i], people.translation[i], photo.camera
        middle = to_image(skull.centre[None], *pose)[0][0]
        offsets = to_image(skull.vertices, *pose)[0] - middle
        direction, distance = directions(offsets), np.hypot(*offsets.T)
        reach = np.zeros(RADIAL_BINS)
        np.maximum.at(reach, direction, distance)
        return cls(middle, direction, distance, reach, _outline(photo.alpha, middle))

    @property
    def ratio(self) -> Float[np.ndarray, "k"]:
        """The head's reach in those of the skull."""
        return self.outline / np.maximum(self.skull, 1)


def directions(offsets: Float[np.ndarray, "... 2"]) -> Int[np.ndarray, "..."]:
    """Index of the direction of offsets in the image."""
    angle = np.arctan2(offsets[..., 1], offsets[..., 0])
    return np.floor((angle / (2 * np.pi) % 1) * RADIAL_BINS).astype(int) % RADIAL_BINS


def usual_reach(reaches: Sequence[Reach], mirrored: Bool[np.ndarray, "m"]) -> Float[np.ndarray, "m k"] | None:
    """The median reach of a person's head in skulls, as pictures show it; ``None`` with few photos.

    Args:
        reaches: Of the photos.
        mirrored: Which of the pictures that are asked about are seen in a mirror.
    """
    if len(reaches) < FEWEST_PHOTOS:
        return None
    usual = np.median([reach.ratio for reach in reaches], axis=0)
    turned = usual[(RADIAL_BINS // 2 - 1 - np.arange(RADIAL_BINS)) % RADIAL_BINS]
    return np.where(mirrored[:, None], turned, usual)


def leakage(reaches: Sequence[Reach], usual: Float[np.ndarray, "n k"] | None) -> Float[np.ndarray, "n"]:
    """How far each matte sticks out above its head, in shares of the usual reach, on average; 0 with few photos."""
    if usual is None:
        return np.zeros(len(reaches))
    above = np.sin(2 * np.pi * (np.arange(RADIAL_BINS) + 0.5) / RADIAL_BINS) < -ABOVE
    ratios = np.stack([reach.ratio for reach in reaches])
    return np.maximum(ratios / np.maximum(usual, 1e-3) - LEAK[0], 0)[:, above].mean(1)


def without_leaks(
    photos: Sequence[ReadyPhoto], reaches: Sequence[Reach], usual: Float[np.ndarray, "n k"] | None
) -> list[ReadyPhoto]:
    """Cut from the mattes what sticks out above a head in one photo only: background of the hair's colour.

    Args:
        photos: The photos.
        reaches: Theirs.
        usual: See :func:`usual_reach`.
    """
    if usual is None:
        return list(photos)
    return [_without_leak(*one) for one in zip(photos, reaches, usual, strict=True)]


def _without_leak(photo: ReadyPhoto, reach: Reach, usual: Float[np.ndarray, "k"]) -> ReadyPhoto:
    limit = usual * reach.skull
    if not (reach.outline > LEAK[0] * limit).any():
        return photo
    h, w = photo.alpha.shape
    x, y = np.arange(w) + 0.5 - reach.middle[0], np.arange(h) + 0.5 - reach.middle[1]
    x, y = np.broadcast_arrays(x[None], y[:, None])
    far = np.hypot(x, y)
    turn = (np.arctan2(y, x) / (2 * np.pi) % 1) * RADIAL_BINS
    here = np.interp(turn, np.arange(RADIAL_BINS) + 0.5, limit, period=RADIAL_BINS)
    kept = np.clip((LEAK[1] - far / np.maximum(here, 1)) / (LEAK[1] - LEAK[0]), 0, 1)
    kept[y > -ABOVE * far] = 1
    return replace(photo, alpha=np.round(photo.alpha * kept).astype(np.uint8))


def _outline(alpha: np.ndarray, middle: Points2) -> Float[np.ndarray, "k"]:
    """Distance from ``middle`` to the last solid pixel, per direction, smoothed."""
    ys, xs = np.nonzero(alpha[::2, ::2] > 127)
    offsets = np.stack([2 * xs + 0.5 - middle[0], 2 * ys + 0.5 - middle[1]], -1)
    reach = np.zeros(RADIAL_BINS)
    np.maximum.at(reach, directions(offsets), np.hypot(*offsets.T))
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.convolve(np.pad(reach, 2, mode="wrap"), kernel, mode="valid")
