"""Cuts and repeated frames, found while a clip is read once."""

from __future__ import annotations

import cv2
import numpy as np

from gswap.foundation.types import RgbImage, Shot

GRID = 48
"""Side of the small picture in which frames are compared, in pixels."""
BINS = 8
HISTOGRAM_JUMP = 0.28
"""Half the L1 distance of colour histograms above which two frames may belong to different shots."""
PICTURE_JUMP = 22.0
"""Mean absolute difference of the small pictures, in 8-bit levels, above which they may."""
PROMINENCE = 2.5
"""A cut stands out from the changes around it by this factor; fast motion and flicker do not."""
NEIGHBOURHOOD = 3
"""Frames on either side against which a change must stand out."""
DUPLICATE_LEVELS = 0.35
"""Mean absolute difference, in 8-bit levels, below which a frame repeats the one before it."""
_DUPLICATE_PEAK = 12


class ShotDetector:
    """Collects the frames of a clip in order, then tells its shots. A flash of up to two frames is no cut."""

    def __init__(self) -> None:
        self._pictures: list[np.ndarray] = []
        self._histograms: list[np.ndarray] = []

    def feed(self, rgb: RgbImage) -> None:
        """Add the next frame; a few kilobytes of it are kept."""
        small = cv2.resize(rgb, (GRID, GRID), interpolation=cv2.INTER_AREA)
        histogram = cv2.calcHist([small], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel()
        self._pictures.append(small)
        self._histograms.append(cv2.GaussianBlur(histogram.reshape(-1, 1), (1, 3), 0).ravel() / small[..., 0].size)

    def shots(self) -> tuple[Shot, ...]:
        """The shots of everything fed so far; one shot when there is no cut, none when nothing was fed."""
        count = len(self._pictures)
        if not count:
            return ()
        starts = [0, *(t for t in range(1, count) if self._is_cut(t))]
        return tuple(Shot(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True))

    def _change(self, a: int, b: int) -> tuple[float, float]:
        picture = np.abs(self._pictures[a].astype(np.int16) - self._pictures[b]).mean()
        histogram = np.abs(self._histograms[a] - self._histograms[b]).sum() / 2
        return float(picture), float(histogram)

    def _is_cut(self, t: int) -> bool:
        picture, histogram = self._change(t - 1, t)
        if picture < PICTURE_JUMP or histogram < HISTOGRAM_JUMP:
            return False
        count = len(self._pictures)
        for later in range(t + 1, min(t + 3, count)):
            back, colours = self._change(t - 1, later)
            if back < PICTURE_JUMP / 2 and colours < HISTOGRAM_JUMP:
                return False  # the picture comes back: a flash
        for earlier in range(max(t - 2, 0), t - 1):
            back, colours = self._change(earlier, t)
            if back < PICTURE_JUMP / 2 and colours < HISTOGRAM_JUMP:
                return False  # the end of a flash
        around = [
            self._change(k - 1, k)[0]
            for k in range(max(t - NEIGHBOURHOOD, 1), min(t + NEIGHBOURHOOD + 1, count))
            if k != t
        ]
        return not around or picture > PROMINENCE * float(np.median(around))


def is_duplicate(previous: RgbImage, rgb: RgbImage) -> bool:
    """Whether a frame repeats the one before it, up to coding noise."""
    difference = cv2.absdiff(previous, rgb)
    return bool(difference.mean() < DUPLICATE_LEVELS and cv2.blur(difference, (5, 5)).max() < _DUPLICATE_PEAK)
