"""The readers that an evaluation uses: the paper's networks where their weights are there, labelled stand-ins else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from gswap.apps.evaluate import measures as m
from gswap.apps.evaluate.body_reader import BodyParameters
from gswap.foundation.protocols import Embedder
from gswap.foundation.types import RgbImage
from gswap.metrics.descriptor import describe

Landmarks478 = Float[np.ndarray, "478 3"]
FrameEmbedder = Callable[[RgbImage], Float[np.ndarray, "d"]]
PerceptualDistance = Callable[[RgbImage, RgbImage], float]
"""Of two crops."""


class Parameters(Protocol):
    """Expression and pose of one clip and of several results of it, frame by frame."""

    def add(
        self, target: RgbImage, landmarks: Landmarks478, results: list[tuple[RgbImage, Landmarks478 | None]]
    ) -> None:
        """Take the next measured frame: the clip's, and every result's with its landmarks (``None`` = no face)."""
        ...

    def distances(self) -> list[tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
        """Per result: expression and pose distance to the clip of every frame used."""
        ...


@dataclass(frozen=True)
class Instruments:
    """All readers of an evaluation, and the measures that they make."""

    embed: Embedder
    """dlib; always there."""
    find: Callable[[RgbImage, Landmarks478], Landmarks478 | None]
    """Landmarks of the face near the given ones."""
    parameters: Callable[[int, int, int], Parameters]
    """(number of results, width, height) -> a reader for one clip."""
    frame: FrameEmbedder
    arcface: Embedder | None = None
    perceptual: PerceptualDistance | None = None
    expression_measures: tuple[m.Measure, m.Measure] = (m.BODY_AED, m.BODY_APD)
    frame_measure: m.Measure = m.HOG_CONSISTENCY
    identity_measure: m.Measure = m.DLIB_SIMILARITY
    perceptual_reader: str | None = None

    def measures(self, *, truth: bool, reference: bool) -> tuple[m.Measure, ...]:
        """Every column that these readers fill."""
        columns = (self.identity_measure, *self.expression_measures, self.frame_measure, *m.OWN)
        if truth:
            columns += m.TRUTH + m.perceptual_measures(self.perceptual_reader)
        return columns + (m.REFERENCE if reference else ())


def standard(find: Callable[[RgbImage, Landmarks478], Landmarks478 | None]) -> Instruments:
    """What this machine has."""
    from gswap.perception.identity import embed

    return Instruments(embed=embed, find=find, parameters=BodyParameters, frame=describe)
