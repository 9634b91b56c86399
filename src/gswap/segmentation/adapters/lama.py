"""LaMa (Suvorov et al., arXiv 2109.07161) as ONNX: fills a hole of a picture from its surroundings.

Networks with a free input size get the picture padded to multiples of 8, as the original pads it. Those with a fixed
one (the published ONNX: 512²) get a square around the hole, scaled to that size. In both cases only the hole's
pixels are taken from the network.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.errors import WeightsError
from gswap.foundation.imaging import blur, smooth_fill
from gswap.foundation.onnx import open_network
from gswap.foundation.types import RgbImage, SoftMask

MODULO = 8
"""The network halves the picture three times."""
CONTEXT = 1.7
"""Side of the square around a hole, in the hole's larger extent: what is to be continued must be in the picture."""


class LamaInpainter:
    """An :class:`~gswap.foundation.protocols.Inpainter`.

    Args:
        path: The verified ONNX file: inputs ``image`` (RGB in [0, 1]) and ``mask`` (1 = hole), output RGB in
            [0, 255], all NCHW.
        device: ``cpu`` or ``cuda``.
        threads: Threads on the processor.

    Raises:
        WeightsError: The file is no such network.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 1) -> None:
        self._session = open_network(path, device=device, threads=threads)
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        if set(inputs) != {"image", "mask"}:
            raise WeightsError(f"Expected the inputs image and mask, found {', '.join(sorted(inputs))}.", path=path)
        fixed = inputs["image"][-1]
        self.side: int | None = fixed if isinstance(fixed, int) else None
        """Side of the pictures that the network takes; ``None`` = any multiple of 8."""

    def __call__(self, image: RgbImage, hole: SoftMask) -> RgbImage:
        """The image with the pixels of ``hole`` (> 0) replaced."""
        where = hole > 0
        if not where.any():
            return image.copy()
        filled = self._padded(image, where) if self.side is None else self._scaled(image, where, self.side)
        return np.where(where[..., None], filled, image)

    def _padded(self, image: RgbImage, hole: Bool[np.ndarray, "h w"]) -> RgbImage:
        height, width = hole.shape
        pad = ((0, -height % MODULO), (0, -width % MODULO))
        picture = np.pad(image, (*pad, (0, 0)), mode="symmetric")
        mask = np.pad(hole, pad, mode="symmetric")
        return self._run(picture.astype(np.float32) / 255, mask)[:height, :width]

    def _scaled(self, image: RgbImage, hole: Bool[np.ndarray, "h w"], side: int) -> RgbImage:
        x, y, extent = _square(hole, side)
        scale = side / extent
        matrix = np.array([[scale, 0, -x * scale + 0.5 * scale - 0.5], [0, scale, -y * scale + 0.5 * scale - 0.5]])
        around = image.astype(np.float32)
        if extent > side:  # a low-pass filter that must not carry the hole's old content over its border
            around = smooth_fill(around, hole)
            around = blur(around, 0.5 * float(np.sqrt(1 / scale**2 - 1)))
        picture = cv2.warpAffine(around, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
        mask = cv2.warpAffine(hole.astype(np.float32), matrix, (side, side), borderMode=cv2.BORDER_REFLECT) > 0
        filled = self._run(np.asarray(picture) / np.float32(255), mask)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = (image.shape[1], image.shape[0])
        return np.asarray(cv2.warpAffine(filled, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))

    def _run(self, picture: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> RgbImage:
        tensors = {
            "image": np.ascontiguousarray(picture.transpose(2, 0, 1))[None],
            "mask": mask.astype(np.float32)[None, None],
        }
        out = np.asarray(self._session.run(None, tensors)[0])[0].transpose(1, 2, 0)
        return np.round(out).clip(0, 255).astype(np.uint8)


def _square(hole: Bool[np.ndarray, "h w"], side: int) -> tuple[float, float, float]:
    """Corner and side of a square around a hole, moved into the image where it fits; never smaller than ``side``."""
    height, width = hole.shape
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    extent = max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    wanted = float(max(CONTEXT * extent, side))
    corner = []
    for low, high, limit in ((columns[0], columns[-1] + 1, width), (rows[0], rows[-1] + 1, height)):
        start = (low + high) / 2 - wanted / 2
        start = min(max(start, 0.0), limit - wanted) if wanted <= limit else (limit - wanted) / 2
        corner.append(float(np.floor(start)))
    return corner[0], corner[1], wanted
