"""Unrest that motion does not explain, relative to the clip that the result follows."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.metrics.picture import Box

NOISE_LEVELS = 0.5
"""Added to both sides of the ratio (8-bit levels): two still clips give 1."""


def motion_residual(
    previous: UInt8[np.ndarray, "h w 3"], following: UInt8[np.ndarray, "h w 3"], box: Box | None = None
) -> float:
    """Mean absolute difference, in 8-bit levels, between a frame and the one before it moved along its own flow.

    Farnebäck's dense flow from ``following`` back to ``previous``; measured inside ``box``.
    """
    if box is not None:
        previous, following = (np.ascontiguousarray(image[box.slices]) for image in (previous, following))
    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (previous, following))
    start = np.zeros((*a.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(b, a, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
    moved = cv2.remap(previous, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(following.astype(np.float32) - moved.astype(np.float32)).mean())


class Flicker:
    """Flicker of a result against its target, frame by frame, in constant memory. 1 = as calm as the target.

    Call :meth:`restart` at a cut: the frame after it is not compared with the one before.
    """

    def __init__(self) -> None:
        self._result: np.ndarray | None = None
        self._target: np.ndarray | None = None
        self._sums = np.zeros(2)
        self._count = 0

    def add(self, result: UInt8[np.ndarray, "h w 3"], target: UInt8[np.ndarray, "h w 3"], box: Box) -> None:
        """Take the next frame of both clips; ``box`` is the head's, in this frame."""
        if self._result is not None and self._target is not None:
            self._sums += (motion_residual(self._result, result, box), motion_residual(self._target, target, box))
            self._count += 1
        self._result, self._target = result, target

    def restart(self) -> None:
        """Forget the last frame."""
        self._result = self._target = None

    @property
    def ratio(self) -> float:
        """(mean residual of the result + 0.5) / (that of the target + 0.5); NaN before the second frame."""
        if self._count == 0:
            return float("nan")
        result, target = self._sums / self._count
        return float((result + NOISE_LEVELS) / (target + NOISE_LEVELS))


def flicker(
    result: Float[np.ndarray, "t h w 3"] | list[np.ndarray],
    target: Float[np.ndarray, "t h w 3"] | list[np.ndarray],
    boxes: list[Box],
) -> float:
    """:class:`Flicker` of whole clips held in memory."""
    measure = Flicker()
    for a, b, box in zip(result, target, boxes, strict=True):
        measure.add(a, b, box)
    return measure.ratio
