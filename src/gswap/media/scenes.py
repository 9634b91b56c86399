"""Where a clip cuts from one shot to the next, and frames that repeat the one before.

A cut changes both what colours there are and where things are. Motion, however fast, keeps the colours; a flash or an
exposure jump keeps the structure, or is over a few frames later. So a boundary is a cut when the colour histogram and
the structure of a small picture change together, more than at the boundaries around it (or, in a jump cut within one
scene, the structure alone far more than nearby), and the old picture does not come back within :data:`FLASH_FRAMES`.
Dissolves and wipes are not cuts: they are left inside a shot.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.types import RgbImage, Shot

FLASH_FRAMES = 3
"""A picture that returns within so many frames was interrupted (flash, glitch), not cut."""
_THUMB = 32
_GRID = 16
_BINS = 8
_COLOUR_CHANGE = 0.20
"""Histogram distance (0 = same colours, 1 = none in common) that a cut to another scene exceeds."""
_STRUCTURE_CHANGE = 0.30
"""One minus the correlation of the small grey pictures that a cut exceeds."""
_STANDS_OUT = 2.0
"""How many times the change at a cut exceeds the median change around it."""
_JUMP_STANDS_OUT = 4.0
"""A jump cut keeps the colours: its change of structure exceeds the largest one nearby by this factor instead."""
_RETURNED = 0.5
"""A picture has returned when its change is below this part of the change at the boundary."""
_DUPLICATE_MEAN = 0.35
"""Mean absolute difference, in 8-bit levels, that coding alone leaves between two copies of a picture."""
_DUPLICATE_PEAK = 12
"""Levels: a blink or a twitch of the mouth exceeds this somewhere, over 5x5 pixels."""
_NEIGHBOURS = 6
_NEAR = 3


@dataclass(frozen=True)
class _Look:
    """What a frame looks like from afar."""

    colours: Float[np.ndarray, "n"]
    structure: Float[np.ndarray, "g g"]


class ShotDetector:
    """Finds cuts in one pass; memory does not grow with the clip.

    Call :meth:`feed` with every frame in order, then :meth:`shots` once.
    """

    def __init__(self) -> None:
        self._count = 0
        self._next = 1
        self._looks: deque[_Look] = deque(maxlen=2 * (FLASH_FRAMES + 1))
        self._changes: deque[tuple[float, float]] = deque(maxlen=2 * _NEIGHBOURS)
        self._cuts: list[int] = []

    def feed(self, rgb: RgbImage) -> None:
        """Look at the next frame."""
        look = _look(rgb)
        if self._looks:
            self._changes.append(_change(self._looks[-1], look))
        self._looks.append(look)
        self._count += 1
        if self._next + FLASH_FRAMES < self._count:
            self._decide()

    def shots(self) -> tuple[Shot, ...]:
        """The shots of all frames that were fed; at least one if there were any."""
        if self._count == 0:
            return ()
        while self._next < self._count:
            self._decide()
        bounds = [0, *self._cuts, self._count]
        return tuple(Shot(a, b) for a, b in itertools.pairwise(bounds))

    def _decide(self) -> None:
        """Note a cut before frame ``self._next``, if there is one."""
        boundary = self._next
        self._next += 1
        if not self._changes_at_once(boundary - 1 - (self._count - 1 - len(self._changes))):
            return
        start = self._count - len(self._looks)
        before = list(self._looks)[: boundary - start][-1 - FLASH_FRAMES :]
        after = list(self._looks)[boundary - start :][: 1 + FLASH_FRAMES]
        limit = _RETURNED * _change(before[-1], after[0])[1]
        returns = any(_change(before[-1], look)[1] < limit for look in after[1:])
        returned = any(_change(look, after[0])[1] < limit for look in before[:-1])
        if not returns and not returned:
            self._cuts.append(boundary)

    def _changes_at_once(self, place: int) -> bool:
        """Whether the change at ``place`` of the queue is that of a cut to another scene, or of a jump cut."""
        changes = np.array(self._changes)
        colour, structure = changes[place]
        if structure < _STRUCTURE_CHANGE:
            return False
        others = np.delete(changes, place, axis=0)
        usual = float(np.median(others.prod(axis=1))) if len(others) else 0.0
        if colour > _COLOUR_CHANGE and colour * structure > _STANDS_OUT * usual:
            return True
        near = [changes[i, 1] for i in range(max(place - _NEAR, 0), min(place + _NEAR + 1, len(changes))) if i != place]
        return bool(near) and structure > _JUMP_STANDS_OUT * max(near)


def scan(images: Iterable[RgbImage]) -> tuple[tuple[Shot, ...], Bool[np.ndarray, "t"]]:
    """The shots of a clip, and which of its frames repeat the one before, in one pass over its frames in order."""
    detector = ShotDetector()
    duplicate: list[bool] = []
    previous: RgbImage | None = None
    for rgb in images:
        detector.feed(rgb)
        duplicate.append(previous is not None and is_duplicate(previous, rgb))
        previous = rgb
    return detector.shots(), np.array(duplicate, bool)


def is_duplicate(previous: RgbImage, rgb: RgbImage) -> bool:
    """Whether a frame repeats the one before it, up to coding noise (telecine, screen capture, doubled rates)."""
    if previous.shape != rgb.shape:
        return False
    difference = cv2.absdiff(previous, rgb)
    return bool(difference.mean() < _DUPLICATE_MEAN and cv2.blur(difference, (5, 5)).max() < _DUPLICATE_PEAK)


def _look(rgb: RgbImage) -> _Look:
    small = cv2.resize(rgb, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    bins = [_BINS] * 3
    histogram = cv2.calcHist([small], [0, 1, 2], None, bins, [0, 256] * 3)
    # Half a bin of blur: a small change of exposure moves pixels to the next bin, not to another colour.
    for axis in range(3):
        padded = np.moveaxis(histogram, axis, 0)
        histogram = np.moveaxis(
            0.5 * padded
            + 0.25 * np.concatenate([padded[:1], padded[:-1]])
            + 0.25 * np.concatenate([padded[1:], padded[-1:]]),
            0,
            axis,
        )
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return _Look(histogram.ravel() / histogram.sum(), grey.astype(np.float64))


def _change(old: _Look, new: _Look) -> tuple[float, float]:
    """Change of colours in [0, 1] and of structure in [0, 2]."""
    colour = 1.0 - float(np.minimum(old.colours, new.colours).sum())
    a, b = old.structure - old.structure.mean(), new.structure - new.structure.mean()
    # One grey level of noise: flat pictures correlate with nothing, yet two flat pictures are alike.
    norm = np.sqrt(((a**2).mean() + 1.0) * ((b**2).mean() + 1.0))
    flat = 1.0 / norm
    return colour, 1.0 - float((a * b).mean() / norm + flat)
