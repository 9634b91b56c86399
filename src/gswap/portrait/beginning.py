"""Where a fit begins: hair lifted to its outline, colours from the pictures, and a closed skin where none looks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from gswap.field.field import Gaussians
from gswap.field.geometry import TrackGeometry
from gswap.field.posing import rotate
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack
from gswap.portrait.frames import TrainingFrames
from gswap.portrait.model import Portrait
from gswap.portrait.outline import hair_zone, stretch

OPAQUE = 0.8
"""Matte above which a pixel counts as head for the initial colours."""
RIM = 2
"""Pixels along the rim of the head that give no colour: a little background is mixed into them."""
SEEN = 0.05
"""Gaussians with less total weight than this in the pictures take the colour of others."""
MOST_HELD = 30.0
"""How much more firmly Gaussians that hardly show are held to their initial values than usual ones."""
GRAZING = (0.3, 0.5)
"""Best cosine between a Gaussian's normal and a line of sight: below the first its colour is not read from the pixels
(the rim of a head, one pixel wide from the front, is a hand's breadth from the side), from the second on it is free."""
CLOSED_OPACITY, CLOSED_SCALE = 0.95, 1.25
"""Opacity, and size relative to the usual one, of Gaussians that no picture shows: no pixel would close their gaps."""
CROWN = 0.75
"""Height over the chin, in face heights, above which the colour of unseen hair is taken from: ears are below."""
CONTINUED = (0.005, 0.02)
"""Metres from the nearest seen Gaussian: up to the first its colour goes on, from the second on the crown's does."""
LENDERS = 16
"""Seen Gaussians whose mean colour an unseen one takes."""
LENDING_SOFTNESS = 1e-4
"""Metres added to their distances, whose inverses weigh them."""


class Evidence(NamedTuple):
    """What the pictures say about each Gaussian."""

    colors: Float[np.ndarray, "n 3"]
    """Sum over pixels, RGB in [0, 1] times weight."""
    weights: Float[np.ndarray, "n"]
    facing: Float[np.ndarray, "n"]
    """Largest cosine between its normal and a line of sight."""

    @property
    def edge_on(self) -> Float[np.ndarray, "n"]:
        """0 = faced a camera, from 1 on = only ever seen along the surface."""
        low, high = GRAZING
        return (high - self.facing) / (high - low)

    @property
    def known(self) -> Bool[np.ndarray, "n"]:
        """Gaussians whose colour the pictures show."""
        return (self.weights > SEEN) & (self.edge_on < 1)


@torch.no_grad()
def begin_at_outline(portrait: Portrait, offsets: Float[np.ndarray, "v 3"]) -> None:
    """Start dM from ``offsets`` (metres, rest frame), and the Gaussians as large as the lifted surface asks for."""
    field = portrait.network.field
    larger = torch.from_numpy(np.log(stretch(portrait.surface, offsets)[portrait.binding.face]).astype(np.float32))
    field.delta.copy_(torch.from_numpy(offsets.astype(np.float32)))
    field.log_scale.add_(larger[:, None])
    field.hold_to_present()


@torch.no_grad()
def mark_hair(portrait: Portrait, model: BodyModel, drive: BodyTrack) -> None:
    """Tell the field which Gaussians may be hair."""
    zone = hair_zone(portrait.surface, model, drive)
    corners = zone[portrait.surface.faces[portrait.binding.face]]
    share = (corners * portrait.binding.bary).sum(1, keepdims=True)
    portrait.network.field.hair.copy_(torch.from_numpy(share.astype(np.float32)))


@torch.no_grad()
def begin_with_pictures(
    portrait: Portrait,
    model: BodyModel,
    geometry: TrackGeometry,
    frames: TrainingFrames,
    chosen: list[int],
    rasterize: Rasterizer,
    *,
    keep: bool = False,
) -> None:
    """Colour every Gaussian by the pictures and hold it the more firmly, the less they show of it.

    What no picture shows begins opaque, without gaps, in the colour of what is seen next to it.

    Args:
        portrait: A portrait; :func:`mark_hair` has been called.
        model: The body.
        geometry: Its poses.
        frames: The pictures.
        chosen: Which of them to use.
        rasterize: Splats Gaussians.
        keep: Leave its colours, opacities and sizes as they are (a portrait that is refined).
    """
    evidence = gather(portrait, geometry, frames, chosen, rasterize)
    known = evidence.known
    if not known.any():
        return
    field = portrait.network.field
    usual = float(np.median(evidence.weights[known]))
    scarce = np.clip(usual / np.maximum(evidence.weights, 1e-6), 1, MOST_HELD)
    hold = np.maximum(scarce, np.clip(evidence.edge_on, 0, 1) * MOST_HELD)
    field.hold[:, 0] = torch.from_numpy(hold)
    if keep:
        return
    mean = evidence.colors / np.maximum(evidence.weights, SEEN)[:, None]
    mean[~known] = borrowed_colors(portrait, model, mean, known)
    field.features[:, :3] = torch.from_numpy(mean)
    unseen = torch.from_numpy((np.log(hold) / np.log(MOST_HELD)).astype(np.float32))
    closed = torch.tensor(CLOSED_OPACITY).logit()
    field.opacity_logit.lerp_(torch.maximum(field.opacity_logit, closed), unseen)
    field.log_scale[:, 0::2] += unseen[:, None] * np.log(CLOSED_SCALE)  # along the surface, not across it
    field.hold_to_present()


def gather(
    portrait: Portrait, geometry: TrackGeometry, frames: TrainingFrames, chosen: list[int], rasterize: Rasterizer
) -> Evidence:
    """Project the pictures back onto the field.

    Rendering is linear in the features, so the transpose of rendering (its backward pass) applied to image and matte
    gives weighted sums of colours and weights.
    """
    field = portrait.network.field
    sums: Float[Tensor, "n 4"] = torch.zeros(len(portrait.binding), 4)
    facing: Float[Tensor, "n"] = torch.full((len(portrait.binding),), -1.0)
    for t in chosen:
        frame, posed = frames[t], geometry[t]
        gaussians: Gaussians = field(posed)
        features = torch.zeros_like(gaussians.features).requires_grad_()
        with torch.enable_grad():
            image, _ = rasterize(*gaussians[:4], features, frame.camera)
        inner = -F.max_pool2d(-frame.matte[None, None], 2 * RIM + 1, 1, RIM)[0, 0]
        solid = (inner > OPAQUE).float() * frame.weight
        seen = torch.zeros_like(image)
        added = frame.image[0] - (1 - frame.matte) * frame.plate[0]  # the plate that shines through is known
        seen[:3], seen[3] = added * solid, frame.matte * solid
        (back,) = torch.autograd.grad(image, features, seen)
        sums.index_add_(0, posed.visible, back[:, :4])
        outwards = rotate(posed.quats, torch.tensor([0.0, 1.0, 0.0]).expand_as(gaussians.means))
        cosine = -(outwards * F.normalize(gaussians.means, dim=1)).sum(1)
        facing[posed.visible] = torch.maximum(facing[posed.visible], cosine)
    return Evidence(sums[:, :3].numpy(), sums[:, 3].numpy(), facing.numpy())


def borrowed_colors(
    portrait: Portrait, model: BodyModel, colors: Float[np.ndarray, "n 3"], known: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "m 3"]:
    """Colours for the Gaussians that are not ``known``: of the nearest that are.

    The back of the head has the colour of the crown, not of the ears, which are nearer.
    """
    surface, binding = portrait.surface, portrait.binding
    faces = surface.faces[binding.face]
    points = (surface.vertices[faces] * binding.bary[..., None]).sum(1)
    corners = np.asarray(model.rest(portrait.shape).vertices, np.float64)[model.landmark_triangles]
    chin, top = (corners[k].T @ np.asarray(model.landmark_barycentric[k]) for k in (CHIN, FOREHEAD_TOP))
    height = (chin[1] - points[:, 1]) / (chin[1] - top[1])
    hair = portrait.network.field.hair[:, 0].numpy()

    def lent(by: Bool[np.ndarray, "n"]) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m"]]:
        count = min(LENDERS, int(by.sum()))
        distance, index = KDTree(points[by]).query(points[~known], k=list(range(1, count + 1)))  # pyright: ignore[reportArgumentType]
        weight = 1 / (np.asarray(distance) + LENDING_SOFTNESS)
        mean = (colors[by][index] * weight[..., None]).sum(1) / weight.sum(1)[:, None]
        return mean, np.asarray(distance)[:, 0]

    near, distance = lent(known)
    crown = known & (hair > 0.5) & (height > CROWN)
    if not crown.any():
        return near
    low, high = CONTINUED
    far = hair[~known] * np.clip((distance - low) / (high - low), 0, 1)
    return near + far[:, None] * (lent(crown)[0] - near)
