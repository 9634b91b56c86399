"""ArcFace (Deng et al., arXiv 1801.07698) as ONNX: 512 numbers that say whose face it is.

The face is turned into the published template of five points; the network takes RGB as ``(x - 127.5) / 127.5``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import WeightsError
from gswap.foundation.geometry import similarity
from gswap.foundation.landmarks import FIVE_POINTS
from gswap.foundation.onnx import open_network
from gswap.foundation.types import RgbImage

SIDE = 112
"""Side of the aligned face, pixels."""
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where both eyes, the nose tip and the mouth corners belong, as pixel indices (the left column is 0)."""
MIDDLE, RANGE = 127.5, 127.5
DLIB_LENGTH = 0.5
"""Vectors of this length have distances that compare with dlib's: one person below about 0.6, two above."""


def align(image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> RgbImage:
    """The face in the template, black beyond the image."""
    indices = landmarks[list(FIVE_POINTS), :2].astype(np.float64) - 0.5
    scale, rotation, shift = similarity(indices, TEMPLATE)
    matrix = np.column_stack([scale * rotation, shift])
    if scale < 0.5:  # averages first: bilinear samples would miss pixels
        factor = 0.5 ** int(np.floor(np.log2(1 / scale)))
        size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
        ratio = np.array([image.shape[1] / size[0], image.shape[0] / size[1]])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        shrunk = matrix[:, :2] * ratio
        matrix = np.column_stack([shrunk, matrix[:, 2] + matrix[:, :2] @ (0.5 * ratio - 0.5)])
    return np.asarray(cv2.warpAffine(image, np.asarray(matrix, np.float64), (SIDE, SIDE)))


class ArcFace:
    """An :class:`~gswap.foundation.protocols.Embedder`.

    Args:
        path: The verified network.
        length: Length of the vectors; see :data:`DLIB_LENGTH`.
        device: ``cpu`` or ``cuda``.
        threads: Threads on the processor.

    Raises:
        WeightsError: The file is no network that takes a 112 x 112 face.
    """

    def __init__(self, path: Path, *, length: float = 1.0, device: str = "cpu", threads: int = 1) -> None:
        self._session = open_network(path, device=device, threads=threads)
        entry = self._session.get_inputs()[0]
        if list(entry.shape[1:]) not in ([3, SIDE, SIDE], [3, "height", "width"]):
            raise WeightsError(f"Expected an input of 3x{SIDE}x{SIDE}, found {entry.shape}.", path=path)
        self._name, self._length = entry.name, length

    def __call__(self, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> Float[np.ndarray, "512"]:
        """Embedding of the face with these landmarks (pixels of the image)."""
        return self.embed_aligned(align(image, landmarks))

    def embed_aligned(self, face: RgbImage) -> Float[np.ndarray, "512"]:
        """Embedding of a face that is in the template already."""
        tensor = ((face.astype(np.float32) - MIDDLE) / RANGE).transpose(2, 0, 1)[None]
        vector = np.asarray(self._session.run(None, {self._name: np.ascontiguousarray(tensor)})[0])[0]
        vector = vector.astype(np.float64)
        return vector * (self._length / max(float(np.linalg.norm(vector)), 1e-12))
