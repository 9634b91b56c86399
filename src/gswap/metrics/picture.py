"""How alike two pictures are: fidelity, sharpness, overlap of masks, and change where nothing may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

PEAK = 255.0
_SSIM_SIGMA = 1.5
_SSIM_RADIUS = 5
_SSIM_C1, _SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
_HEAD_SIDES, _HEAD_UP, _HEAD_DOWN = 0.55, 0.75, 0.45
"""By which parts of its width and height a landmark box grows to hold the head with its hair."""
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Box:
    """Rows ``top:bottom`` and columns ``left:right`` of a picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def head_box(landmarks: Float[np.ndarray, "n d"], width: int, height: int) -> Box:
    """The box of the face landmarks grown to the head, clipped to a ``width`` x ``height`` picture."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    w, h = high - low
    left, right = low[0] - _HEAD_SIDES * w, high[0] + _HEAD_SIDES * w
    top, bottom = low[1] - _HEAD_UP * h, high[1] + _HEAD_DOWN * h
    return Box(
        int(np.clip(np.floor(left), 0, width - 1)),
        int(np.clip(np.floor(top), 0, height - 1)),
        int(np.clip(np.ceil(right), 1, width)),
        int(np.clip(np.ceil(bottom), 1, height)),
    )


def ssim_map(result: np.ndarray, reference: np.ndarray) -> Float[np.ndarray, "hh ww"]:
    """Structural similarity of 8-bit pictures, in [-1, 1], 1 = equal (Wang et al. 2004), of every window.

    Luma of RGB; Gaussian window of 11 pixels, sigma 1.5; only windows that lie inside the picture (at least 11x11)
    count: the map is smaller than the picture by five pixels on each side.
    """
    a, b = _luma(result), _luma(reference)
    mean_a, mean_b = _window(a), _window(b)
    var_a = _window(a * a) - mean_a**2
    var_b = _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + _SSIM_C1) * (2 * covariance + _SSIM_C2)) / (
        (mean_a**2 + mean_b**2 + _SSIM_C1) * (var_a + var_b + _SSIM_C2)
    )


def iou(first: np.ndarray, second: np.ndarray, threshold: float = 127.5) -> float:
    """Intersection over union of two masks above ``threshold`` (boolean masks as they are); 1 when both are empty."""
    a = first if first.dtype == bool else first > threshold
    b = second if second.dtype == bool else second > threshold
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union


def sharpness_ratio(result: np.ndarray, reference: np.ndarray, inside: Bool[np.ndarray, "h w"] | None = None) -> float:
    """Fine detail of ``result`` over that of ``reference``: 1 = as sharp, below = softer, above = noisier.

    The root mean square of the Laplacian of the luma inside the mask (default: everywhere). One grey level is added to
    both, so that flat pictures give 1.
    """
    where = np.ones(result.shape[:2], bool) if inside is None else inside

    def detail(image: np.ndarray) -> float:
        fine = cv2.Laplacian(_luma(image), cv2.CV_64F, ksize=1)[where]
        return float(np.sqrt(np.mean(fine**2))) if fine.size else 0.0

    return (detail(result) + 1.0) / (detail(reference) + 1.0)


def outside_change(
    result: Sequence[np.ndarray], reference: Sequence[np.ndarray], edited: Bool[np.ndarray, "h w"]
) -> int:
    """Largest change of a decoded sample that the edit does not touch; 0 = bit-exact.

    Args:
        result: Planes Y, U, V (or Y alone, or G, B, R) of the output; chroma may be subsampled.
        reference: The same of the input.
        edited: ``True`` where luma may differ. A chroma sample any of whose luma samples is edited does not count.
    """
    worst = 0
    for a, b in zip(result, reference, strict=True):
        untouched = ~_shrink(edited, a.shape)
        if untouched.any():
            worst = max(worst, int(np.abs(a.astype(np.int64) - b.astype(np.int64))[untouched].max()))
    return worst


def _luma(image: np.ndarray) -> Float[np.ndarray, "h w"]:
    return image.astype(np.float64) if image.ndim == 2 else image.astype(np.float64) @ _LUMA


def _window(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "hh ww"]:
    size = 2 * _SSIM_RADIUS + 1
    smooth = cv2.GaussianBlur(image, (size, size), _SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)
    return smooth[_SSIM_RADIUS : image.shape[0] - _SSIM_RADIUS, _SSIM_RADIUS : image.shape[1] - _SSIM_RADIUS]


def _shrink(edited: Bool[np.ndarray, "h w"], shape: tuple[int, ...]) -> Bool[np.ndarray, "hh ww"]:
    """Which samples of a plane of ``shape`` touch an edited luma sample."""
    if edited.shape == shape:
        return edited
    step_y, step_x = -(-edited.shape[0] // shape[0]), -(-edited.shape[1] // shape[1])
    padded = np.zeros((shape[0] * step_y, shape[1] * step_x), bool)
    padded[: edited.shape[0], : edited.shape[1]] = edited
    return padded.reshape(shape[0], step_y, shape[1], step_x).any(axis=(1, 3))
