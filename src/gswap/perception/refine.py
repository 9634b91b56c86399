"""Landmarks without most of the detector's noise: several looks at every face, averaged.

A landmark network answers a little differently for every crop of one picture; in a calm clip that is half of what the
lids seem to move. The errors of different crops are largely independent, so the mean of k looks has about 1/k of the
noise (Spearman-Brown): two single looks at lids that hardly move agree by r = .85, two means of eight by .98.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


LOOKS = (
    Look(0.05, 0.0, 1.7),
    Look(-0.05, 0.04, 1.7),
    Look(0.0, 0.0, 1.55),
    Look(0.0, 0.0, 2.1),
    Look(0.04, -0.04, 1.9),
    Look(-0.04, -0.03, 1.85),
    Look(0.02, 0.05, 2.0),
    Look(-0.02, 0.0, 1.62),
)
"""What steers by landmarks looks so; the first :data:`FEW` are enough for most clips."""
FEW = 4
MEASURING = (
    Look(0.03, 0.02, 1.65),
    Look(-0.03, -0.02, 1.8),
    Look(0.06, -0.02, 1.95),
    Look(-0.06, 0.01, 2.05),
    Look(0.0, 0.06, 1.75),
    Look(0.0, -0.05, 1.6),
    Look(0.02, -0.01, 2.2),
    Look(-0.01, 0.03, 1.9),
)
"""What measures a result looks so: from other crops than what steered it, so that no error is shared with it."""
ASTRAY = 0.25
"""Mean distance from the hint, in face sizes, from which an answer is about something else."""


def refine_landmarks(
    images: ImageStore,
    hints: Mapping[int, Float[np.ndarray, "478 3"]],
    cfg: PerceptionConfig,
    *,
    looks: Sequence[Look] = LOOKS[:FEW],
    progress: Progress = no_progress,
) -> dict[int, Float[np.ndarray, "478 3"]]:
    """The mean of what the detector says to several crops of each image; arguments and order as :func:`look_often`."""
    seen = look_often(images, hints, cfg, looks=looks, progress=progress)
    return {index: answers.mean(0) for index, answers in seen.items()}


def look_often(
    images: ImageStore,
    hints: Mapping[int, Float[np.ndarray, "478 3"]],
    cfg: PerceptionConfig,
    *,
    looks: Sequence[Look],
    progress: Progress = no_progress,
) -> dict[int, Float[np.ndarray, "k 478 3"]]:
    """What the detector says to each of several crops of each image.

    Args:
        images: Where the images are.
        hints: Index of an image -> landmarks of the face in it, pixels of that image.
        cfg: Crop size.
        looks: The crops.
        progress: Told after every image.

    Returns:
        Landmarks per look that found the face, pixels of the images; images in which none did are left out.
    """
    found: dict[int, Float[np.ndarray, "k 478 3"]] = {}
    with FaceMesh(video=False) as mesh:
        for done, (index, hint) in enumerate(hints.items(), 1):
            answers = look_at(mesh, images[index], hint, cfg, looks)
            if len(answers):
                found[index] = answers
            progress(done, len(hints), "landmarks")
    return found


def look_at(
    mesh: FaceMesh, image: RgbImage, hint: Float[np.ndarray, "478 3"], cfg: PerceptionConfig, looks: Sequence[Look]
) -> Float[np.ndarray, "k 478 3"]:
    """:func:`look_often` at one image with a network that is loaded; ``k`` may be 0."""
    answers = [_look(mesh, image, hint, look, cfg.crop) for look in looks]
    agreed = [answer for answer in answers if answer is not None]
    return np.stack(agreed) if agreed else np.zeros((0, *hint.shape))


def reliability(signals: Float[np.ndarray, "t k"]) -> float:
    """How far the mean of k looks at a signal follows what it measures: squared correlation, 0 to 1.

    The looks' spread within a frame is the noise; what their means vary by beyond it is motion.
    """
    count = signals.shape[1]
    if count < 2 or len(signals) < 2:
        return 1.0
    noise = float(signals.var(axis=1, ddof=1).mean()) / count
    total = float(signals.mean(1).var(ddof=1))
    return float(np.clip(1 - noise / total, 0, 1)) if total > 0 else 1.0


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
