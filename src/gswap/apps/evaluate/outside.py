"""Change where nothing may change: on the samples of the video where they can be compared, on pictures otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from gswap.metrics.picture import outside_change
from gswap.metrics.regions import Regions

if TYPE_CHECKING:
    from gswap.apps.evaluate.scoring import Sample, Shown


@dataclass(frozen=True)
class OutsideChange:
    """What was found outside the edit."""

    largest: int
    """In levels of the samples."""
    mean: float
    compared: str
    """Which samples, and what counted as outside."""


class Outside:
    """Gathers the change over the frames of one result."""

    def __init__(self) -> None:
        self._largest = 0
        self._sum, self._count = 0.0, 0
        self._own_planes = True
        self._own_edit = True

    def add(self, sample: Sample, shown: Shown, where: Regions) -> None:
        """Take a frame."""
        own_edit = shown.edited is not None
        edited: Bool[np.ndarray, "h w"] = where.head if shown.edited is None else shown.edited
        own_planes = _comparable(shown.planes, sample.planes)
        a, b = (shown.planes, sample.planes) if own_planes else (_channels(shown.rgb), _channels(sample.rgb))
        self._own_planes &= own_planes
        self._own_edit &= own_edit
        self._largest = max(self._largest, outside_change(a, b, edited))
        free = ~edited
        if free.any() and a[0].shape == free.shape:
            self._sum += float(np.abs(a[0][free].astype(np.int64) - b[0][free].astype(np.int64)).mean())
            self._count += 1

    def result(self) -> OutsideChange:
        """All frames together."""
        samples = "the videos' own samples" if self._own_planes else "RGB pictures"
        region = "outside what the job says it edited" if self._own_edit else "outside the head with a margin of 2 %"
        return OutsideChange(
            self._largest, self._sum / self._count if self._count else float("nan"), f"{samples}, {region}"
        )


def _comparable(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> bool:
    return (
        bool(a)
        and len(a) == len(b)
        and all(x.shape == y.shape and x.dtype == y.dtype for x, y in zip(a, b, strict=True))
    )


def _channels(rgb: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(rgb[..., k] for k in range(3))
