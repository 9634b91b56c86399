"""Expression and pose by our own landmark fit, where SMIRK's weights are missing (labelled so in every table)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gswap.foundation.types import FaceTrack, RgbImage
from gswap.metrics.parameters import parameter_distance

LIMIT = 240
"""Frames that are fitted at most; a longer clip is thinned evenly, so that memory stays flat."""
FEWEST = 2
"""Fewer frames than this cannot be compared."""


class BodyParameters:
    """Fits the body to the clip's landmarks and to every result's, image by image, with the same focal length.

    Args:
        results: How many results follow the clip.
        width: Of the frames, pixels.
        height: Of the frames, pixels.
    """

    def __init__(self, results: int, width: int, height: int) -> None:
        self._size = width, height
        self._results = results
        self._rows: list[np.ndarray] = []
        self._seen = 0
        self._stride = 1

    def add(
        self,
        target: RgbImage,
        landmarks: Float[np.ndarray, "478 3"],
        results: list[tuple[RgbImage, Float[np.ndarray, "478 3"] | None]],
    ) -> None:
        """Keep the landmarks of this frame, or pass over it."""
        if self._seen % self._stride == 0:
            lost = np.full((478, 3), np.nan)
            rows = [landmarks, *(lost if found is None else found for _, found in results)]
            self._rows.append(np.asarray(rows, np.float32))
            if len(self._rows) > LIMIT:
                self._rows = self._rows[::2]
                self._stride *= 2
        self._seen += 1

    def distances(self) -> list[tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
        """Per result: expression and pose distance of every frame in which both faces were found."""
        from gswap.body.config import FitConfig
        from gswap.body.fit import fit_track
        from gswap.body.models import load_body

        nothing = np.zeros(0)
        stacked = np.stack(self._rows, 1) if self._rows else np.zeros((self._results + 1, 0, 478, 3))
        if np.isfinite(stacked[1:]).all((2, 3)).sum(1).max(initial=0) < FEWEST:
            return [(nothing, nothing)] * self._results
        model, cfg = load_body("anny"), FitConfig()
        driving = fit_track(self._track(stacked[0]), model, cfg, photos=True)
        out = []
        for points in stacked[1:]:
            faces = self._track(points)
            if faces.valid.sum() < FEWEST:
                out.append((nothing, nothing))
                continue
            body = fit_track(faces, model, cfg, photos=True)
            both = body.valid & driving.valid
            if both.sum() < FEWEST:
                out.append((nothing, nothing))
                continue
            turned = [b.rotation[both] - np.median(b.rotation[both], 0) for b in (body, driving)]
            out.append((parameter_distance(body.actions[both], driving.actions[both]), parameter_distance(*turned)))
        return out

    def _track(self, points: Float[np.ndarray, "n 478 3"]) -> FaceTrack:
        count = len(points)
        valid = np.isfinite(points).all((1, 2))
        return FaceTrack(
            landmarks=points,
            valid=valid,
            confidence=valid.astype(np.float32),
            bridged=np.zeros(count, bool),
            duplicate=np.zeros(count, bool),
            shoulders=np.zeros((count, 2, 3), np.float32),
            embedding=np.full((count, 128), np.nan, np.float32),
            sharpness=np.ones(count, np.float32),
            size=self._size,
        )
