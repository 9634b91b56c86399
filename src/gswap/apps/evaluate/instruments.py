"""The readers that an evaluation uses: the paper's networks where their weights are there, labelled stand-ins else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from gswap.apps.evaluate import measures as m
from gswap.apps.evaluate.body_reader import BodyParameters
from gswap.foundation.protocols import Embedder
from gswap.foundation.types import RgbImage
from gswap.metrics.descriptor import describe
from gswap.metrics.parameters import parameter_distance

Landmarks478 = Float[np.ndarray, "478 3"]
ARCFACE, SMIRK, CLIP, LPIPS = "arcface-buffalo", "smirk", "clip-vit-b32", "lpips-vgg"
"""Parts of the catalogue of weights. This ArcFace is not the one that conditions the paper's generator."""
LEAST_SIDE = 32
"""Pixels; LPIPS halves a picture four times."""
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


class NetworkParameters:
    """:class:`Parameters` of a network that reads one face at a time.

    Args:
        read: Picture and landmarks -> expression and pose.
        results: How many results follow the clip.
    """

    def __init__(self, read: Callable[[RgbImage, Landmarks478], tuple[np.ndarray, np.ndarray]], results: int) -> None:
        self._read = read
        self._rows: list[list[tuple[float, float]]] = [[] for _ in range(results)]

    def add(
        self, target: RgbImage, landmarks: Landmarks478, results: list[tuple[RgbImage, Landmarks478 | None]]
    ) -> None:
        """Read the frame; only its distances are kept."""
        driving = self._read(target, landmarks)
        for rows, (image, points) in zip(self._rows, results, strict=True):
            if points is not None:
                found = self._read(image, points)
                away = [float(parameter_distance(a, b)) for a, b in zip(found, driving, strict=True)]
                rows.append((away[0], away[1]))

    def distances(self) -> list[tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
        """Per result: expression and pose distance of the frames with a face."""
        tables = [np.asarray(rows, np.float64).reshape(-1, 2) for rows in self._rows]
        return [(rows[:, 0], rows[:, 1]) for rows in tables]


def standard(find: Callable[[RgbImage, Landmarks478], Landmarks478 | None]) -> Instruments:
    """What this machine has: the paper's networks whose weights are in the folder, and stand-ins for the others.

    Raises:
        WeightsError: A file in the folder of weights is damaged or another one.
    """
    from gswap.foundation import weights
    from gswap.perception.identity import embed

    here = {part.spec.name for part in weights.states() if part.state == "present"}
    tools = Instruments(embed=embed, find=find, parameters=BodyParameters, frame=describe)
    if ARCFACE in here:
        from gswap.perception.adapters.arcface import ArcFace

        tools = replace(tools, arcface=ArcFace(weights.file(ARCFACE)), identity_measure=m.CSIM)
    if SMIRK in here:
        from gswap.perception.adapters.smirk import load_smirk, read_face

        read = partial(read_face, load_smirk(weights.file(SMIRK)))
        tools = replace(
            tools,
            parameters=lambda results, width, height: NetworkParameters(read, results),
            expression_measures=(m.AED, m.APD),
        )
    if CLIP in here:
        from gswap.perception.adapters.clip import ClipImages

        tools = replace(tools, frame=ClipImages(weights.path(CLIP)), frame_measure=m.CLIP)
    if LPIPS in here:
        from gswap.metrics.lpips import load_lpips

        tools = replace(tools, perceptual=_perceptual(load_lpips(weights.path(LPIPS))), perceptual_reader="VGG-16")
    return tools


def _perceptual(model: Callable[[Any, Any], Any]) -> PerceptualDistance:
    """LPIPS of two crops of 8-bit pictures; small ones are grown to what the network can take."""
    import torch

    def distance(result: RgbImage, truth: RgbImage) -> float:
        pair = [torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None].float() / 255 for x in (result, truth)]
        least = min(pair[0].shape[-2:])
        if least < LEAST_SIDE:
            pair = [torch.nn.functional.interpolate(x, scale_factor=LEAST_SIDE / least, mode="bilinear") for x in pair]
        with torch.no_grad():
            return float(model(*pair))

    return distance
