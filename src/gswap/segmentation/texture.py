"""Filling what no frame shows: its large structures are continued, and copied pieces of the rest give the detail.

What lies behind a head is mostly out of focus, and its edges (a wall's, a horizon) run into the hole on both sides. So
the colours are continued along one direction, the one that would have foretold best what is around the hole. The
detail comes from few large pieces of the rest of the picture, each where its colours are those expected (like He and
Sun, "Statistics of patch offsets for image completion", ECCV 2012, with the continued colours to go by).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur, disc, smooth_fill
from gswap.segmentation.registration import for_opencv

_CONTRAST_SIGMA = 3.0
_INSIDE = 13
"""Pixels from the border of what is known within which contrast is not measured."""
_KNOWN_SHARE = 0.9
"""A working pixel of which more than this is known is known."""
_NARROW = 0.125
"""Least room on every side of a hole to continue it from, in parts of the hole's larger side."""
_LEAST_KNOWN = 0.02
"""Share of the working image that must be known to continue more than its mean."""
_SQUEEZES = (2.0, 4.0, 10.0)
"""How many times further colours reach along the direction than across it."""
_TURNS = (15.0, 7.5, 3.75)
"""Directions are tried every so many degrees, then on both sides of the best."""
_LEFT_OUT = 0.15
"""Width of the ring around a hole that directions must foretell, in parts of the hole's smaller side."""
_BETTER = 0.95
"""A direction must foretell the ring this much better than none, as part of the error."""
_THIN_SHARE = 0.3
"""A pixel of the squeezed image is known when more than this of it is."""
_SMOOTHING = 4
"""Blur passes of a smooth fill: what it leaves of blocks is small beside what it is added to, or not seen."""
_DETAIL_SIGMA = 5.0
"""Working pixels: what is larger than this is not detail; the continued colours give it."""
_CELL = 4
"""Working pixels: side of the cells on which pieces are chosen."""
_PIECES, _GAIN = 8, 0.04
"""Pieces at most; one more must lower the misfit by this part."""
_PIECE_SIGMA = 2.0
"""Cells over which the misfit of a piece is averaged: a piece is no smaller than that."""
_NEAREST_PIECE = 3
"""Cells that a piece comes from afar at least: nearer ones repeat visibly."""
_WORST_MISFIT = 60.0
"""8-bit levels; also that of what is unknown."""
_PIECE_SHARE = 0.08
"""Part of the hole that a piece must reach."""
_SEAM_SIGMA = 2.0
"""Working pixels over which pieces are blended into one another."""
_SEAM_LEAST = 0.05
"""Where less than this of any piece is, its detail fades."""


def local_contrast(image: UInt8[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"], side: int) -> float:
    """Median difference to the local mean, 8-bit levels, well inside ``known``, of the image reduced to ``side``."""
    scale = _reduction(image, side)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(known.astype(np.uint8), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(inside, disc(_INSIDE), borderType=cv2.BORDER_REPLICATE) > 0
    if not inside.any():
        return 0.0
    return 1.5 * float(np.median(np.abs(small - blur(small, _CONTRAST_SIGMA)).mean(-1)[inside]))


def continue_background(
    image: UInt8[np.ndarray, "h w 3"],
    unknown: Bool[np.ndarray, "h w"],
    needed: Bool[np.ndarray, "h w"],
    side: int,
    textured: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """Fill ``unknown`` smoothly; where ``needed``, with the structures and the detail of the rest of the image.

    Args:
        image: Known outside ``unknown``.
        unknown: What to fill.
        needed: The part of it that will be seen.
        side: The fill is worked out on an image of at most this many pixels on a side.
        textured: Whether to add detail.
    """
    smooth = np.round(smooth_fill(image.astype(np.float32), unknown, _SMOOTHING)).clip(0, 255).astype(np.uint8)
    hole = unknown & needed
    if not hole.any():
        return smooth
    box = _box_to_copy_within(hole, unknown)
    part, part_unknown = image[box].astype(np.float32), unknown[box]
    small = _Small.of(part, part_unknown, hole[box], side)
    if (~small.unknown).mean() < _LEAST_KNOWN:
        return smooth
    colours = small.structure()
    filled = cv2.resize(colours, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_CUBIC)
    if textured:
        filled += _detail(part, part_unknown, *small.pieces(colours))
    # The fill meets the border exactly: what it lacks there is spread over it.
    filled += smooth_fill(np.where(part_unknown[..., None], 0, part - filled), part_unknown, _SMOOTHING)
    out = smooth
    out[box] = np.where(part_unknown[..., None], np.round(filled).clip(0, 255), part).astype(np.uint8)
    return out


@dataclass(frozen=True)
class _Small:
    """The working image."""

    image: Float[np.ndarray, "h w 3"]
    """Black where it is unknown."""
    unknown: Bool[np.ndarray, "h w"]
    hole: Bool[np.ndarray, "h w"]
    """The unknown that will be seen, and what is in the same pixels."""

    @classmethod
    def of(cls, image: Float[np.ndarray, "H W 3"], unknown: np.ndarray, hole: np.ndarray, side: int) -> _Small:
        scale = _reduction(image, side)
        high, wide = (max(round(length * scale), 1) for length in unknown.shape)
        known = (~unknown).astype(np.float32)
        colour, share, seen = (
            cv2.resize(a, (wide, high), interpolation=cv2.INTER_AREA)
            for a in (image * known[..., None], known, hole.astype(np.float32))
        )
        missing = share < _KNOWN_SHARE
        colour = np.where(missing[..., None], 0, colour / np.maximum(share, _KNOWN_SHARE)[..., None])
        return cls(colour.astype(np.float32), missing, seen > 0)

    def structure(self) -> Float[np.ndarray, "h w 3"]:
        """The image, continued along the direction that foretells best a ring around the hole that is left out."""
        _, _, width, height = cv2.boundingRect(self.hole.view(np.uint8))
        reach = max(round(_LEFT_OUT * min(width, height)), 1)
        wide = self.unknown | (cv2.dilate(self.hole.view(np.uint8), disc(2 * reach + 1)) > 0)
        ring = wide & ~self.unknown
        if not ring.any() or (~wide).mean() < _LEAST_KNOWN:
            return _continued(self.image, self.unknown)

        def error(degrees: float, squeeze: float) -> float:
            return float(np.abs(_continued(self.image, wide, degrees, squeeze) - self.image)[ring].mean())

        plain = error(0, 1)
        tried = {(d, s): error(d, s) for s in _SQUEEZES for d in np.arange(-90.0, 90.0, _TURNS[0])}
        for turn in _TURNS[1:]:
            degrees, squeeze = min(tried, key=tried.__getitem__)
            tried |= {(d, squeeze): error(d, squeeze) for d in (degrees - turn, degrees + turn)}
        best = min(tried, key=tried.__getitem__)
        return _continued(self.image, self.unknown, *(best if tried[best] < _BETTER * plain else (0.0, 1.0)))

    def pieces(
        self, colours: Float[np.ndarray, "h w 3"]
    ) -> tuple[list[tuple[int, int]], Float[np.ndarray, "rows columns"]]:
        """The pieces whose colours are most like those expected.

        Returns:
            Where each comes from (columns and rows of cells), and the piece of every cell; -1 outside the hole and a
            rim around it.

        They are chosen one after another, each the one that lowers the sum of the smallest misfits most.
        """
        rows, columns = (max(n // _CELL, 1) for n in self.unknown.shape)

        def cells(a: np.ndarray) -> np.ndarray:
            return cv2.resize(a.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)

        share = cells(~self.unknown)
        known, hole = share > _KNOWN_SHARE, cv2.dilate(cells(self.hole), disc(3)) > 0
        expected, there = cells(colours), cells(self.image) / np.maximum(share, 1e-3)[..., None]
        left, top, wide, high = cv2.boundingRect(hole.view(np.uint8))
        place = np.s_[top : top + high, left : left + wide]
        margin = ((rows, rows), (columns, columns))
        there, known = np.pad(there, (*margin, (0, 0))), np.pad(known, margin)
        shifts: list[tuple[int, int]] = []
        misfits: list[np.ndarray] = []
        for y in range(-rows, rows + 1):
            for x in range(-columns, columns + 1):
                part = np.s_[rows + y + top : rows + y + top + high, columns + x + left : columns + x + left + wide]
                reached = known[part]
                if max(abs(x), abs(y)) < _NEAREST_PIECE or reached[hole[place]].mean() < _PIECE_SHARE:
                    continue
                misfit = np.abs(there[part] - expected[place]).mean(-1)
                misfit = blur(np.where(reached, np.minimum(misfit, _WORST_MISFIT), _WORST_MISFIT), _PIECE_SIGMA)
                shifts.append((x, y))
                misfits.append(np.where(reached, misfit, _WORST_MISFIT))
        labels = np.full((rows, columns), -1, np.float32)
        if not shifts:
            return [], labels
        volume = np.stack(misfits).astype(np.float32)
        least = np.full((high, wide), _WORST_MISFIT, np.float32)
        chosen: list[int] = []
        while len(chosen) < _PIECES:
            sums = np.minimum(volume, least)[:, hole[place]].sum(1)
            best = int(sums.argmin())
            if sums[best] > (1 - _GAIN) * least[hole[place]].sum():
                break
            chosen.append(best)
            least = np.minimum(least, volume[best])
        if chosen:
            labels[place] = np.where(least < _WORST_MISFIT, volume[chosen].argmin(0), -1)
        return [shifts[k] for k in chosen], labels


def _detail(
    image: Float[np.ndarray, "h w 3"],
    unknown: Bool[np.ndarray, "h w"],
    shifts: list[tuple[int, int]],
    labels: Float[np.ndarray, "rows columns"],
) -> Float[np.ndarray, "h w 3"]:
    """The detail of pieces of the image, each where its label is: cells of any size, which fill the image."""
    height, width = unknown.shape
    across, down = width / labels.shape[1], height / labels.shape[0]
    pixel = across / _CELL
    known = (~unknown).astype(np.float32)
    large = blur(image * known[..., None], _DETAIL_SIGMA * pixel)
    large /= np.maximum(blur(known, _DETAIL_SIGMA * pixel), 1e-3)[..., None]
    source = np.dstack([(image - large) * known[..., None], known])
    total = np.zeros((height, width, 4), np.float32)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    for k, (x, y) in enumerate(shifts):
        move = np.array([[1.0, 0.0, -round(x * across)], [0.0, 1.0, -round(y * down)]])
        moved = cv2.warpAffine(source, move, (width, height), flags=cv2.INTER_NEAREST)
        total += moved * blur((labels == k).astype(np.float32), _SEAM_SIGMA * pixel)[..., None]
    return total[..., :3] / np.maximum(total[..., 3:], _SEAM_LEAST)


def _continued(
    image: Float[np.ndarray, "h w 3"], unknown: Bool[np.ndarray, "h w"], degrees: float = 0.0, squeeze: float = 1.0
) -> Float[np.ndarray, "h w 3"]:
    """The image filled smoothly, with colours that reach ``squeeze`` times further along a direction than across.

    That is a smooth fill of the image squeezed along the direction; what that loses of the border is added after.
    """
    if squeeze == 1:
        return smooth_fill(image, unknown, _SMOOTHING)
    height, width = unknown.shape
    side = int(np.ceil(np.hypot(height, width)))
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    turn[:, 2] = side / 2 - turn[:, :2] @ (width / 2, height / 2)
    turn = for_opencv(turn)
    known = (~unknown).astype(np.float32)
    turned = cv2.warpAffine(np.dstack([image * known[..., None], known]), turn, (side, side))
    thin = cv2.resize(turned, (max(round(side / squeeze), 1), side), interpolation=cv2.INTER_AREA)
    missing = thin[..., 3] < _THIN_SHARE
    colour = np.where(missing[..., None], 0, thin[..., :3] / np.maximum(thin[..., 3:], _THIN_SHARE))
    filled = smooth_fill(colour.astype(np.float32), missing, _SMOOTHING)
    filled = cv2.resize(filled, (side, side), interpolation=cv2.INTER_LINEAR)
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    filled = cv2.warpAffine(filled, turn, (width, height), flags=back, borderMode=cv2.BORDER_REPLICATE)
    rest = np.where(unknown[..., None], 0, image - filled).astype(np.float32)
    return filled + smooth_fill(rest, unknown, _SMOOTHING)


def _reduction(image: np.ndarray, side: int) -> float:
    return min(1.0, side / max(image.shape[:2]))


def _box_to_copy_within(hole: Bool[np.ndarray, "h w"], unknown: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of the hole, and as much again around it to copy from, as long as that is mostly known.

    Beside a narrow hole it is more: its colours come from its long sides.
    """
    known = ~unknown
    x, y, width, height = cv2.boundingRect(hole.view(np.uint8))
    least = int(_NARROW * max(width, height))
    aside, above = (max(length // 2, least) for length in (width, height))
    rows = _grown(y, y + height, above, known[:, max(x - aside, 0) : x + width + aside].mean(1))
    return rows, _grown(x, x + width, aside, known[rows].mean(0))


def _grown(low: int, high: int, margin: int, known: Float[np.ndarray, " n"]) -> slice:
    """The interval, wider on either side by a margin, without ends that are mostly unknown."""
    before = np.flatnonzero(known[max(low - margin, 0) : low] > 0.5)
    behind = np.flatnonzero(known[high : high + margin] > 0.5)
    start = max(low - margin, 0) + before[0] if len(before) else low
    return slice(int(start), int(high + behind[-1] + 1) if len(behind) else high)
