"""What no frame shows, held to the surface: from random sides the head must fill its outline and stay within it.

A clip is seen from nearly one side. Whatever its pixels leave open (how far a Gaussian of the cheek stands off the
skin, how long a disc that is seen face-on sticks out when it is seen edge-on, whether the hair is closed) shows as
haze, spikes and lattices as soon as the head turns. The surface, which smoothness and the mattes hold, knows
better: every few steps one more view of the frame's head, from a random side, is compared with its outline. There is
no picture to compare colours with, so only alpha is.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gswap.field.field import Field, Gaussians
from gswap.field.geometry import PosedSurface, turned_surface
from gswap.field.surface import Surface
from gswap.foundation.imaging import disc
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import BodyTrack, Camera
from gswap.portrait.model import Portrait
from gswap.portrait.orbit import NECK_FADE, NECK_SHOWN, framed_vertices, framing_camera, shown_share, turn
from gswap.portrait.outline import hair_zone

SIDE = 192
"""Pixels of a view; about 1.5 mm each on the head."""
YAW, PITCH = 35.0, 15.0
"""Degrees: the largest turns."""
SKIN, HAIR = 0.005, 0.015
"""Skin may stand off the surface by this share of the picture's side (one pixel here), strands of hair by that."""
EDGE = 2
"""Pixels inside the outline that need not be filled: edges are soft."""
STANDING = 0.005
"""Metres: Gaussians farther off the surface are there because the pictures want them (hair that hangs beside the neck)
and may lie outside of the outline."""
NECK = 0.1
"""Head weight that is missing where the face has ended and the neck, with hair beside it, has begun."""


class Outline:
    """The outline of a surface in a picture, and the margin that its hair may take.

    Args:
        surface: Head, neck and teeth.
        hair: 1 where hair may grow, per vertex (:func:`~gswap.portrait.outline.hair_zone`).
        upper_body: It is shown whole; otherwise it ends in the neck.
    """

    def __init__(self, surface: Surface, hair: Float[np.ndarray, "v"], *, upper_body: bool = False) -> None:
        weight = surface.head_weight[surface.faces].mean(1)
        self._shown = surface.faces[(weight > NECK_SHOWN) | upper_body]
        self._whole = surface.faces[(weight > NECK_SHOWN + NECK_FADE) | upper_body]
        self._hairy = hair[self._shown].mean(1) > 0.5

    def within(self, vertices: Float[np.ndarray, "v 3"], camera: Camera) -> Bool[np.ndarray, "h w"]:
        """Where nothing may be open: inside the part that is shown fully, without its soft edge."""
        whole = rasterize_mesh(vertices, self._whole, camera).face >= 0
        return cv2.erode(whole.astype(np.uint8), disc(2 * EDGE + 1)) > 0

    def beyond(self, vertices: Float[np.ndarray, "v 3"], camera: Camera) -> Bool[np.ndarray, "h w"]:
        """Where nothing may be: farther outside than skin and hair may stand off."""
        face = rasterize_mesh(vertices, self._shown, camera).face
        parts = ((face >= 0, SKIN), ((face >= 0) & self._hairy[face], HAIR))
        skin, hair = (
            cv2.dilate(part.astype(np.uint8), disc(2 * round(share * camera.width) + 1)) for part, share in parts
        )
        return (skin == 0) & (hair == 0)


def outline_of(portrait: Portrait, model: BodyModel, drive: BodyTrack) -> Outline:
    """The outline of what is shown of a portrait."""
    hair = hair_zone(portrait.surface, model, drive)
    return Outline(portrait.surface, hair, upper_body=portrait.cfg.region == "upper-body")


class Sides:
    """Looks at a portrait from where the clip does not.

    Args:
        portrait: The portrait that is fitted.
        model: The body.
        drive: The track that it is fitted on.
    """

    def __init__(self, portrait: Portrait, model: BodyModel, drive: BodyTrack) -> None:
        self._portrait = portrait
        self._outline = outline_of(portrait, model, drive)

    def loss(self, posed: PosedSurface, rng: np.random.Generator, rasterize: Rasterizer) -> Float[Tensor, ""]:
        """Mean over a view's pixels of what is missing inside the outline and what is too much outside of it.

        Args:
            posed: A frame's surface.
            rng: Chooses the side.
            rasterize: Splats Gaussians, differentiably.
        """
        portrait, field = self._portrait, self._portrait.network.field
        rotation = turn(rng.uniform(-YAW, YAW), rng.uniform(-PITCH, PITCH))
        seen = turned_surface(portrait.surface, portrait.binding, posed, rotation)
        with torch.no_grad():
            first, now = (v.double().numpy() for v in (field.first_vertices(seen), field.moved_vertices(seen)))
        camera = framing_camera(first[framed_vertices(portrait)], SIDE)
        gaussians: Gaussians = field(seen)
        opacities = gaussians.opacities * shown_share(portrait, seen)
        near = (_height(field).index_select(0, seen.visible) < STANDING).float()[:, None]
        skin, alpha = rasterize(*gaussians[:3], opacities, near, camera)
        # The surface now and at the beginning: were it the present one alone, its own outline would give way for ever.
        open_ = self._outline.within(first, camera) & self._outline.within(now, camera)
        stray = self._outline.beyond(first, camera) & self._outline.beyond(now, camera)
        return ((1 - alpha) * torch.from_numpy(open_) + skin[0] * torch.from_numpy(stray)).mean()


def _height(field: Field) -> Float[Tensor, "n"]:
    """How far Gaussians stand off the surface, metres: on the face along its normal, elsewhere in any direction."""
    offset = field.offset.detach()
    elsewhere = torch.maximum(field.hair, (1 - field.head_weight) / NECK).clamp(max=1)[:, 0]
    return torch.lerp(offset[:, 1].abs(), offset.norm(dim=1), elsewhere)
