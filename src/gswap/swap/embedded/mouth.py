"""Between the lips: the photo's own mouth where it is open enough, otherwise what :data:`MouthSource` says."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.foundation.imaging import blur, fill_polygon, smooth_fill
from gswap.foundation.landmarks import (
    LIP_RINGS_LOWER,
    LIPS,
    LIPS_INNER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    LIPS_OUTER,
    mouth_gap,
)
from gswap.foundation.raster import rasterize
from gswap.swap.config import MouthSource
from gswap.swap.embedded.regions import (
    LOG_FLOOR,
    Points2,
    bounds,
    extend_nearest,
    luminance,
    smooth_contour,
    smoothstep,
)

GAP_SHUT, GAP_OPEN = 0.008, 0.022
"""Mouth gaps, in eye distances, below which there is no interior and from which it is fully there."""
NARROW = (0.05, 0.09)
"""Mouth gaps up to which a target's mouth shows little but the red of its lips, and from which its inside is seen."""
INSIDE_PHOTO = 0.97
"""The photo's interior is sampled this much inside its lips."""
INSIDE_TARGET = (0.86, 0.92)
"""The target's, across and along the opening: none of its lips must show."""
RIM = 0.014
"""Width of the rim of a target's interior that is refilled from further inside, in face widths."""
PROBES = 32
"""Samples along a line from the middle of the lower lip to the upper lip."""
SURROUNDINGS = 8
"""Pixels around the lips that are looked at, too."""
CAVITY_SHARE = 15
"""Percentile of the brightness inside the mouth that stands for the dark behind the teeth."""
LIP_CONTRAST = 2.2
"""How much brighter than that the lower lip must be before the line between them is looked for."""
LEAST_KEPT = 0.35
"""Share of the detected opening that stays, however much of it looks like lip."""
MISTAKEN = (0.30, 0.22)
"""Mouth gaps, in eye distances, from which the detector is believed, and down to which the picture is."""
UNLIT = 0.55
"""How much darker what remains is made, at most: much of it is the shaded upper lip, and stands for the cavity."""
TEETH_HEIGHT = 0.085
"""Visible height of painted upper teeth, in eye distances."""
ENAMEL = (1.0, 0.96, 0.88)
"""Tint of painted teeth under white light."""
CAVITY, TONGUE, TEETH = 0.24, 0.74, 1.35
"""Painted brightness relative to the lips: behind, tongue, teeth."""


def _strip() -> np.ndarray:
    upper, lower = LIPS_INNER_UPPER, LIPS_INNER_LOWER
    triangles = []
    for k in range(10):
        if k > 0:
            triangles.append((upper[k], upper[k + 1], lower[k]))
        if k < 9:
            triangles.append((upper[k + 1], lower[k], lower[k + 1]))
    return np.array(triangles, np.int32)


STRIP = _strip()
"""Triangles between the inner lips, over landmark indices."""


@dataclass(frozen=True)
class Interior:
    """One picture of the inside of the posed mouth."""

    points: Points2
    """Landmarks of the source's face in the output crop."""
    size: tuple[int, int]
    """Height and width of the crop."""

    def strip_map(self, corners: Float[np.ndarray, "478 c"]) -> Float[np.ndarray, "h w c"]:
        """Interpolate values given at the inner lips over the opening, and continue them beyond it."""
        fragments = rasterize(self.points[:468], np.ones(468), STRIP, *self.size)
        seen = fragments.face >= 0
        out = np.zeros((*self.size, corners.shape[1]), np.float32)
        if not seen.any():
            return out + corners[list(LIPS_INNER)].mean(0).astype(np.float32)
        triangles = STRIP[fragments.face[seen]]
        out[seen] = np.einsum("pkc,pk->pc", corners.astype(np.float32)[triangles], fragments.bary[seen])
        return extend_nearest(out, seen)

    def mask(self, face_width: float) -> Float[np.ndarray, "h w"]:
        """The opening with a smooth, soft contour."""
        contour = smooth_contour(self.points[list(LIPS_INNER)])
        return blur(fill_polygon(contour, *self.size), max(0.6, 0.004 * face_width))

    def chart(self) -> Float[np.ndarray, "h w 2"]:
        """Per pixel: from the right corner (-1) to the left (1), and from the upper lip (0) to the lower (1)."""
        right, left = self.points[LIPS_INNER_UPPER[0]], self.points[LIPS_INNER_UPPER[-1]]
        axis = (left - right) / 2
        h, w = self.size
        x = np.arange(w, dtype=np.float32)[None] + np.float32(0.5 - right[0] - axis[0])
        y = np.arange(h, dtype=np.float32)[:, None] + np.float32(0.5 - right[1] - axis[1])
        across = (x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-6)
        above, below = (self._distance(chain) for chain in (LIPS_INNER_UPPER, LIPS_INNER_LOWER))
        down = blur(above / np.maximum(above + below, 1e-3), 0.05 * float(np.linalg.norm(axis)))
        return np.stack([across, down], -1).astype(np.float32)

    def _distance(self, chain: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
        """Distance to one of the two inner lips."""
        line = np.full(self.size, 255, np.uint8)
        corners = np.round((self.points[list(chain)] - 0.5) * 16).astype(np.int32)
        cv2.polylines(line, [corners], False, (0,), 1, cv2.LINE_8, 4)
        return np.asarray(cv2.distanceTransform(line, cv2.DIST_L2, 5), np.float32)


def _sample(image: UInt8[np.ndarray, "h w 3"], mapping: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    shifted = mapping - np.float32(0.5)
    sampled = cv2.remap(image, shifted[..., 0], shifted[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return sampled.astype(np.float32)


def from_photo(interior: Interior, photo: UInt8[np.ndarray, "h w 3"], photo_points: Points2) -> np.ndarray:
    """The photo's mouth interior stretched to the opening."""
    return _sample(photo, interior.strip_map(_inside(photo_points, (INSIDE_PHOTO, INSIDE_PHOTO))))


def from_target(
    interior: Interior,
    target: UInt8[np.ndarray, "h w 3"],
    target_points: Points2,
    gain: Float[np.ndarray, "3"],
    face_width: float,
) -> np.ndarray:
    """The target's mouth interior without any of its lips, in the source's exposure.

    Args:
        interior: The opening.
        target: The target's crop.
        target_points: Its landmarks.
        gain: Log gain that relighting will apply later; it is taken off here.
        face_width: Pixels.
    """
    seen = without_lower_lip(target, target_points)
    colour = _sample(target, interior.strip_map(_inside(seen, INSIDE_TARGET)))
    upper, lower = list(LIPS_INNER_UPPER[1:-1]), list(LIPS_INNER_LOWER[1:-1])
    opening = np.linalg.norm(target_points[lower] - target_points[upper], axis=1).sum()
    removed = np.linalg.norm(seen[lower] - target_points[lower], axis=1).sum() / max(float(opening), 1e-6)
    colour = colour * np.float32(1 - UNLIT * min(removed / (1 - LEAST_KEPT), 1.0))
    colour = np.maximum((colour + LOG_FLOOR) * np.exp(-gain).astype(np.float32) - LOG_FLOOR, 0)
    area = fill_polygon(smooth_contour(interior.points[list(LIPS_INNER)]), *interior.size) > 0.5
    depth = cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, 5)
    core = area & (depth > RIM * face_width)
    if core.sum() < 9:
        return colour
    filled = smooth_fill(colour, ~core, smoothing=3)
    shade = np.clip(0.75 + 0.25 * depth / (RIM * face_width), 0.75, 1)[..., None]
    mix = blur(core.astype(np.float32), max(0.8, 0.35 * RIM * face_width))[..., None]
    return colour * mix + filled * shade * (1 - mix)


def without_lower_lip(image: UInt8[np.ndarray, "h w 3"], points: Points2) -> Points2:
    """Landmarks whose lower inner lip lies where the picture shows the lip to end.

    Detectors take a bright, full lower lip under a shaded upper one for the inside of an open mouth. From the middle
    of the lower lip a line is followed upwards for as long as it stays lip: brighter than half way (in stops) to the
    dark of the mouth, and as colourful as the lip, which teeth are not. A dark line below a tongue ends it.
    """
    upper, lower = points[list(LIPS_INNER_UPPER[1:-1])], points[list(LIPS_INNER_LOWER[1:-1])]
    middle = (lower + points[list(LIP_RINGS_LOWER[0][1:-1])]) / 2
    steps = np.linspace(0, 1, PROBES, dtype=np.float32)[:, None, None]
    x0, y0, x1, y1 = bounds(points[list(LIPS)], SURROUNDINGS, (image.shape[1], image.shape[0]))
    if x0 >= x1 or y0 >= y1:
        return points
    soft = cv2.GaussianBlur(image[y0:y1, x0:x1], (0, 0), 1.0)
    colours = _sample(soft, (middle + steps * (upper - middle) - [x0, y0]).astype(np.float32))
    start = np.linalg.norm(lower - middle, axis=1) / np.maximum(np.linalg.norm(upper - middle, axis=1), 1e-6)
    light = luminance(colours) + np.float32(LOG_FLOOR)
    chroma = (colours.max(-1) - colours.min(-1)) / (colours.max(-1) + np.float32(LOG_FLOOR))
    outside = steps[..., 0] <= start
    if outside.all() or not outside.any():
        return points
    lip, dark = float(np.median(light[outside])), float(np.percentile(light[~outside], CAVITY_SHARE))
    if lip < LIP_CONTRAST * dark:
        return points
    is_lip = (light > np.sqrt(lip * dark)) & (chroma > 0.6 * float(np.median(chroma[outside])))
    run = (np.cumprod(is_lip | outside, axis=0).sum(0) - 0.5) / (PROBES - 1)
    excess = np.clip((run - start) / np.maximum(1 - start, 1e-6), 0, 1 - LEAST_KEPT)
    excess *= np.clip((MISTAKEN[0] - float(mouth_gap(points))) / (MISTAKEN[0] - MISTAKEN[1]), 0, 1)
    excess = np.convolve(np.pad(excess, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    out = points.copy()
    out[list(LIPS_INNER_LOWER[1:-1])] = lower + excess[:, None] * (upper - lower)
    return out


def _inside(points: Points2, shares: tuple[float, float]) -> Points2:
    """Inner lips moved towards the middle of the opening, across (x) and along (y) it."""
    out = points.copy()
    ring = list(LIPS_INNER)
    centre = out[ring].mean(0)
    out[ring] = centre + np.array(shares) * (out[ring] - centre)
    return out


def painted(
    interior: Interior,
    lips: Float[np.ndarray, "3"],
    gap: float,
    teeth: tuple[UInt8[np.ndarray, "h w 3"], Points2, float] | None = None,
) -> np.ndarray:
    """Cavity, tongue and upper teeth, coloured from the person's own lips.

    Args:
        interior: The opening.
        lips: Mean colour of the source's lips.
        gap: Mouth gap, eye distances.
        teeth: A photo that shows teeth, its landmarks and its mouth gap: its teeth are used at their natural size
            instead of painted ones.
    """
    chart = interior.chart()
    across, down = chart[..., 0], chart[..., 1]
    bright = float(luminance(lips.astype(np.float32)))
    dark = CAVITY * (0.85 * lips + 0.15 * bright)
    colour = np.ones((*interior.size, 3), np.float32) * dark.astype(np.float32)
    tongue = smoothstep((0.75 - np.hypot(across / 1.1, (down - 1.12) / 0.75)) / 0.25 + 0.5)
    tongue *= np.clip((gap - 0.05) / 0.1, 0, 1)
    colour += (tongue * (0.6 + 0.4 * down))[..., None] * (TONGUE * lips - dark).astype(np.float32)
    height = min(TEETH_HEIGHT / max(gap, 1e-3), 0.75)
    arc = height * (1 - 0.35 * across**2)
    row = smoothstep((arc - down) / 0.08 + 0.5) * np.clip((gap - 0.03) / 0.05, 0, 1)
    if teeth is None:
        shade = 1 - 0.45 * np.clip(np.abs(across), 0, 1) ** 3
        enamel = TEETH * bright * np.array(ENAMEL) * shade[..., None]
    else:
        image, points, photo_gap = teeth
        natural = _natural_rows(points, gap / max(photo_gap, 1e-3))
        enamel = _sample(image, interior.strip_map(natural))
        reach = np.clip(0.85 * photo_gap / max(gap, 1e-3), 0, 1)
        row = smoothstep((reach - down) / 0.10 + 0.5) * np.clip(gap / 0.02, 0, 1)
    colour += row[..., None] * (enamel.astype(np.float32) - colour)
    edge = np.clip(np.minimum(down, 1 - down) * max(gap, 0.02) / 0.02, 0, 1) * np.clip(4 * (1 - np.abs(across)), 0, 1)
    return np.clip(colour * (0.75 + 0.25 * edge)[..., None], 0, 255).astype(np.float32)


def _natural_rows(points: Points2, stretch: float) -> Points2:
    """Move the photo's lower inner lip so that the strip shows the upper teeth unstretched."""
    out = _inside(points, (INSIDE_PHOTO, 0.92))
    upper, lower = list(LIPS_INNER_UPPER[1:-1]), list(LIPS_INNER_LOWER[1:-1])
    out[lower] = out[upper] + stretch * (out[lower] - out[upper])
    return out


def lip_colour(colour: Float[np.ndarray, "h w 3"], points: Points2) -> Float[np.ndarray, "3"]:
    """Median colour of the lips."""
    h, w = colour.shape[:2]
    lips = fill_polygon(points[list(LIPS_OUTER)], h, w) - fill_polygon(points[list(LIPS_INNER)], h, w)
    chosen = lips > 0.9
    return np.median(colour[chosen], axis=0) if chosen.any() else np.array([120.0, 80.0, 80.0])


def opacity(gap: float) -> float:
    """How much of the interior shows at a mouth gap."""
    return float(smoothstep(np.array((gap - GAP_SHUT) / (GAP_OPEN - GAP_SHUT))))


def width_share(gap: float) -> float:
    """How much of a target's interior is used at a mouth gap; a narrower opening is painted dark."""
    return float(smoothstep(np.array((gap - NARROW[0]) / (NARROW[1] - NARROW[0]))))


def fallback(kind: MouthSource, has_teeth: bool) -> str:
    """What stands in when no photo fits: ``target``, ``painted`` or ``teeth`` (the photo's, over a painted cavity)."""
    if kind == "target":
        return "target"
    return "teeth" if kind == "source" and has_teeth else "painted"
