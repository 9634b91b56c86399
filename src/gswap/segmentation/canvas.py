"""One picture of a shot's background: observed frames are registered to each other, and their median is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool

from gswap.foundation.imaging import disc, smooth_fill
from gswap.foundation.types import Masks, RgbImage, Shot, Window
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.hole import HeadRegion, distance_to, within
from gswap.segmentation.registration import (
    Affine,
    Scenery,
    after,
    camera_motion,
    for_opencv,
    inverse,
    refined_motion,
    resampling,
    translation,
)

_PERSON_TRACE = 50
"""A pixel with more than this (of 255) of a person is not background."""
_PERSON_MARGIN = 0.05
"""Face units around people that are not trusted as background: soft edges, contact shadows."""
_LARGEST_CANVAS = 2.5
"""The canvas reaches at most this many windows in either direction."""
_REMNANT_WIDTH = 15
"""Pixels: details of less than half this width are looked at as hairs that the masks missed."""
_REMNANT, _LEAST_REMNANT = 3.0, 6.0
"""How many times stronger than nearly all details of the sure background a hair is, and at least how many levels."""
_OFTEN = 0.33
"""What this part of the frames shows is no remnant: hair moves with the head."""
_REMNANT_RIM = 5
"""Pixels: diameter of what goes with every pixel of a hair."""
_STRIP_ROWS = 64
"""The median is taken over strips of this many rows, to bound memory."""


@dataclass(frozen=True)
class Keyframe:
    """An observed frame."""

    t: int
    rgb: RgbImage
    scenery: Scenery
    """Its sure background."""
    hole: Bool[np.ndarray, "h w"]
    open: Bool[np.ndarray, "h w"]
    """Everything but the hole and people: the sure background and the margin around people."""


def observed(t: int, rgb: RgbImage, masks: Masks, region: HeadRegion) -> Keyframe:
    """Take note of one work image."""
    covered = (masks.person > _PERSON_TRACE) | region.hole
    return Keyframe(t, rgb.copy(), Scenery.of(rgb, sure_background(masks, region)), region.hole, ~covered)


def sure_background(masks: Masks, region: HeadRegion) -> Bool[np.ndarray, "h w"]:
    """Pixels that surely show what is behind people."""
    return distance_to((masks.person > _PERSON_TRACE) | region.hole) > _PERSON_MARGIN * region.unit


def place_of(window: Window, t: int) -> Affine:
    """Work image of frame ``t`` -> the (scaled) full frame."""
    return translation(window.x[t] * window.scale, window.y[t] * window.scale)


def register(frames: list[Keyframe], window: Window, cfg: PlateConfig) -> tuple[list[Affine], bool]:
    """Work image -> reference coordinates (the middle frame's full frame) for every keyframe; is the camera fixed?"""
    middle = len(frames) // 2
    places = [place_of(window, k.t) for k in frames]
    moves: list[Affine] = list(places)
    for order in (range(middle + 1, len(frames)), range(middle - 1, -1, -1)):
        last = middle
        for k in order:
            still = after(inverse(places[last]), places[k])
            guess = after(after(inverse(places[middle]), moves[last]), still)
            direct = camera_motion(frames[k].scenery, frames[middle].scenery, guess)
            if direct is None:
                step = camera_motion(frames[k].scenery, frames[last].scenery, still)
                # Without anything to follow, the camera is taken not to have moved since the last frame.
                moves[k] = after(moves[last], still if step is None else step)
                direct = None if step is None else after(inverse(places[middle]), moves[k])
            if direct is not None:
                moves[k] = after(places[middle], refined_motion(frames[k].scenery, frames[middle].scenery, direct))
            last = k
    width, height = window.size
    corner_points = np.array([[0, 0], [width, 0], [0, height], [width, height], [width / 2, height / 2]], np.float64)
    shifts = [
        np.abs(corner_points @ (m - p)[:, :2].T + (m - p)[:, 2]).max() for m, p in zip(moves, places, strict=True)
    ]
    fixed = float(np.median(shifts)) < cfg.static_motion
    return (places if fixed else moves), fixed


def canvas_box(
    moves: list[Affine], window: Window, shot: Shot, fixed: bool
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Corner (reference coordinates) and size (w, h) of a canvas that holds the shot's windows."""
    width, height = window.size
    if fixed:
        moves = [place_of(window, t) for t in range(shot.start, shot.stop)]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    reach = np.concatenate([corners @ m[:, :2].T + m[:, 2] for m in moves])
    margin = 0 if fixed else 0.1 * max(width, height)
    low, high = reach.min(0) - margin, reach.max(0) + margin
    middle = np.median(reach, 0)
    most = _LARGEST_CANVAS / 2 * np.array([width, height])
    low, high = np.floor(np.maximum(low, middle - most)), np.ceil(np.minimum(high, middle + most))
    return (float(low[0]), float(low[1])), (int(high[0] - low[0]), int(high[1] - low[1]))


def median_background(
    frames: list[Keyframe], moves: list[Affine], size: tuple[int, int], minimum_views: int
) -> tuple[RgbImage, Bool[np.ndarray, "ch cw"], Bool[np.ndarray, "ch cw"]]:
    """Temporal median of the backgrounds on the canvas.

    Pixels that too few frames surely show take what lies in the margin around people, too: that is what a plate has to
    meet at the border of its hole.

    Returns:
        The canvas; where at least ``minimum_views`` frames surely show it; where anything is known of it but hairs.
    """
    width, height = size
    canvas = np.zeros((height, width, 3), np.uint8)
    revealed, known, often = np.zeros((3, height, width), bool)
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        strips = [for_opencv(after(translation(0, -top), move)) for move in moves]

        def shown(name: str, strips=strips, rows=rows) -> Bool[np.ndarray, "k rows cw"]:
            masks = [f.scenery.background if name == "sure" else f.open for f in frames]
            warped = [
                cv2.warpAffine(m.view(np.uint8) * 255, s, (width, rows), flags=resampling(s, cv2.INTER_LINEAR))
                for m, s in zip(masks, strips, strict=True)
            ]
            return np.stack(warped) == 255

        sure, loose = shown("sure"), shown("open")
        enough = sure.sum(0) >= minimum_views
        used = np.where(enough, sure, loose)
        stack = np.empty((len(frames), rows, width, 3), np.int16)
        for k, (frame, strip) in enumerate(zip(frames, strips, strict=True)):
            colour = cv2.warpAffine(frame.rgb, strip, (width, rows), flags=resampling(strip, cv2.INTER_CUBIC))
            stack[k] = np.where(used[k][..., None], colour, np.int16(999))
        stack.sort(axis=0)
        count = used.sum(0)
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(frames) - 1)
        picked = [np.take_along_axis(stack, k[None, ..., None], 0)[0] for k in (low, high)]
        part = slice(top, top + rows)
        middle = np.where(count[..., None] > 0, (picked[0] + picked[1] + 1) // 2, 0)
        canvas[part], revealed[part], known[part] = middle.clip(0, 255), enough, count > 0
        often[part] = count >= _OFTEN * len(frames)
    known &= ~_remnants(canvas, known, revealed, known & ~often)
    return canvas, revealed & known, known


def _remnants(
    canvas: RgbImage,
    known: Bool[np.ndarray, "ch cw"],
    revealed: Bool[np.ndarray, "ch cw"],
    unsure: Bool[np.ndarray, "ch cw"],
) -> Bool[np.ndarray, "ch cw"]:
    """Fly-away hair and other remains of people in what few of the frames show (``unsure``).

    They are details that are far stronger than those of the background that surely is: a blurred wall has no hairs, and
    in foliage nobody sees them.
    """
    inside = cv2.erode(revealed.view(np.uint8), np.ones((_REMNANT_WIDTH, _REMNANT_WIDTH), np.uint8)) > 0
    if not unsure.any() or not inside.any():
        return np.zeros_like(known)
    whole = np.round(smooth_fill(canvas.astype(np.float32), ~known, smoothing=0)).clip(0, 255).astype(np.uint8)
    detail = cv2.absdiff(whole, cv2.medianBlur(whole, _REMNANT_WIDTH)).max(-1)
    limit = max(_REMNANT * float(np.percentile(detail[inside], 99)), _LEAST_REMNANT)
    hairs = (unsure & (detail > limit)).view(np.uint8)
    return unsure & (cv2.dilate(hairs, disc(_REMNANT_RIM)) > 0)


def colours_around_holes(frames: list[Keyframe], moves: list[Affine], size: tuple[int, int]) -> RgbImage:
    """A canvas of a shot that people fill: what is around the holes, continued smoothly into them.

    Where the holes fill the frames, it has the frames' mean colour.
    """
    around = [replace(frame, open=~frame.hole) for frame in frames]
    canvas, _, known = median_background(around, moves, size, len(frames) + 1)
    if not known.any():
        canvas[:] = np.mean([frame.rgb.mean((0, 1)) for frame in frames], 0).round()
        return canvas
    return np.round(smooth_fill(canvas.astype(np.float32), ~known)).clip(0, 255).astype(np.uint8)


def needed_background(frames: list[Keyframe], moves: list[Affine], size: tuple[int, int]) -> Bool[np.ndarray, "ch cw"]:
    """The part of the canvas that some hole looks at, with room for the frames in between."""
    needed = np.zeros((size[1], size[0]), np.float32)
    for frame, move in zip(frames, moves, strict=True):
        np.maximum(needed, cv2.warpAffine(frame.hole.astype(np.float32), for_opencv(move), size), out=needed)
    return within(needed > 0, 0.04 * max(size))
