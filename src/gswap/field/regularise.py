"""What keeps the field close to the surface where no pixel says otherwise."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gswap.field.field import Field
from gswap.field.surface import Surface

LARGEST_SCALE = 0.02
"""Metres: larger Gaussians are pulled back."""


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


def squared_norm(values: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared length of the rows."""
    return values.square().sum(1).mean()


def offset_in_depth(field: Field) -> Float[Tensor, ""]:
    """Mean squared offset between the front and the back of the head.

    A clip shows a head mostly from the front, where moving a Gaussian along the line of sight changes no pixel: left
    alone it would wander, and be a floater from any other side.
    """
    return (field.offset * field.towards_back).sum(1).square().mean()


def scale_tether(field: Field) -> Float[Tensor, ""]:
    """Log scales stay near their initial values and never grow large."""
    too_large = (field.log_scale - math.log(LARGEST_SCALE)).clamp(min=0)
    return (field.log_scale - field.initial_log_scale).square().mean() + 100 * too_large.square().mean()
