"""The mesh over the picture, as tracked and with what the fit added to it (Fig. 9 of arXiv 2603.23168)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from gswap.field.geometry import pose_surface
from gswap.foundation.geometry import project
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, Camera, RgbImage
from gswap.portrait.model import Portrait

LINE = (255, 255, 255)
STRENGTH = 0.45
"""Opacity of the lines."""
SUBPIXEL = 4
"""Fractional bits of the corners of a line."""


def mesh_before_and_after(
    portrait: Portrait, image: RgbImage, drive: BodyTrack, t: int, camera: Camera, model: BodyModel
) -> tuple[RgbImage, RgbImage]:
    """Draw the head's mesh over a picture before and after delta_M is added to its vertices.

    Args:
        portrait: A fitted portrait.
        image: The picture of frame ``t`` that ``camera`` took, for example I_gen.
        drive: The track that moves the head.
        t: The frame.
        camera: Of the picture.
        model: The body.

    Returns:
        Two copies of the picture, with the triangles that face the camera.
    """
    surface = portrait.surface
    mesh = model.pose(drive, model.rest(drive.shape), t)
    posed = pose_surface(surface, portrait.binding, mesh, drive.translation[t])
    with torch.no_grad():
        moved = portrait.network.field.moved_vertices(posed)
    skin = surface.faces[(surface.faces < surface.teeth_start).all(1)]
    return _draw(image, posed.vertices.numpy(), skin, camera), _draw(image, moved.numpy(), skin, camera)


def _draw(
    image: RgbImage, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], camera: Camera
) -> RgbImage:
    corners = vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    front = (normals * corners.mean(1)).sum(1) < 0
    pixels = project(vertices.astype(np.float64), camera)
    lines = np.round((pixels[faces[front]] - 0.5) * 2**SUBPIXEL).astype(np.int32)
    drawn = image.copy()
    cv2.polylines(drawn, list(lines), True, LINE, 1, cv2.LINE_AA, SUBPIXEL)
    mixed = image.astype(np.float32) * (1 - STRENGTH) + drawn.astype(np.float32) * STRENGTH
    return np.round(mixed).astype(np.uint8)
