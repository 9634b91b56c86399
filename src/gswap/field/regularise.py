"""What keeps the field close to the surface where no pixel says otherwise."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from gswap.field.binding import Binding
from gswap.field.field import Field
from gswap.field.surface import Surface, face_frames

NEIGHBOURS = 6
"""Gaussians that an offset is compared with."""
MOST_GROWTH = 2.0
"""How many times larger than at the beginning a Gaussian may get, along any of its axes."""
MOST_THICKNESS = 1.3
"""The same across the skin, where what stands out is seen from the side only."""

LEAST_SHARE = 1e-3
"""Gaussians that a vertex without any counts as having: it is held as a usual one."""


class MeshLaplacian:
    """Uniform graph Laplacian of per-vertex values over the edges of a surface."""

    def __init__(self, surface: Surface) -> None:
        edges = surface.edges
        degree = np.maximum(np.bincount(edges.ravel(), minlength=len(surface.vertices)), 1)
        self.edges: Int[Tensor, "e 2"] = torch.from_numpy(edges)
        self.inverse_degree = torch.from_numpy((1 / degree).astype(np.float32))[:, None]

    def __call__(self, values: Float[Tensor, "v d"]) -> Float[Tensor, "v d"]:
        """Each vertex minus the mean of its neighbours."""
        start, stop = self.edges[:, 0], self.edges[:, 1]
        difference = values.index_select(0, start) - values.index_select(0, stop)
        total = torch.zeros_like(values).index_add(0, start, difference).index_add(0, stop, -difference)
        return total * self.inverse_degree.to(values)


class Neighbours:
    """The nearest Gaussians of every Gaussian at rest, for what ought to change smoothly along the surface."""

    def __init__(self, surface: Surface, binding: Binding) -> None:
        frames, _ = face_frames(surface.vertices, surface.faces)
        corners = surface.vertices[surface.faces[binding.face]]
        points = (corners * binding.bary[..., None]).sum(1)
        _, nearest = KDTree(points).query(points, k=NEIGHBOURS + 1)
        index = np.asarray(nearest)[:, 1:]
        self.frames = torch.from_numpy(frames[binding.face].astype(np.float32))
        self.index: Int[Tensor, "nk"] = torch.from_numpy(index.astype(np.int64).reshape(-1))
        self.corners: Int[Tensor, "3n"] = torch.from_numpy(surface.faces[binding.face].astype(np.int64).reshape(-1))
        self.vertices = len(surface.vertices)

    def roughness(self, field: Field) -> Float[Tensor, ""]:
        """Mean squared difference between an offset and those around it, in the rest frame.

        Neighbours that leave the surface apart from each other leave holes that only other views show.
        """
        moved = torch.bmm(self.frames, (field.offset * field.movable)[..., None])[..., 0]
        around = moved.index_select(0, self.index).view(-1, NEIGHBOURS, 3).mean(1)
        return (field.hold[:, 0] * (moved - around).square().sum(1)).mean()

    def vertex_hold(self, field: Field) -> Float[Tensor, "v 1"]:
        """How firmly every vertex is held: as the Gaussians on the triangles around it, 1 where there are none."""
        share = field.bary.reshape(-1)
        total = share.new_ones(2, self.vertices) * LEAST_SHARE
        total[0].index_add_(0, self.corners, share * field.hold.expand(-1, 3).reshape(-1))
        total[1].index_add_(0, self.corners, share)
        return (total[0] / total[1])[:, None]


def squared_norm(values: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared length of the rows."""
    return values.square().sum(1).mean()


def offset_unseen(field: Field) -> Float[Tensor, ""]:
    """Mean squared offset in the direction that pixels say least about.

    A clip shows a head mostly from the front. In the hair that direction is the line between front and back of the
    head: a Gaussian that wanders along it changes no pixel and is a floater from any other side. On the face it is
    the surface's normal: whatever moves in the image can move along the skin instead, and stays on it when it turns.
    """
    off_skin = field.offset[:, 1].square()
    in_depth = (field.offset * field.towards_back).sum(1).square()
    return (field.hold[:, 0] * torch.lerp(off_skin, in_depth, field.hair[:, 0]) * field.movable[:, 0]).mean()


def feature_tether(field: Field) -> Float[Tensor, ""]:
    """Features stay near those that the pictures were first projected to.

    Along the outline of the face, where the surface is seen edge-on, many Gaussians share a pixel and only their sum
    is known; the smallest change that explains it keeps the sides of the head free of confetti.
    """
    return (field.hold * (field.features - field.initial_features).square()).mean()


def opacity_tether(field: Field) -> Float[Tensor, ""]:
    """Opacity logits stay near their initial values: what hides behind others must not dissolve or harden."""
    return (field.hold[:, 0] * (field.opacity_logit - field.initial_opacity_logit).square()).mean()


def scale_tether(field: Field) -> Float[Tensor, ""]:
    """Log scales stay near their initial values."""
    return (field.hold * (field.log_scale - field.initial_log_scale).square()).mean()


@torch.no_grad()
def limit_growth(field: Field) -> None:
    """Shorten axes that grew too long: needles and blobs that fill a gap from the front stand off from other sides."""
    most = torch.full_like(field.log_scale, math.log(MOST_GROWTH))
    across = math.log(MOST_THICKNESS) - math.log(MOST_GROWTH)
    most[:, 1] += (1 - field.hair[:, 0]) * across
    field.log_scale.copy_(torch.minimum(field.log_scale, field.initial_log_scale + most))
