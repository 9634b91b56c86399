"""The shortest way from a track to pictures: the portrait over a plate, with no masks, layers or files.

What a preview shows while somebody moves, and what ``gswap bench render`` times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from gswap.field.field import Gaussians
from gswap.field.geometry import pose_surface
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack, Shot
from gswap.portrait.drive import driving_condition, driving_corrections
from gswap.portrait.model import Portrait, Rendering, View

Lap = Callable[[str], None]
"""Called with the name of each part of a frame when it is done: ``pose``, ``bind``, ``splat``, ``networks``."""


def no_lap(part: str, /) -> None:
    """Nobody looks at the clock."""


def play(
    portrait: Portrait,
    track: BodyTrack,
    model: BodyModel,
    views: Sequence[View],
    *,
    rasterize: Rasterizer,
    shots: Sequence[Shot] = (),
    lap: Lap = no_lap,
) -> Iterator[Rendering]:
    """Drive a portrait, frame by frame.

    Args:
        portrait: A fitted portrait.
        track: What moves it; frames that are not valid are posed like any other.
        model: The body.
        views: Plate, gate and camera of frame ``t`` at ``t % len(views)``.
        rasterize: Splats Gaussians.
        shots: Pose corrections are smoothed within a shot only; empty = one shot.
        lap: Told when a part of a frame is done.

    Yields:
        One rendering per frame of the track.
    """
    corrections = driving_corrections(portrait, track, shots)
    condition = driving_condition(portrait)
    rest = model.rest(track.shape)
    network = portrait.network
    for t in range(len(track)):
        view = views[t % len(views)]
        with torch.inference_mode():
            mesh = model.pose(track, rest, t)
            posed = pose_surface(portrait.surface, portrait.binding, mesh, track.translation[t])
            lap("pose")
            correction = None if corrections is None else corrections[t]
            gaussians: Gaussians = network.field(posed, condition, correction)
            lap("bind")
            features, alpha = rasterize(*gaussians, view.camera)
            lap("splat")
            image = network.composite(features, alpha, view)
            lap("networks")
        yield Rendering(image, features, alpha)
