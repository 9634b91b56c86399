"""F of eq. 7, the part that is learned: Gaussians on the faces of a posed surface, in the camera frame.

Two ways to the same numbers: plain torch, which says what is meant, and the native kernel with its own gradients, which
float32 on the CPU takes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gswap.field.geometry import PosedSurface

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # no wheel for this platform and no compiler at install time
    _native = None

ROW_METRES = 0.1
"""A correction row is (rotation vector in radians, translation in units of this many metres)."""


class Attributes(NamedTuple):
    """What is learned of each Gaussian's place, and where it is glued to. ``n`` Gaussians of the field."""

    bary: Float[Tensor, "n 3"]
    rotation: Float[Tensor, "n 4"]
    """Quaternions ``wxyz`` of any norm, in the frame of the face."""
    log_scale: Float[Tensor, "n 3"]
    offset: Float[Tensor, "n 3"]
    """Metres, in the frame of the face."""
    head_weight: Float[Tensor, "n 1"]


class Placed(NamedTuple):
    """The visible Gaussians in the camera frame, metres."""

    means: Float[Tensor, "k 3"]
    quats: Float[Tensor, "k 4"]
    scales: Float[Tensor, "k 3"]


def multiply(a: Float[Tensor, "n 4"], b: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
    """Product of quaternions ``wxyz``."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def rotate(quats: Float[Tensor, "n 4"], vectors: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Turn vectors by unit quaternions ``wxyz``."""
    w, u = quats[..., :1], quats[..., 1:]
    twice = 2 * torch.linalg.cross(u, vectors)
    return vectors + w * twice + torch.linalg.cross(u, twice)


def place(
    posed: PosedSurface,
    vertices: Float[Tensor, "v 3"],
    attributes: Attributes,
    correction: Float[Tensor, "6"] | None = None,
) -> Placed:
    """Place the visible Gaussians on their faces.

    Args:
        posed: The surface in this frame.
        vertices: Its vertices with dM added, camera frame, metres.
        attributes: What the field learned.
        correction: A turn about ``posed.pivot`` and a shift, weighted by the head's skinning weight; ``None`` = none.
    """
    if _native is not None and vertices.dtype == torch.float32 and vertices.device.type == "cpu":
        return Placed(*_Place.apply(posed, vertices, *attributes, correction))
    return place_in_torch(posed, vertices, attributes, correction)


def place_in_torch(
    posed: PosedSurface,
    vertices: Float[Tensor, "v 3"],
    attributes: Attributes,
    correction: Float[Tensor, "6"] | None = None,
) -> Placed:
    """:func:`place` for any type and device: the specification."""
    bary, rotation, log_scale, offset, weight = (x.index_select(0, posed.visible) for x in attributes)
    corners = vertices.index_select(0, posed.corners).view(-1, 3, 3)
    means = (corners * bary[..., None]).sum(1) + rotate(posed.quats, offset)
    quats = multiply(posed.quats, F.normalize(rotation, dim=-1))
    if correction is not None:
        turn = (weight * correction[:3]).expand_as(means)
        means = means + torch.linalg.cross(turn, means - posed.pivot) + weight * correction[3:] * ROW_METRES
        quats = multiply(torch.cat([torch.ones_like(weight), turn / 2], 1), quats)
    return Placed(means, quats, torch.exp(log_scale) * posed.stretch)


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        posed, *tensors, correction = arguments
        vertices, *learned, weight = (x.detach().contiguous() for x in tensors)
        frame = (posed.visible, posed.corners, vertices, posed.quats, posed.stretch.view(-1), posed.pivot)
        ctx.given = (frame, (*learned, weight.view(-1)), None if correction is None else correction.detach())
        return _native.bind_forward(*ctx.given, ROW_METRES)  # type: ignore[union-attr]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # type: ignore[override]
        outward = (g.contiguous() for g in grad_outputs)
        vertices, rotation, log_scale, offset, correction = _native.bind_backward(  # type: ignore[union-attr]
            *ctx.given, ROW_METRES, *outward
        )
        corrected = ctx.given[2] is not None
        return None, vertices, None, rotation, log_scale, offset, None, correction if corrected else None
