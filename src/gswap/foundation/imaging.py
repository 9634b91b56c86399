"""Image operations that two or more stages need. Images are float32 or uint8 ``(h, w[, c])``; masks are in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float

FloatImage = Float[np.ndarray, "h w ..."]
FloatMask = Float[np.ndarray, "h w"]


SUBPIXELS = 4
"""Side of the grid in each pixel on which polygons are painted."""


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; ``sigma`` in pixels, 0 = unchanged."""
    return cv2.GaussianBlur(image, (0, 0), float(sigma)) if sigma > 0 else image


COARSEST = 2.0
"""Standard deviation, in pixels of a reduced image, that represents a wide Gaussian well."""


def blur_wide(image: np.ndarray, sigma: float) -> np.ndarray:
    """:func:`blur` of a float32 image, by wide Gaussians at a reduced size: their cost grows with their width."""
    factor = int(sigma / COARSEST)
    if factor < 2:
        return blur(image, sigma)
    h, w = image.shape[:2]
    small = cv2.resize(image, (-(-w // factor), -(-h // factor)), interpolation=cv2.INTER_AREA)
    # averaging cells and interpolating between them blurs, too: variances of a box and of a tent
    own = (factor**2 - 1) / 12 + factor**2 / 6
    soft = blur(small, float(np.sqrt(sigma**2 - own)) / factor)
    return cv2.resize(soft, (w, h), interpolation=cv2.INTER_LINEAR)


def disc(diameter: float) -> np.ndarray:
    """Round structuring element, at least one pixel, odd."""
    n = max(round(diameter), 1) | 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (n, n))


def fill_polygon(points: Float[np.ndarray, "n 2"], height: int, width: int) -> FloatMask:
    """Anti-aliased polygon: the covered share of every pixel. Points are continuous (pixel centres at +0.5)."""
    return fill_polygons([np.asarray(points, np.float64)], height, width)


def fill_polygons(polygons: Sequence[Float[np.ndarray, "n 2"]], height: int, width: int) -> FloatMask:
    """:func:`fill_polygon` of all that lies in any of several polygons."""
    mask = np.zeros((height, width), np.float32)
    points = np.concatenate(polygons)
    x0, y0 = np.clip(np.floor(points.min(0)).astype(int), 0, (width, height))
    x1, y1 = np.clip(np.ceil(points.max(0)).astype(int), 0, (width, height))
    if x1 <= x0 or y1 <= y0:
        return mask
    # OpenCV's own anti-aliasing paints half a pixel too far down: paint a finer grid and average it.
    fine = np.zeros(((y1 - y0) * SUBPIXELS, (x1 - x0) * SUBPIXELS), np.uint8)
    for polygon in polygons:
        fixed = np.round(((polygon - (x0, y0)) * SUBPIXELS - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(fine, [fixed], (255,), cv2.LINE_8, 4)
    mask[y0:y1, x0:x1] = cv2.resize(fine, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_AREA) / np.float32(255)
    return mask


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest 8-connected component of a boolean mask (the mask itself when it is empty)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 1:
        return mask.astype(bool)
    return labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def smooth_fill(image: FloatImage, hole: np.ndarray, smoothing: int = 12, coarsest: int = 3) -> FloatImage:
    """Fill ``hole`` smoothly from its surroundings: push-pull pyramid, then a few blurs inside the hole.

    Args:
        image: float32 ``(h, w, c)``.
        hole: Boolean ``(h, w)``.
        smoothing: Number of blur passes that remove the pyramid's blocks.
        coarsest: Side of the pyramid's top, pixels; smaller where a cell of it would be all hole, and black.
    """
    weight = (~hole).astype(np.float32)
    level = image.astype(np.float32) * weight[..., None]
    pyramid = [(level, weight)]
    while min(weight.shape) > coarsest or (max(weight.shape) > 1 and not weight.all()):
        half = ((level.shape[1] + 1) // 2, (level.shape[0] + 1) // 2)
        level = cv2.resize(level, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1)
        weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
        pyramid.append((level, weight))
    filled = pyramid[-1][0] / np.maximum(pyramid[-1][1], 1e-4)[..., None]
    for level, weight in pyramid[-2::-1]:
        coarse = cv2.resize(filled, (level.shape[1], level.shape[0]), interpolation=cv2.INTER_LINEAR)
        coarse = coarse.reshape(level.shape)
        w = weight[..., None]
        filled = np.where(w > 1e-3, level / np.maximum(w, 1e-3) * w + coarse * (1 - w), coarse)
    inside = hole[..., None]
    for _ in range(smoothing):
        filled = np.where(inside, blur(filled, 2.0).reshape(filled.shape), image)
    return filled.astype(np.float32)


def blend_multiband(below: FloatImage, above: FloatImage, mask: FloatMask, levels: int = 4) -> FloatImage:
    """Laplacian-pyramid blend: ``above`` where ``mask`` is 1 (Burt and Adelson, 1983). float32 in, float32 out."""
    a, b, m = [below], [above], [mask]
    for _ in range(levels):
        a.append(cv2.pyrDown(a[-1]))
        b.append(cv2.pyrDown(b[-1]))
        m.append(cv2.pyrDown(m[-1]))
    out = a[-1] * (1 - m[-1][..., None]) + b[-1] * m[-1][..., None]
    for k in range(levels - 1, -1, -1):
        size = (a[k].shape[1], a[k].shape[0])
        detail_a = a[k] - cv2.pyrUp(a[k + 1], dstsize=size)
        detail_b = b[k] - cv2.pyrUp(b[k + 1], dstsize=size)
        out = cv2.pyrUp(out, dstsize=size) + detail_a * (1 - m[k][..., None]) + detail_b * m[k][..., None]
    return out


def over(foreground: FloatImage, alpha: FloatMask, background: FloatImage) -> FloatImage:
    """Straight-alpha ``over``: exactly the background where alpha is 0."""
    out = foreground - background
    out *= cv2.merge([alpha] * 3)  # twice as fast as broadcasting over the channels
    out += background
    return out
