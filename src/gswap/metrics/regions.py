"""Where in a picture something is measured: in the head, outside it, and on the seam between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.types import RgbImage, SoftMask
from gswap.metrics.picture import PEAK, ssim_map

PRESENT = 24
"""A soft mask counts as present above this level (of 255)."""
MARGIN = 0.021
"""The head region reaches this far beyond the masks, in units of the picture's longer side."""
SEAM = 0.021
"""Half the width of the seam band, in the same unit."""
CHANGED = 12
"""8-bit levels by which truth and target must differ to belong to the edit: more than encoding twice leaves."""


@dataclass(frozen=True)
class Regions:
    """Three masks of one picture; ``head`` and ``outside`` are disjoint and cover it, ``seam`` overlaps both."""

    head: Bool[np.ndarray, "h w"]
    """The old and the new head with a margin."""
    outside: Bool[np.ndarray, "h w"]
    seam: Bool[np.ndarray, "h w"]
    """Around the outline of the head."""


def regions(head: SoftMask, target: RgbImage | None = None, truth: RgbImage | None = None) -> Regions:
    """Regions of a frame.

    Args:
        head: Head and neck in the target.
        target: The target's frame.
        truth: The true answer, whose head may be larger; where both differ is head, too.
    """
    unit = max(head.shape)
    inside = (head > PRESENT).astype(np.uint8)
    if target is not None and truth is not None:
        differs = (cv2.absdiff(target, truth).max(2) > CHANGED).astype(np.uint8)
        differs = cv2.morphologyEx(differs, cv2.MORPH_OPEN, _disc(0.005 * unit))
        inside = np.maximum(inside, cv2.morphologyEx(differs, cv2.MORPH_CLOSE, _disc(0.02 * unit)))
    grown = cv2.dilate(inside, _disc(MARGIN * unit)) > 0
    band = cv2.dilate(inside, _disc(SEAM * unit)) > cv2.erode(inside, _disc(SEAM * unit))
    return Regions(grown, ~grown, band)


def _disc(radius: float) -> np.ndarray:
    size = 2 * max(round(radius), 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def squared_error(result: RgbImage, reference: RgbImage, where: Bool[np.ndarray, "h w"]) -> float:
    """Mean squared error of 8-bit pictures inside a mask; NaN for an empty one."""
    if not where.any():
        return float("nan")
    return float(np.mean((result[where].astype(np.float64) - reference[where].astype(np.float64)) ** 2))


def color_distance(result: RgbImage, reference: RgbImage, where: Bool[np.ndarray, "h w"]) -> float:
    """Distance of the mean colours inside a mask in CIE Lab (2 = just noticeable); NaN for an empty one.

    Of means, so that a face whose features lie a little elsewhere has the same skin colour.
    """
    if not where.any():
        return float("nan")
    levels = [image.astype(np.float32) / 255 for image in (result, reference)]
    lab = [cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[where].mean(0) for image in levels]
    return float(np.linalg.norm(lab[0] - lab[1]))


def to_psnr(error: float) -> float:
    """Mean squared error of 8-bit samples -> dB; infinite for no error."""
    return float("inf") if error == 0 else float(10 * np.log10(PEAK**2 / error))


def masked_ssim(result: RgbImage, reference: RgbImage, where: Bool[np.ndarray, "h w"]) -> float:
    """Mean of the SSIM map over the windows whose centres are inside a mask; NaN if there is none."""
    similarity = ssim_map(result, reference)
    rim = (where.shape[0] - similarity.shape[0]) // 2
    inner = where[rim : where.shape[0] - rim, rim : where.shape[1] - rim]
    return float(similarity[inner].mean()) if inner.any() else float("nan")


def gradient_deviation(result: RgbImage, reference: RgbImage, where: Bool[np.ndarray, "h w"] | None = None) -> float:
    """Gradient magnitude similarity deviation (GMSD, arXiv 1308.3052): 0 = alike, larger = worse.

    The stand-in for LPIPS without weights: it agrees well with people about blur and broken structure, and knows
    nothing of what is shown.
    """
    maps = [_gradient(_half_luma(image)) for image in (result, reference)]
    constant = 170.0
    similarity = (2 * maps[0] * maps[1] + constant) / (maps[0] ** 2 + maps[1] ** 2 + constant)
    if where is not None:
        small = cv2.resize(where.astype(np.uint8), similarity.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        similarity = similarity[small]
    return float(similarity.std()) if similarity.size else float("nan")


def _half_luma(image: RgbImage) -> Float[np.ndarray, "h w"]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    size = (max(grey.shape[1] // 2, 1), max(grey.shape[0] // 2, 1))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float64)


def _gradient(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    prewitt = np.array([[1, 0, -1]] * 3, np.float64) / 3
    across, down = (cv2.filter2D(grey, cv2.CV_64F, kernel) for kernel in (prewitt, prewitt.T))
    return np.hypot(across, down)
