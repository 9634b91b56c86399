"""Landmarks of a face whose place is roughly known, image after image with one loaded network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gswap.foundation.types import RgbImage
from gswap.perception.adapters.mediapipe import FaceMesh
from gswap.perception.clip import HINT_MARGIN
from gswap.perception.config import PerceptionConfig
from gswap.perception.refine import MEASURING, look_at


class FaceFinder:
    """Finds the face near given landmarks; use as a context manager.

    The detector looks eight times and the answers are averaged: its own noise would count as an error of the result.
    """

    def __init__(self, cfg: PerceptionConfig) -> None:
        self._cfg = cfg
        self._mesh = FaceMesh(video=False)

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *exc: object) -> None:
        self._mesh.close()

    def __call__(self, image: RgbImage, near: Float[np.ndarray, "478 3"]) -> Float[np.ndarray, "478 3"] | None:
        """Landmarks in image pixels, or ``None``."""
        answers = look_at(self._mesh, image, near, self._cfg, MEASURING)
        if len(answers):
            return answers.mean(0)
        xy = near[:468, :2]  # the face of a result may be further away
        low, high = xy.min(0), xy.max(0)
        x, y = (low + high) / 2
        return self._mesh(image, (float(x), float(y)), float((high - low).max()) * HINT_MARGIN, self._cfg.crop)
