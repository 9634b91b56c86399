"""Landmarks without most of the detector's noise: several looks at every face, averaged.

A landmark network answers a little differently for every crop of one picture; in a calm clip that is half of what the
lids seem to move. The errors of different crops are largely independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gswap.foundation.types import ImageStore, Progress, RgbImage, no_progress
from gswap.perception.adapters.mediapipe import FaceMesh
from gswap.perception.config import PerceptionConfig


class Look(NamedTuple):
    """One crop around a face, in face sizes."""

    right: float
    """How far its centre lies beside the face's."""
    down: float
    side: float


LOOKS = (Look(0.05, 0.0, 1.7), Look(-0.05, 0.04, 1.7), Look(0.0, 0.0, 1.55), Look(0.0, 0.0, 2.1))
ASTRAY = 0.25
"""Mean distance from the hint, in face sizes, from which an answer is about something else."""


def refine_landmarks(
    images: ImageStore,
    hints: Mapping[int, Float[np.ndarray, "478 3"]],
    cfg: PerceptionConfig,
    *,
    progress: Progress = no_progress,
) -> dict[int, Float[np.ndarray, "478 3"]]:
    """The mean of what the detector says to :data:`LOOKS` crops of each image.

    Args:
        images: Where the images are.
        hints: Index of an image -> landmarks of the face in it, pixels of that image.
        cfg: Crop size.
        progress: Told after every image.

    Returns:
        Landmarks, pixels of the images; images in which no look found the face are left out.
    """
    found: dict[int, Float[np.ndarray, "478 3"]] = {}
    with FaceMesh(video=False) as mesh:
        for done, (index, hint) in enumerate(hints.items(), 1):
            image = images[index]
            answers = [_look(mesh, image, hint, look, cfg.crop) for look in LOOKS]
            agreed = [answer for answer in answers if answer is not None]
            if agreed:
                found[index] = np.mean(agreed, axis=0)
            progress(done, len(hints), "landmarks")
    return found


def _look(
    mesh: FaceMesh, image: RgbImage, hint: Float[np.ndarray, "478 3"], look: Look, crop: int
) -> Float[np.ndarray, "478 3"] | None:
    """Landmarks of one crop, or ``None`` where they are not this face's."""
    low, high = hint[:468, :2].min(0), hint[:468, :2].max(0)
    face = float((high - low).max())
    x, y = (low + high) / 2 + face * np.array([look.right, look.down])
    points = mesh(image, (float(x), float(y)), face * look.side, crop)
    if points is None:
        return None
    away = np.linalg.norm(points[:468, :2] - hint[:468, :2], axis=1).mean()
    return points if away < ASTRAY * face else None
