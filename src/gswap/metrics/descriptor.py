"""What a frame looks like, without weights: the stand-in for CLIP's image embedding in frame consistency.

Histograms of oriented gradients (Dalal & Triggs 2005) of the frame at 128x128, and its colours at 8x8. It sees change
of shape and colour; unlike CLIP it knows nothing of what is shown, so its values are no CLIP scores.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.types import RgbImage

SIDE = 128
_CELL = 16
_COLOURS = 8
_COLOUR_SHARE = 0.5
"""Weight of the colours' half of the descriptor against the gradients'."""


@cache
def _gradients() -> cv2.HOGDescriptor:
    return cv2.HOGDescriptor((SIDE, SIDE), (2 * _CELL, 2 * _CELL), (_CELL, _CELL), (_CELL, _CELL), 9)


def describe(image: RgbImage) -> Float[np.ndarray, "d"]:
    """Descriptor of a frame; compare two by their cosine (1 = alike)."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    shape = np.asarray(_gradients().compute(small), np.float64).ravel()
    colour = cv2.resize(small, (_COLOURS, _COLOURS), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    parts = [values / max(float(np.linalg.norm(values)), 1e-9) for values in (shape, colour)]
    return np.concatenate([parts[0], _COLOUR_SHARE * parts[1]])
