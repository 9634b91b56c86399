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
from gswap.segmentation.canvas import (
    Keyframe,
    canvas_box,
    colours_around_holes,
    median_background,
    needed_background,
    observed,
    place_of,
    register,
    sure_background,
)
from gswap.segmentation.config import PlateConfig
from gswap.segmentation.hole import HeadRegion, head_region, surroundings
from gswap.segmentation.registration import (
    Affine,
    Scenery,
    after,
    camera_motion,
    for_opencv,
    refined_motion,
    resampling,
    translation,
)
from gswap.segmentation.texture import continue_background, local_contrast

Landmarks = Float[np.ndarray, "478 3"]

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
_BORDER_LIMIT = 40.0
_BORDER_REACH = 0.15
"""Face units inwards over which the difference along the border fades: far inside nobody sees what it joins."""
_BORDER_NOISE = 1.5
"""Differences along the border below this, 8-bit levels, are noise; following them would make the plate flicker."""
_EXPOSURE_STEP = 3
"""Every n-th row and column of the background is enough to measure the exposure."""
_EXPOSURE_SPREAD = 8.0
"""Pixels further from the median difference than this show something else than a change of exposure."""
_COLLAR = (-0.30, -0.14)
"""Heights between which a hole above the torso turns from clothes to background."""
_CLOTHES_MARGIN = 32
"""Pixels above and below the rows in which clothes are continued that they are continued from, too."""
_FEATHER = 1.5
"""Pixels over which the plate fades in, inside the hole."""


def sample_frames(shot: Shot, window: Window, cfg: PlateConfig) -> list[int]:
    """The frames of a shot that the builder should observe: evenly spread, few enough for its memory."""
    width, height = window.size
    affordable = int(cfg.memory_mb * 2**20 / (width * height * 4))
    count = max(min(cfg.samples, affordable, shot.stop - shot.start), 1)
    return sorted({int(t) for t in np.linspace(shot.start, shot.stop - 1, count).round()})


@dataclass
class PlateBuilder:
    """First pass over one shot: :meth:`observe` the frames of :func:`sample_frames`, then :meth:`build`."""

    window: Window
    shot: Shot
    cfg: PlateConfig = field(default_factory=PlateConfig)
    _keyframes: list[Keyframe] = field(default_factory=list)

    def observe(self, t: int, rgb: RgbImage, masks: Masks, landmarks: Landmarks) -> None:
        """Take note of one work image, with its masks and its landmarks (pixels of that image)."""
        self._keyframes.append(observed(t, rgb, masks, head_region(masks, landmarks, self.cfg)))

    def build(self, inpaint: Inpainter | None = None) -> ShotPlate:
        """The canvas of the shot.

        Args:
            inpaint: Fills what no frame shows and some hole looks at; ``None`` = the texture around it is continued.
                Not asked where no frame shows any background (people fill them): then the colours around the holes
                are continued smoothly.

        Raises:
            InternalError: No frame was observed.
        """
        if not self._keyframes:
            raise InternalError("A plate needs at least one observed frame.")
        frames = sorted(self._keyframes, key=lambda k: k.t)
        moves, fixed = register(frames, self.window, self.cfg)
        origin, size = canvas_box(moves, self.window, self.shot, fixed)
        moves = [after(translation(-origin[0], -origin[1]), move) for move in moves]
        views = min(self.cfg.minimum_views, len(frames))
        canvas, seen, known = median_background(frames, moves, size, views)
        if not known.any():
            canvas = colours_around_holes(frames, moves, size)
        elif inpaint is not None and not known.all():
            unseen = needed_background(frames, moves, size) & ~known
            smooth = np.round(smooth_fill(canvas.astype(np.float32), ~known)).clip(0, 255).astype(np.uint8)
            canvas = inpaint(smooth, np.where(unseen, 255, 0).astype(np.uint8))
        elif not known.all():
            textured = local_contrast(canvas, known, self.cfg.fill_side) > self.cfg.texture
            needed = needed_background(frames, moves, size)
            canvas = continue_background(canvas, ~known, needed, self.cfg.fill_side, textured)
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
        region = head_region(masks, landmarks, self.cfg)
        if not region.hole.any():
            return rgb.copy()
        background = sure_background(masks, region)
        box = surroundings(region.hole, round(_RIM_REACH * region.unit))
        part, hole = rgb[box].copy(), region.hole[box]
        corner = translation(box[1].start, box[0].start)
        behind = self._warped(self.canvas, after(self._move(t, rgb, background), corner), part.shape, cv2.INTER_CUBIC)
        exposure = _exposure(part, behind, background[box])
        border = (masks.person[box] < _BORDER_PERSON) & ~hole
        border &= cv2.dilate(hole.view(np.uint8), disc(2 * _BORDER + 1)) > 0
        step = _border_step(part, behind, exposure, border)
        torso = _torso_share(region, landmarks, box)
        inside = np.flatnonzero(hole)
        depth = cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 3).take(inside)[:, None]
        filled = _at(behind, inside) + exposure + np.exp(-depth / (_BORDER_REACH * region.unit)) * _at(step, inside)
        if torso.any():
            cloth = _continue_clothes(part, region.clothes[box], hole, torso > 0)
            filled += torso.take(inside)[:, None] * (_at(cloth, inside) - filled)
        own = _at(part, inside)
        own += np.minimum(depth / _FEATHER, 1) * (filled - own)
        part.reshape(-1, 3)[inside] = own.round().clip(0, 255)
        out = rgb.copy()
        out[box] = part
        return out

    def behind(
        self, t: int, rgb: RgbImage, background: Bool[np.ndarray, "h w"]
    ) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """The canvas as frame ``t`` sees it, and where it was revealed by other frames."""
        move = self._move(t, rgb, background)
        colour = self._warped(self.canvas, move, rgb.shape, cv2.INTER_CUBIC)
        seen = self._warped(self.seen.view(np.uint8) * 255, move, rgb.shape, cv2.INTER_LINEAR)
        return colour.astype(np.float32), seen > 252

    @staticmethod
    def _warped(canvas: np.ndarray, move: Affine, shape: tuple[int, ...], interpolation: int) -> np.ndarray:
        """Rows and columns ``shape`` of an image that ``move`` takes to the canvas."""
        flags = resampling(move, interpolation) | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REPLICATE if canvas.ndim == 3 else cv2.BORDER_CONSTANT
        return cv2.warpAffine(canvas, for_opencv(move), shape[1::-1], flags=flags, borderMode=border)

    def _move(self, t: int, rgb: RgbImage, background: Bool[np.ndarray, "h w"]) -> Affine:
        """Work image of frame ``t`` -> canvas."""
        if self.fixed:
            return after(translation(-self.origin[0], -self.origin[1]), place_of(self.window, t))
        nearest = int(np.abs(self.times - t).argmin())
        if self.times[nearest] == t:
            return self.moves[nearest]
        scenery = Scenery.of(rgb, background)
        motion = camera_motion(scenery, self.sceneries[nearest])
        if motion is not None:
            return after(self.moves[nearest], refined_motion(scenery, self.sceneries[nearest], motion))
        flat = self.moves.reshape(len(self.moves), 6)
        return np.array([np.interp(t, self.times, flat[:, k]) for k in range(6)]).reshape(2, 3)


def _shrink(image: np.ndarray) -> np.ndarray:
    size = (max(image.shape[1] // _FIELD_SCALE, 1), max(image.shape[0] // _FIELD_SCALE, 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _at(image: np.ndarray, pixels: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Colours of the pixels with these flat indices."""
    return image.reshape(-1, 3).take(pixels, 0).astype(np.float32)


def _border_step(
    rgb: RgbImage, behind: RgbImage, exposure: Float[np.ndarray, "3"], border: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """What lets the exposed canvas ``behind`` meet the frame along the hole's border.

    The difference there is spread smoothly over the hole, as in mean-value cloning (Farbman et al., "Coordinates for
    instant image cloning", SIGGRAPH 2009) but by push-pull, and only as far as it exceeds the noise.
    """
    weight = _shrink(border.astype(np.float32))
    known = weight > _BORDER_SHARE
    if not known.any():
        return np.zeros(rgb.shape, np.float32)
    rest = cv2.subtract(rgb, behind, mask=border.view(np.uint8), dtype=cv2.CV_32F)
    field_ = _shrink(rest) / np.maximum(weight, _BORDER_SHARE)[..., None] - exposure
    field_ = np.clip(field_, -_BORDER_LIMIT, _BORDER_LIMIT)
    field_ -= np.clip(field_, -_BORDER_NOISE, _BORDER_NOISE)
    field_ = smooth_fill(np.where(known[..., None], field_, 0), ~known, smoothing=4)
    return cv2.resize(field_, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)


def _exposure(rgb: RgbImage, behind: RgbImage, background: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "3"]:
    """What brings the canvas to the frame's exposure: one difference per channel.

    It is the mean over the sure background around the hole, without the pixels that show something else.
    """
    every = slice(None, None, _EXPOSURE_STEP)
    chosen = background[every, every]
    difference = rgb[every, every][chosen].astype(np.float32) - behind[every, every][chosen]
    if not len(difference):
        return np.zeros(3, np.float32)
    typical = np.abs(difference - np.median(difference, 0)) < _EXPOSURE_SPREAD
    mean = (difference * typical).sum(0) / np.maximum(typical.sum(0), 1)
    return np.clip(mean, -_RIM_LIMIT, _RIM_LIMIT).astype(np.float32)


def _torso_share(region: HeadRegion, landmarks: Landmarks, box: tuple[slice, slice]) -> Float[np.ndarray, "h w"]:
    """How much of each hole pixel in the box would show the torso if there were no head.

    That is between clothes, below the collar.
    """
    out = np.zeros(region.hole[box].shape, np.float32)
    chin = int(np.clip(landmarks[CHIN, 1] - box[0].start, 0, len(out) - 1))
    rows = slice(box[0].start + chin, box[0].start + len(out))
    clothes = region.clothes[rows]
    columns = np.arange(clothes.shape[1])[box[1]]
    first = clothes.argmax(1)[:, None]
    last = clothes.shape[1] - 1 - clothes[:, ::-1].argmax(1)[:, None]
    between = (columns >= first) & (columns <= last) & clothes.any(1)[:, None]
    below = np.clip((_COLLAR[1] - region.height[rows, box[1]]) / (_COLLAR[1] - _COLLAR[0]), 0, 1)
    out[chin:] = region.hole[rows, box[1]] * below * blur(between.astype(np.float32), 0.03 * region.unit)
    return out


def _continue_clothes(
    rgb: RgbImage,
    clothes: Bool[np.ndarray, "h w"],
    hole: Bool[np.ndarray, "h w"],
    needed: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """The clothes' colours, continued smoothly over the hole in the rows that are ``needed``."""
    out = rgb.astype(np.float32)
    rows = surroundings(needed, _CLOTHES_MARGIN)[0]
    part = out[rows]
    source = _shrink((clothes & ~hole)[rows].astype(np.float32)) > 0.9
    if source.any():
        filled = smooth_fill(_shrink(part), ~source)
        part[:] = cv2.resize(filled, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
    return out
