"""Is a portrait whole from sides that its clip never showed? Holes and floaters in numbers (Fig. 8)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool

from gswap.field.surface import Surface
from gswap.foundation.imaging import disc
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import BodyTrack
from gswap.portrait.model import Portrait
from gswap.portrait.orbit import NECK_FADE, NECK_SHOWN, AloneView, alone_views, orbit_track

YAW, PITCH = (-30.0, -15.0, 15.0, 30.0), (-12.0, 0.0, 12.0)
"""Degrees: the views around the starting one, every yaw with every pitch."""
SIDE = 320
"""Pixels of a view; the head takes 0.72 of them."""
EDGE = 2
"""Pixels inside the outline of the surface that are not judged: edges are soft."""
HAIR = 0.015
"""Strands may stand off the surface by this share of the picture's side."""
OPEN = 0.85
"""Alpha below which a pixel inside the outline is part of a hole."""


class Soundness(NamedTuple):
    """Percent of the head's area; means over the views, best 0."""

    holes: float
    """Pixels inside the outline of the surface through which the background shows."""
    floaters: float
    """Opacity further off the surface than strands of hair are long."""


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
    holes, floaters = np.mean([_judge(view, portrait.surface) for view in views], axis=0)
    return Soundness(float(holes), float(floaters))


def _judge(view: AloneView, surface: Surface) -> Soundness:
    whole = silhouette(view, surface, NECK_SHOWN + NECK_FADE)
    inside = cv2.erode(whole.astype(np.uint8), disc(2 * EDGE + 1)) > 0
    shown = silhouette(view, surface, NECK_SHOWN)
    near = cv2.dilate(shown.astype(np.uint8), disc(2 * round(HAIR * SIDE) + 1)) > 0
    alpha, area = view.alpha.numpy(), max(int(inside.sum()), 1)
    return Soundness(
        holes=100 * float((alpha[inside] < OPEN).sum()) / area, floaters=100 * float(alpha[~near].sum()) / area
    )


def silhouette(view: AloneView, surface: Surface, least: float) -> Bool[np.ndarray, "h w"]:
    """Where faces with more head weight than ``least`` are."""
    faces = surface.faces[surface.head_weight[surface.faces].mean(1) > least]
    return rasterize_mesh(view.vertices, faces, view.camera).face >= 0
