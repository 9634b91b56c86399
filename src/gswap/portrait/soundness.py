"""Is a portrait whole from sides that its clip never showed? Holes, floaters and ragged edges in numbers (Fig. 8)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import disc
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack
from gswap.portrait.model import Portrait
from gswap.portrait.orbit import AloneView, alone_views, orbit_track
from gswap.portrait.sides import HAIR, Outline, outline_of

YAW, PITCH = (-30.0, -15.0, 15.0, 30.0), (-12.0, 0.0, 12.0)
"""Degrees: the views around the starting one, every yaw with every pitch."""
SIDE = 320
"""Pixels of a view; the head takes 0.72 of them."""
CLOSED = 0.95
"""Alpha below which a pixel inside the outline is part of a hole: a twentieth of a bright background is a speck in
dark hair."""
SOLID = 0.5
"""Alpha from which a pixel belongs to the head's outline as the eye sees it."""


class Soundness(NamedTuple):
    """Percent of the head's area; means over the views, best 0."""

    holes: float
    """Pixels inside the outline of the surface through which the background shows."""
    floaters: float
    """Opacity farther off the surface than skin, or strands of hair where hair may grow, stand off it."""
    ragged: float
    """Spikes and strands of the outline, and the gaps between them, that are thinner than twice a strand's length."""


def soundness(
    portrait: Portrait, drive: BodyTrack, t: int, model: BodyModel, *, rasterize: Rasterizer, yaw: float = max(YAW)
) -> Soundness:
    """Judge a portrait in twelve views around frame ``t``.

    Args:
        portrait: A fitted portrait.
        drive: The track it was fitted on.
        t: Frame of the track to start from.
        model: The body.
        rasterize: Splats Gaussians.
        yaw: Largest turn, degrees.
    """
    turns = itertools.product((yaw / max(YAW) * y for y in YAW), PITCH)
    track = orbit_track(drive, t, *zip(*turns, strict=True))
    views = alone_views(portrait, track, model, rasterize=rasterize, side=SIDE)
    outline = outline_of(portrait, model, drive)
    holes, floaters, ragged = np.mean([_judge(view, outline) for view in views], axis=0)
    return Soundness(float(holes), float(floaters), float(ragged))


def _judge(view: AloneView, outline: Outline) -> Soundness:
    inside, beyond = outline.within(view.vertices, view.camera), outline.beyond(view.vertices, view.camera)
    alpha, percent = view.alpha.numpy(), 100 / max(int(inside.sum()), 1)
    return Soundness(
        holes=percent * float((alpha[inside] < CLOSED).sum()),
        floaters=percent * float(alpha[beyond].sum()),
        ragged=percent * thin_area(alpha),
    )


def thin_area(alpha: Float[np.ndarray, "h w"]) -> int:
    """Pixels by which the outline of ``alpha`` changes when what is thin is removed, and what is narrow filled."""
    solid = np.pad((alpha > SOLID).astype(np.uint8), SIDE // 4)  # the border of the picture is no edge
    brush = disc(2 * round(HAIR * alpha.shape[1]) + 1)
    opened, closed = (cv2.morphologyEx(solid, way, brush) for way in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE))
    return int((opened != closed).sum())
