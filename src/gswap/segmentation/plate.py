"""The target without head and neck (the paper's Î_tgt): what other frames reveal, and a steady fill for the rest.

Two passes over a shot. First a few frames are observed; their backgrounds, registered to one another, give one canvas
(a temporal median), and what no frame shows is filled in it once, so that it cannot flicker. Then every frame takes
the pixels of its hole from that canvas, brought to its own exposure along the hole's rim. The part of the hole that
lies over the torso continues the clothes instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.errors import InternalError
from gswap.foundation.imaging import blur, disc, smooth_fill
from gswap.foundation.landmarks import CHIN
from gswap.foundation.protocols import Inpainter
from gswap.foundation.types import Masks, RgbImage, Shot, Window
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.hole import clothes_mask, hole_mask, within
from gswap.segmentation.layout import face_axes, face_unit
from gswap.segmentation.registration import (
    Affine,
    Scenery,
    after,
    camera_motion,
    for_opencv,
    inverse,
    translation,
)
from gswap.segmentation.texture import continue_texture, local_contrast

Landmarks = Float[np.ndarray, "478 3"]

_PERSON_TRACE = 50
"""A pixel with more than this (of 255) of a person is not background."""
_PERSON_MARGIN = 0.05
"""Face units around people that are not trusted as background: soft edges, contact shadows."""
_LARGEST_CANVAS = 2.5
"""The canvas reaches at most this many windows in either direction."""
_STRIP_ROWS = 64
"""The median is taken over strips of this many rows, to bound memory."""
_RIM_REACH = 0.25
"""Face units outside the hole over which canvas and frame are compared for exposure."""
_RIM_LIMIT = 24.0
"""Largest exposure difference that is followed, 8-bit levels: more is an object, not light."""
_FIELD_SCALE = 4
"""Smooth fields are computed at this fraction of the resolution."""
_BORDER = 6
"""Width, in pixels, of the rim of background at which fill and frame are made to meet."""
_BORDER_PERSON = 64
"""Pixels with more of a person in them than this (of 255) are no border to meet."""
_BORDER_SHARE = 0.25
_BORDER_LIMIT = 70.0
_COLLAR = (-0.30, -0.14)
"""Heights between which a hole above the torso turns from clothes to background."""
_FEATHER = 1.5
"""Pixels over which the plate fades in, inside the hole."""


def sample_frames(shot: Shot, window: Window, cfg: PlateConfig) -> list[int]:
    """The frames of a shot that the builder should observe: evenly spread, few enough for its memory."""
    width, height = window.size
    affordable = int(cfg.memory_mb * 2**20 / (width * height * 4))
    count = max(min(cfg.samples, affordable, shot.stop - shot.start), 1)
    return sorted({int(t) for t in np.linspace(shot.start, shot.stop - 1, count).round()})


@dataclass(frozen=True)
class _Keyframe:
    """An observed frame."""

    t: int
    rgb: RgbImage
    scenery: Scenery
    hole: Bool[np.ndarray, "h w"]


@dataclass
class PlateBuilder:
    """First pass over one shot: :meth:`observe` the frames of :func:`sample_frames`, then :meth:`build`."""

    window: Window
    shot: Shot
    cfg: PlateConfig = field(default_factory=PlateConfig)
    _keyframes: list[_Keyframe] = field(default_factory=list)

    def observe(self, t: int, rgb: RgbImage, masks: Masks, landmarks: Landmarks) -> None:
        """Take note of one work image, with its masks and its landmarks (pixels of that image)."""
        hole = hole_mask(masks, landmarks, self.cfg)
        scenery = Scenery.of(rgb, _background(masks, hole, face_unit(landmarks)))
        self._keyframes.append(_Keyframe(t, rgb.copy(), scenery, hole))

    def build(self, inpaint: Inpainter | None = None) -> ShotPlate:
        """The canvas of the shot.

        Args:
            inpaint: Fills what no frame shows and some hole looks at; ``None`` = the texture around it is continued.

        Raises:
            InternalError: No frame was observed.
        """
        if not self._keyframes:
            raise InternalError("A plate needs at least one observed frame.")
        frames = sorted(self._keyframes, key=lambda k: k.t)
        moves, fixed = _register(frames, self.window, self.cfg)
        origin, size = _canvas_box(moves, self.window, self.shot, fixed)
        moves = [after(translation(-origin[0], -origin[1]), move) for move in moves]
        canvas, views = _median(frames, moves, size)
        seen = views >= min(self.cfg.minimum_views, len(frames))
        if inpaint is not None and not seen.all():
            unseen = _needed(frames, moves, size) & ~seen
            smooth = np.round(smooth_fill(canvas.astype(np.float32), ~seen)).clip(0, 255).astype(np.uint8)
            canvas = inpaint(smooth, np.where(unseen, 255, 0).astype(np.uint8))
        elif seen.any() and not seen.all():
            textured = local_contrast(canvas, seen, self.cfg.fill_side) > self.cfg.texture
            needed = _needed(frames, moves, size) if textured else np.zeros_like(seen)
            canvas = continue_texture(canvas, ~seen, needed, self.cfg.fill_side)
        return ShotPlate(
            window=self.window,
            cfg=self.cfg,
            canvas=canvas,
            seen=seen,
            origin=origin,
            fixed=fixed,
            times=np.array([k.t for k in frames]),
            moves=np.stack(moves),
            sceneries=() if fixed else tuple(k.scenery for k in frames),
        )


@dataclass(frozen=True)
class ShotPlate:
    """Second pass: what is behind the head in one shot, and how every frame looks at it."""

    window: Window
    cfg: PlateConfig
    canvas: UInt8[np.ndarray, "ch cw 3"]
    seen: Bool[np.ndarray, "ch cw"]
    """Where the canvas was revealed by some frame; the rest is filled in."""
    origin: tuple[float, float]
    """Place of the canvas's corner in the reference coordinates, work pixels."""
    fixed: bool
    """The camera stands still."""
    times: np.ndarray
    moves: Float[np.ndarray, "k 2 3"]
    """Work image -> canvas for each of the observed frames ``times``."""
    sceneries: tuple[Scenery, ...]

    def plate(self, t: int, rgb: RgbImage, masks: Masks, landmarks: Landmarks) -> RgbImage:
        """The work image of frame ``t`` without head and neck; equal to ``rgb`` outside :func:`hole_mask`.

        Args:
            t: Frame of the clip, within the shot.
            rgb: Its work image.
            masks: Its masks.
            landmarks: Its landmarks, in pixels of the work image.
        """
        hole = hole_mask(masks, landmarks, self.cfg)
        if not hole.any():
            return rgb.copy()
        background = _background(masks, hole, face_unit(landmarks))
        behind, _ = self.behind(t, rgb, background)
        behind = _match_exposure(behind, rgb, background, hole, face_unit(landmarks))
        behind = _join_border(behind, rgb, (masks.person < _BORDER_PERSON) & ~hole, hole)
        torso = _torso_share(hole, masks, landmarks)
        if torso.any():
            cloth = _continue_clothes(rgb, clothes_mask(masks, landmarks), hole)
            behind = behind * (1 - torso[..., None]) + cloth * torso[..., None]
        inside = np.minimum(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3) / _FEATHER, 1)[..., None]
        mixed = np.round(rgb * (1 - inside) + behind * inside).clip(0, 255).astype(np.uint8)
        return np.where(hole[..., None], mixed, rgb)

    def behind(
        self, t: int, rgb: RgbImage, background: Bool[np.ndarray, "h w"]
    ) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """The canvas as frame ``t`` sees it, and where it was revealed by other frames."""
        move = for_opencv(self._move(t, rgb, background))
        size, flags = (rgb.shape[1], rgb.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        colour = cv2.warpAffine(self.canvas, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.warpAffine(self.seen.astype(np.float32), move, size, flags=flags)
        return colour.astype(np.float32), seen > 0.99

    def _move(self, t: int, rgb: RgbImage, background: Bool[np.ndarray, "h w"]) -> Affine:
        """Work image of frame ``t`` -> canvas."""
        if self.fixed:
            return after(translation(-self.origin[0], -self.origin[1]), _place(self.window, t))
        nearest = int(np.abs(self.times - t).argmin())
        if self.times[nearest] == t:
            return self.moves[nearest]
        motion = camera_motion(Scenery.of(rgb, background), self.sceneries[nearest])
        if motion is not None:
            return after(self.moves[nearest], motion)
        flat = self.moves.reshape(len(self.moves), 6)
        return np.array([np.interp(t, self.times, flat[:, k]) for k in range(6)]).reshape(2, 3)


def _place(window: Window, t: int) -> Affine:
    """Work image of frame ``t`` -> the (scaled) full frame."""
    return translation(window.x[t] * window.scale, window.y[t] * window.scale)


def _background(masks: Masks, hole: Bool[np.ndarray, "h w"], unit: float) -> Bool[np.ndarray, "h w"]:
    """Pixels that surely show what is behind people."""
    return ~within((masks.person > _PERSON_TRACE) | hole, _PERSON_MARGIN * unit)


def _register(frames: list[_Keyframe], window: Window, cfg: PlateConfig) -> tuple[list[Affine], bool]:
    """Work image -> reference coordinates (the middle frame's full frame) for every keyframe; is the camera fixed?"""
    middle = len(frames) // 2
    places = [_place(window, k.t) for k in frames]
    moves: list[Affine] = list(places)
    for order in (range(middle + 1, len(frames)), range(middle - 1, -1, -1)):
        last = middle
        for k in order:
            still = after(inverse(places[last]), places[k])
            step = camera_motion(frames[k].scenery, frames[last].scenery, still)
            # Without anything to follow, the camera is taken not to have moved since the last frame.
            moves[k] = after(moves[last], still if step is None else step)
            guess = after(inverse(places[middle]), moves[k])
            direct = camera_motion(frames[k].scenery, frames[middle].scenery, guess)
            if direct is not None:
                moves[k] = after(places[middle], direct)
            last = k
    width, height = window.size
    corner_points = np.array([[0, 0], [width, 0], [0, height], [width, height], [width / 2, height / 2]], np.float64)
    shifts = [
        np.abs(corner_points @ (m - p)[:, :2].T + (m - p)[:, 2]).max() for m, p in zip(moves, places, strict=True)
    ]
    fixed = float(np.median(shifts)) < cfg.static_motion
    return (places if fixed else moves), fixed


def _canvas_box(
    moves: list[Affine], window: Window, shot: Shot, fixed: bool
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Corner (reference coordinates) and size (w, h) of a canvas that holds the shot's windows."""
    width, height = window.size
    if fixed:
        moves = [_place(window, t) for t in range(shot.start, shot.stop)]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    reach = np.concatenate([corners @ m[:, :2].T + m[:, 2] for m in moves])
    margin = 0 if fixed else 0.1 * max(width, height)
    low, high = reach.min(0) - margin, reach.max(0) + margin
    middle = np.median(reach, 0)
    most = _LARGEST_CANVAS / 2 * np.array([width, height])
    low, high = np.floor(np.maximum(low, middle - most)), np.ceil(np.minimum(high, middle + most))
    return (float(low[0]), float(low[1])), (int(high[0] - low[0]), int(high[1] - low[1]))


def _median(
    frames: list[_Keyframe], moves: list[Affine], size: tuple[int, int]
) -> tuple[RgbImage, UInt8[np.ndarray, "ch cw"]]:
    """Temporal median of the backgrounds on the canvas, and how many frames show each of its pixels."""
    width, height = size
    canvas = np.zeros((height, width, 3), np.uint8)
    views = np.zeros((height, width), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        stack = np.empty((len(frames), rows, width, 3), np.int16)
        for k, (frame, move) in enumerate(zip(frames, moves, strict=True)):
            strip = for_opencv(after(translation(0, -top), move))
            colour = cv2.warpAffine(frame.rgb, strip, (width, rows), flags=cv2.INTER_LINEAR)
            background = frame.scenery.background.astype(np.float32)
            shown = cv2.warpAffine(background, strip, (width, rows)) > 0.999
            stack[k] = np.where(shown[..., None], colour, np.int16(999))
            views[top : top + rows] += shown
        stack.sort(axis=0)
        count = views[top : top + rows].astype(np.int64)
        low, high = np.maximum(count - 1, 0) // 2, count // 2
        picked = [np.take_along_axis(stack, k[None, ..., None], 0)[0] for k in (low, np.minimum(high, len(frames) - 1))]
        middle = np.where(count[..., None] > 0, (picked[0] + picked[1] + 1) // 2, 0)
        canvas[top : top + rows] = middle.clip(0, 255).astype(np.uint8)
    return canvas, views


def _needed(frames: list[_Keyframe], moves: list[Affine], size: tuple[int, int]) -> Bool[np.ndarray, "ch cw"]:
    """The part of the canvas that some hole looks at, with room for the frames in between."""
    needed = np.zeros((size[1], size[0]), np.float32)
    for frame, move in zip(frames, moves, strict=True):
        np.maximum(needed, cv2.warpAffine(frame.hole.astype(np.float32), for_opencv(move), size), out=needed)
    return within(needed > 0, 0.04 * max(size))


def _shrink(image: np.ndarray) -> np.ndarray:
    size = (max(image.shape[1] // _FIELD_SCALE, 1), max(image.shape[0] // _FIELD_SCALE, 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _match_exposure(
    behind: Float[np.ndarray, "h w 3"],
    rgb: RgbImage,
    background: Bool[np.ndarray, "h w"],
    hole: Bool[np.ndarray, "h w"],
    unit: float,
) -> Float[np.ndarray, "h w 3"]:
    """Add the smooth difference between frame and canvas, measured on the background around the hole."""
    rim = within(hole, _RIM_REACH * unit)
    weight = _shrink((background & rim).astype(np.float32))
    if weight.max() < 0.5:
        return behind
    difference = np.clip(rgb - behind, -_RIM_LIMIT, _RIM_LIMIT) * (background & rim)[..., None]
    known = weight > 0.5
    field_ = _shrink(difference.astype(np.float32)) / np.maximum(weight, 0.5)[..., None]
    field_ = smooth_fill(field_, ~known)
    field_ = blur(field_, 0.1 * unit / _FIELD_SCALE)
    return behind + cv2.resize(field_, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)


def _join_border(
    behind: Float[np.ndarray, "h w 3"],
    rgb: RgbImage,
    outside: Bool[np.ndarray, "h w"],
    hole: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """Let the fill meet the frame along the hole's border: the difference there, spread smoothly over the hole.

    Mean-value-like cloning (Farbman et al., "Coordinates for instant image cloning", SIGGRAPH 2009), by push-pull.
    """
    ring = outside & (cv2.dilate(hole.astype(np.uint8), disc(2 * _BORDER + 1)) > 0)
    weight = _shrink(ring.astype(np.float32))
    known = weight > _BORDER_SHARE
    if not known.any():
        return behind
    difference = np.clip(rgb - behind, -_BORDER_LIMIT, _BORDER_LIMIT) * ring[..., None]
    field_ = _shrink(difference.astype(np.float32)) / np.maximum(weight, _BORDER_SHARE)[..., None]
    field_ = smooth_fill(np.where(known[..., None], field_, 0), ~known, smoothing=4)
    return behind + cv2.resize(field_, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)


def _torso_share(hole: Bool[np.ndarray, "h w"], masks: Masks, landmarks: Landmarks) -> Float[np.ndarray, "h w"]:
    """How much of each hole pixel would show the torso if there were no head: between clothes, below the collar."""
    clothes = clothes_mask(masks, landmarks)
    left = np.maximum.accumulate(clothes, 1)
    right = np.maximum.accumulate(clothes[:, ::-1], 1)[:, ::-1]
    unit = face_unit(landmarks)
    height, _ = face_axes(landmarks, hole.shape)
    below = np.clip((_COLLAR[1] - height) / (_COLLAR[1] - _COLLAR[0]), 0, 1)
    between = blur((left & right).astype(np.float32), 0.03 * unit)
    lowest = int(np.clip(landmarks[CHIN, 1], 0, len(hole) - 1))
    below[:lowest] = 0
    return (hole * below * between).astype(np.float32)


def _continue_clothes(
    rgb: RgbImage, clothes: Bool[np.ndarray, "h w"], hole: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """The clothes' colours, continued smoothly over the hole."""
    source = _shrink((clothes & ~hole).astype(np.float32)) > 0.9
    if not source.any():
        return rgb.astype(np.float32)
    filled = smooth_fill(_shrink(rgb.astype(np.float32)), ~source)
    return cv2.resize(filled, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
