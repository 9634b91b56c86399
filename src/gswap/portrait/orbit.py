"""The head alone, from where no camera stood and with faces nobody made (Fig. 8 of arXiv 2603.23168)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gswap.field.field import Gaussians
from gswap.field.geometry import PosedSurface, TrackGeometry
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack, Camera, RgbImage
from gswap.portrait.drive import driving_condition
from gswap.portrait.model import Portrait, View
from gswap.portrait.preview import to_rgb

FILL = 0.72
"""Share of the image's side that the head's height takes."""
HEAD = 0.5
"""Vertices with more head weight than this are framed."""
REACH = 3
"""Pixels: half the receptive field of the rerenderer."""
SOLID = 0.7
"""Alpha from which the rerenderer takes part, fully where it is 1; thinner edges are composited plainly."""
NECK_SHOWN = 0.25
"""Gaussians with less head weight than this are hidden: behind the collar nothing was ever seen."""
NECK_FADE = 0.25
"""Above that, opacity rises to its full value over this range of head weight."""


def repeat_frame(drive: BodyTrack, t: int, count: int) -> BodyTrack:
    """A track that holds frame ``t`` for ``count`` frames."""
    per_frame = {
        f.name: np.repeat(getattr(drive, f.name)[t : t + 1], count, axis=0)
        for f in dataclasses.fields(drive)
        if isinstance(getattr(drive, f.name), np.ndarray)
    }
    return BodyTrack(shape=drive.shape, **per_frame)


def orbit_track(drive: BodyTrack, t: int, yaw: Sequence[float], pitch: Sequence[float]) -> BodyTrack:
    """Frame ``t`` turned about the head joint: what a camera that walks around the head would see.

    Args:
        drive: The track.
        t: Its frame.
        yaw: Degrees about the vertical, positive = the face turns towards the image's right.
        pitch: Degrees, positive = the face turns down. As many as ``yaw``.

    Raises:
        UsageError: There are not.
    """
    if len(yaw) != len(pitch):
        raise UsageError(f"Expected as many yaw as pitch angles, found {len(yaw)} and {len(pitch)}.")
    held = repeat_frame(drive, t, len(yaw))
    turns = np.array([turn(*angles) for angles in zip(yaw, pitch, strict=True)]).reshape(-1, 3, 3)
    return dataclasses.replace(held, rotation=matrix_to_rotvec(turns @ rotvec_to_matrix(held.rotation)))


def turn(yaw: float, pitch: float) -> Float[np.ndarray, "3 3"]:
    """Rotation of the head in the camera's frame; the angles are those of :func:`orbit_track`."""
    about_y, about_x = rotvec_to_matrix(np.radians([[0.0, -yaw, 0.0], [pitch, 0.0, 0.0]]))
    return about_x @ about_y


def expression_track(
    drive: BodyTrack, t: int, expressions: Sequence[Mapping[str, float]], model: BodyModel
) -> BodyTrack:
    """Frame ``t`` with other facial actions: each mapping names the actions that replace the tracked ones.

    Raises:
        UsageError: The body has no such action.
    """
    held = repeat_frame(drive, t, len(expressions))
    actions = held.actions.copy()
    for row, wanted in zip(actions, expressions, strict=True):
        for name, value in wanted.items():
            if name not in model.action_names:
                raise UsageError(f"The body {model.name!r} has no facial action {name!r}.")
            row[model.action_names.index(name)] = value
    return dataclasses.replace(held, actions=actions)


class AloneView(NamedTuple):
    """The head by itself in one frame."""

    image: Float[Tensor, "3 h w"]
    """Over the background, in [0, 1]."""
    alpha: Float[Tensor, "h w"]
    vertices: Float[np.ndarray, "v 3"]
    """The surface with dM in the camera frame, metres."""
    camera: Camera


def render_alone(
    portrait: Portrait,
    track: BodyTrack,
    model: BodyModel,
    *,
    rasterize: Rasterizer,
    side: int = 512,
    background: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> Iterator[RgbImage]:
    """Render the head over a constant colour, filling the image, in every frame of ``track``.

    A portrait of the upper body is shown whole.

    Args:
        portrait: A fitted portrait.
        track: Poses and expressions, for example by :func:`orbit_track`.
        model: The body.
        rasterize: Splats Gaussians.
        side: Width and height of the images.
        background: RGB in [0, 1].
    """
    for view in alone_views(portrait, track, model, rasterize=rasterize, side=side, background=background):
        yield to_rgb(view.image)


def alone_views(
    portrait: Portrait,
    track: BodyTrack,
    model: BodyModel,
    *,
    rasterize: Rasterizer,
    side: int = 512,
    background: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> Iterator[AloneView]:
    """:func:`render_alone` with what else is known of every picture."""
    geometry = TrackGeometry(portrait.surface, portrait.binding, track, model, capacity=1)
    field, condition = portrait.network.field, driving_condition(portrait)
    plate = torch.tensor(background)[None, :, None, None].expand(1, 3, side, side)
    plate = plate.contiguous(memory_format=torch.channels_last)
    on_head = framed_vertices(portrait)
    camera: Camera | None = None
    for t in range(len(track)):
        posed = geometry[t]
        camera = camera or framing_camera(posed.vertices.numpy()[on_head], side)
        with torch.no_grad():
            gaussians: Gaussians = field(posed, condition)
            gaussians = gaussians._replace(opacities=gaussians.opacities * shown_share(portrait, posed))
            features, alpha = rasterize(*gaussians, camera)
            image = portrait.network.composite(features, alpha, View(plate, torch.ones(side, side), camera))
            # The rerenderer has only seen the clip's background: its word counts where the head is solid.
            inner = -F.max_pool2d(-alpha[None, None], 2 * REACH + 1, 1, REACH)
            plain = features[None, :3] + (1 - alpha) * plate
            image = plain + ((inner - SOLID) / (1 - SOLID)).clamp(0, 1) * (image - plain)
            vertices = field.moved_vertices(posed).numpy().astype(np.float64)
        yield AloneView(image[0], alpha, vertices, camera)


def shown_share(portrait: Portrait, posed: PosedSurface) -> Float[Tensor, "k"]:
    """By how much the visible Gaussians are shown: 0 behind the collar, 1 on the head; a whole upper body is."""
    weight = portrait.network.field.head_weight.index_select(0, posed.visible)[:, 0]
    if portrait.cfg.region == "upper-body":
        return torch.ones_like(weight)
    return ((weight - NECK_SHOWN) / NECK_FADE).clamp(0, 1)


def framed_vertices(portrait: Portrait) -> Bool[np.ndarray, "v"]:
    """What the pictures are framed for: the head, or the whole upper body."""
    return portrait.surface.head_weight > (-1 if portrait.cfg.region == "upper-body" else HEAD)


def framing_camera(vertices: Float[np.ndarray, "v 3"], side: int) -> Camera:
    """Camera of a square image that shows the vertices (metres) centred."""
    image = vertices[:, :2] / vertices[:, 2:]
    low, high = image.min(0), image.max(0)
    centre, scale = (low + high) / 2, FILL * side / max((high - low).max(), 1e-6)
    return Camera(scale, side / 2 - scale * centre[0], side / 2 - scale * centre[1], side, side)
