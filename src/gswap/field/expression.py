"""What a frame's face does, in a few numbers: how skin and view differ from the clip's mean (principal components).

They drive what one colour and one place per point cannot hold: wrinkles and shading that come with a smile, the inside
of an open mouth, lips that a generic body's actions move a little wrongly. Linear, like a personal set of blendshapes
(arXiv 2404.19398 does the same with a tracker's own), and bounded by what the clip showed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gswap.field.geometry import PosedSurface
from gswap.field.surface import SKIN, Surface
from gswap.foundation.geometry import matrix_to_rotvec

VIEW = 3
"""Numbers that say how the head is turned: its rotation vector against the mean one."""
RIGID = 0.99
"""Vertices with more head weight than this show the expression."""
LEAST_TURN = 0.05
"""Radians: turns are counted in units of their spread, or of this where they spread less."""
LEAST_SHARE, LEAST_SPREAD = 0.15, 1e-4
"""Components are counted in units of their spread; at least of this share of the first one's, and of so many metres a
vertex: what moves less is noise."""
FRAMES_EACH = 4
"""Frames that a component needs: a few pictures must not be learned by heart."""
ROOM = 1.1
"""The clip's range of every number is widened by this before others are clamped to it."""
FORGOTTEN = (1.0, 3.0)
"""Spreads beyond the clip's range: up to the first a turn counts as at the range's edge, from the second on not at all.
What was learned from a few degrees says nothing about thirty (it smeared the corner of the mouth)."""


class Expression(nn.Module):
    """Posed surface -> ``count`` numbers. Buffers only: :meth:`learn` sets them, once.

    Args:
        surface: Head, neck and teeth at rest.
        count: Numbers, :data:`VIEW` of them for the view.
    """

    def __init__(self, surface: Surface, count: int) -> None:
        super().__init__()
        body = surface.vertices[: surface.teeth_start]
        skin = np.zeros(len(surface.vertices), bool)
        on_skin = surface.face_part == SKIN
        skin[surface.faces[on_skin]] = True
        shown = np.flatnonzero(skin[: len(body)] & (surface.head_weight[: len(body)] > RIGID))
        self.register_buffer("shown", torch.from_numpy(shown), persistent=False)
        self.register_buffer("mean", torch.zeros(3 * len(shown)))
        self.register_buffer("basis", torch.zeros(max(count - VIEW, 0), 3 * len(shown)))
        self.register_buffer("facing", torch.eye(3))
        self.register_buffer("turns", torch.zeros(VIEW))
        self.register_buffer("low", torch.zeros(count))
        self.register_buffer("high", torch.zeros(count))

    shown: Int[Tensor, "p"]
    """Vertices that are looked at."""
    mean: Float[Tensor, "3p"]
    """Metres, head coordinates."""
    basis: Float[Tensor, "k 3p"]
    """Divided by the spread of each component."""
    facing: Float[Tensor, "3 3"]
    """Mean rotation of the head."""
    turns: Float[Tensor, "3"]
    """One over the spread of the rotation vector about it."""
    low: Float[Tensor, "n"]
    high: Float[Tensor, "n"]

    @torch.no_grad()
    def forward(self, posed: PosedSurface) -> Float[Tensor, "n"]:
        """The numbers of a frame: within the clip's range, and those of the view back at the mean far outside it."""
        raw = self._raw(posed)
        numbers = raw.clamp(self.low, self.high)
        near, far = FORGOTTEN
        beyond = torch.linalg.vector_norm((raw - numbers)[-VIEW:])
        numbers[-VIEW:] *= ((far - beyond) / (far - near)).clamp(0, 1)
        return numbers

    def _raw(self, posed: PosedSurface) -> Float[Tensor, "n"]:
        local, turn = self._local(posed)
        about = torch.from_numpy(matrix_to_rotvec((self.facing.T @ turn).double().cpu().numpy())).to(self.turns)
        return torch.cat([self.basis @ (local.flatten() - self.mean), about * self.turns])

    def _local(self, posed: PosedSurface) -> tuple[Float[Tensor, "p 3"], Float[Tensor, "3 3"]]:
        """The shown vertices in head coordinates, and the head's rotation."""
        turn = posed.linear[self.shown[0]]
        return (posed.vertices.index_select(0, self.shown) - posed.pivot) @ turn, turn

    @torch.no_grad()
    def learn(self, frames: Iterable[PosedSurface]) -> None:
        """Find the components of some frames."""
        found = [self._local(posed) for posed in frames]
        points = np.stack([local.flatten().double().numpy() for local, _ in found])
        rotations = np.stack([turn.double().numpy() for _, turn in found])
        u, _, v = np.linalg.svd(rotations.sum(0))
        facing = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        about = matrix_to_rotvec(facing.T @ rotations)
        self.facing.copy_(torch.from_numpy(facing))
        self.turns.copy_(torch.from_numpy(1 / np.maximum(about.std(0), LEAST_TURN)))
        mean = points.mean(0)
        self.mean.copy_(torch.from_numpy(mean))
        _, values, directions = np.linalg.svd(points - mean, full_matrices=False)
        count = min(len(self.basis), len(points) // FRAMES_EACH)
        spread = values[:count] / np.sqrt(len(points))
        least = max(LEAST_SHARE * float(spread[:1].sum()), LEAST_SPREAD * len(self.shown) ** 0.5)
        self.basis.zero_()
        self.basis[:count] = torch.from_numpy(directions[:count] / np.maximum(spread, least)[:, None])
        numbers = torch.stack([self._raw(posed) for posed in frames])
        low, high = numbers.amin(0), numbers.amax(0)
        middle, half = (low + high) / 2, (high - low) / 2 * ROOM
        self.low.copy_(middle - half)
        self.high.copy_(middle + half)
