"""The neural Gaussian field G: what is learned on the surface, and how it becomes Gaussians in a frame (eq. 6-7).

arXiv 2603.23168, Sec. III-C. Beyond the paper: an offset per Gaussian in the frame of its face (hair), and six numbers
per frame that correct the tracked head about its joint.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from gswap.field.binding import Binding
from gswap.field.expression import Expression
from gswap.field.geometry import PosedSurface
from gswap.field.harmonics import TERMS, harmonics
from gswap.field.posing import Attributes, place, rotate
from gswap.field.surface import EYE_LEFT, EYE_RIGHT, Surface, face_frames

FEATURES = 8
"""Channels of a Gaussian; the first three are RGB in [0, 1]."""
CONDITION = 8
"""Channels of the temporal condition c_t."""
MAX_OPACITY = 0.99
FLATNESS = (0.7, 0.25, 0.7)
"""Initial standard deviations along edge, normal and cross direction, in units of the spacing."""

Temporal = Literal["none", "add", "mlp"]
Appearance = Literal["neural", "harmonics"]


class Gaussians(NamedTuple):
    """The arguments of a rasteriser (eq. 8), camera frame, metres."""

    means: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]
    scales: Float[Tensor, "n 3"]
    opacities: Float[Tensor, "n"]
    features: Float[Tensor, "n c"]


class Field(nn.Module):
    """Learned attributes of ``n`` Gaussians, of the surface's vertices, and of ``frames`` training frames.

    Args:
        surface: Head, neck and teeth at rest.
        binding: Where the Gaussians are.
        frames: Number of frames of the clip; each has a condition c_t and a correction row.
        temporal: How c_t acts on the features: not at all, added, or through a residual network.
        opacity: Initial opacity.
        appearance: Features that a network decodes, or (for comparison) RGB that depends on the viewing direction
            by spherical harmonics; then the features' other channels are zero.
        after_skinning: Add dM to the posed vertices, as eq. 6 is printed, rather than before skinning.
        channels: Channels of the features that are splatted; those beyond the eighth are zero.
        expressions: How many numbers of a frame (``field.expression``) move vertices and features.
    """

    def __init__(
        self,
        surface: Surface,
        binding: Binding,
        frames: int,
        *,
        temporal: Temporal = "none",
        opacity: float = 0.6,
        appearance: Appearance = "neural",
        after_skinning: bool = False,
        channels: int = FEATURES,
        expressions: int = 0,
    ) -> None:
        super().__init__()
        self.after_skinning, self.channels = after_skinning, channels
        n, v = len(binding), len(surface.vertices)
        spacing = torch.from_numpy(binding.spacing)
        self.temporal: Temporal = temporal
        self.appearance: Appearance = appearance
        self.register_buffer("face", torch.from_numpy(binding.face), persistent=False)
        self.register_buffer("bary", torch.from_numpy(binding.bary), persistent=False)
        corner_weight = torch.from_numpy(surface.head_weight.astype("float32")[surface.faces[binding.face]])
        self.register_buffer("head_weight", (corner_weight * self.bary).sum(1, keepdim=True), persistent=False)
        eye = np.isin(surface.face_part[binding.face], (EYE_LEFT, EYE_RIGHT))
        self.register_buffer("movable", torch.from_numpy(~eye).float()[:, None], persistent=False)
        frames_at_rest, _ = face_frames(surface.vertices, surface.faces)
        towards_back = torch.from_numpy(frames_at_rest[binding.face][:, 2].astype("float32"))
        self.register_buffer("towards_back", towards_back, persistent=False)
        log_scale = (spacing[:, None] * torch.tensor(FLATNESS)).log()
        self.register_buffer("initial_log_scale", log_scale, persistent=False)
        grey = torch.cat([torch.full((n, 3), 0.5), torch.zeros(n, FEATURES - 3)], 1)
        self.features = nn.Parameter(grey)
        self.register_buffer("initial_features", grey.clone(), persistent=False)
        self.register_buffer("hold", torch.ones(n, 1), persistent=False)
        self.register_buffer("hair", torch.zeros(n, 1), persistent=False)
        logit = torch.logit(torch.full((n,), float(opacity)))
        self.opacity_logit = nn.Parameter(logit)
        self.register_buffer("initial_opacity_logit", logit.clone(), persistent=False)
        self.log_scale = nn.Parameter(log_scale.clone())
        self.rotation = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1))
        self.offset = nn.Parameter(torch.zeros(n, 3))
        """Metres, in the frame of the face."""
        self.delta = nn.Parameter(torch.zeros(v, 3))
        """dM of eq. 6-7: metres, rest frame, added before skinning."""
        self.register_buffer("initial_delta", torch.zeros(v, 3), persistent=False)
        self.condition = nn.Parameter(torch.zeros(frames, CONDITION))
        self.correction = nn.Parameter(torch.zeros(frames, 6))
        self.expression = Expression(surface, expressions) if expressions else None
        if expressions:
            self.delta_modes = nn.Parameter(torch.zeros(expressions, v, 3))
            self.feature_modes = nn.Parameter(torch.zeros(expressions, n, FEATURES))
        if appearance == "harmonics":
            self.harmonics = nn.Parameter(torch.zeros(n, TERMS, 3))
        if temporal == "mlp":
            self.mix_in = nn.Linear(FEATURES + CONDITION, 16)
            self.mix_out = nn.Linear(16, FEATURES)
            nn.init.zeros_(self.mix_out.weight)
            nn.init.zeros_(self.mix_out.bias)

    face: Int[Tensor, "n"]
    bary: Float[Tensor, "n 3"]
    head_weight: Float[Tensor, "n 1"]
    initial_log_scale: Float[Tensor, "n 3"]
    initial_features: Float[Tensor, "n 8"]
    """What the features are held to where pixels say little."""
    initial_delta: Float[Tensor, "v 3"]
    """Where dM began."""
    initial_opacity_logit: Float[Tensor, "n"]
    hair: Float[Tensor, "n 1"]
    """1 where hair may grow, 0 on the face and the neck."""
    hold: Float[Tensor, "n 1"]
    """How firmly each Gaussian is held to its beginning: 1 = a usual one, more where fewer pixels show it."""
    movable: Float[Tensor, "n 1"]
    """0 on the eyeballs, which keep their shape: a Gaussian that left them would shine through closed lids."""
    towards_back: Float[Tensor, "n 3"]
    """The rest frame's z axis (from the face to the back of the head), in the frame of each Gaussian's face."""

    def forward(
        self,
        posed: PosedSurface,
        condition: Float[Tensor, "8"] | None = None,
        correction: Float[Tensor, "6"] | None = None,
    ) -> Gaussians:
        """The Gaussians that face the camera.

        Args:
            posed: The surface in this frame.
            condition: c_t; ``None`` = zero.
            correction: Row that corrects the head: turned about the head joint, weighted by the head's skinning weight
                (1 on the skull, 0 at the base of the neck); ``None`` = none.
        """
        pick = lambda x: x.index_select(0, posed.visible)  # noqa: E731
        numbers = None if self.expression is None else self.expression(posed)
        vertices = self.moved_vertices(posed, numbers)
        offset = self.offset * self.movable
        attributes = Attributes(self.bary, self.rotation, self.log_scale, offset, self.head_weight)
        placed = place(posed, vertices, attributes, correction)
        return Gaussians(
            *placed,
            opacities=torch.sigmoid(pick(self.opacity_logit)).clamp(max=MAX_OPACITY),
            features=F.pad(
                self._conditioned(self._seen(posed, placed.means, numbers), condition), (0, self.channels - FEATURES)
            ),
        )

    def hold_to_present(self) -> None:
        """Make the present values those that the tethers hold to."""
        for name in ("features", "delta", "log_scale", "opacity_logit"):
            getattr(self, f"initial_{name}").copy_(getattr(self, name).detach())

    def moved_vertices(self, posed: PosedSurface, numbers: Float[Tensor, "e"] | None = None) -> Float[Tensor, "v 3"]:
        """The posed surface with dM, camera frame, metres; ``numbers`` of the expression, if they are at hand."""
        delta = self.delta
        if self.expression is not None:
            delta = delta + mixed(self.delta_modes, self.expression(posed) if numbers is None else numbers)
        return self._moved(posed, delta)

    def first_vertices(self, posed: PosedSurface) -> Float[Tensor, "v 3"]:
        """The posed surface with the dM that the fit began from, camera frame, metres."""
        return self._moved(posed, self.initial_delta)

    def _moved(self, posed: PosedSurface, delta: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        # Eq. 6 as printed adds dM to the posed vertices, where it does not turn with the head.
        return posed.vertices + (delta if self.after_skinning else (posed.linear * delta[:, None, :]).sum(-1))

    def _seen(
        self, posed: PosedSurface, means: Float[Tensor, "k 3"], numbers: Float[Tensor, "e"] | None
    ) -> Float[Tensor, "k 8"]:
        """Features of the Gaussians that face the camera, in an expression."""
        features = self.features
        if numbers is not None:
            features = features + mixed(self.feature_modes, numbers)
        features = features.index_select(0, posed.visible)
        if self.appearance == "neural":
            return features
        into_face = posed.quats * posed.quats.new_tensor([1.0, -1.0, -1.0, -1.0])
        directions = rotate(into_face, F.normalize(means.detach(), dim=-1))
        waves = self.harmonics.index_select(0, posed.visible)
        colour = features[:, :3] + (harmonics(directions)[..., None] * waves).sum(1)
        return F.pad(colour, (0, FEATURES - 3))

    def _conditioned(self, features: Float[Tensor, "k 8"], condition: Float[Tensor, "8"] | None) -> Tensor:
        if self.temporal == "none":
            return features
        if condition is None:
            condition = features.new_zeros(CONDITION)
        if self.temporal == "add":
            return features + condition
        hidden = F.linear(features, self.mix_in.weight[:, :FEATURES])
        hidden = hidden + F.linear(condition, self.mix_in.weight[:, FEATURES:], self.mix_in.bias)
        return features + self.mix_out(F.relu(hidden))


def mixed(modes: Float[Tensor, "e n d"], numbers: Float[Tensor, "e"]) -> Float[Tensor, "n d"]:
    """Sum of the modes, each times its number."""
    return (numbers @ modes.flatten(1)).view(modes.shape[1:])
