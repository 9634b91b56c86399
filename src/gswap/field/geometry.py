"""F of eq. 7, the part that nothing learns: where the surface is in a frame. Computed on demand, kept a while."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gswap.field.binding import Binding
from gswap.field.surface import Surface, face_frames, face_quaternions
from gswap.foundation.geometry import similarity
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, PosedMesh

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # no wheel for this platform and no compiler at install time
    _native = None

AREA_RATIO_RANGE = (0.5, 2.0)
"""How far stretching a face may change the size of its Gaussians."""
CULL_COSINE = 0.3
"""Faces whose outward normal points away from the camera by more than this (cosine) are not drawn."""
NEVER = 2.0
"""A cosine that no angle has: nothing is culled."""


@dataclass(frozen=True)
class PosedSurface:
    """A surface in one camera (metres). float32 tensors; nothing here needs a gradient."""

    vertices: Float[Tensor, "v 3"]
    linear: Float[Tensor, "v 3 3"]
    """Rest-frame displacement of a vertex -> camera frame (skinning before eq. 6's dM)."""
    visible: Int[Tensor, "k"]
    """The Gaussians that face the camera."""
    corners: Int[Tensor, "3k"]
    """Vertices of the triangle of each visible Gaussian, flattened."""
    quats: Float[Tensor, "k 4"]
    """Orientation of that triangle."""
    stretch: Float[Tensor, "k 1"]
    """Square root of posed over rest area of that triangle."""
    pivot: Float[Tensor, "3"]
    """The head joint: per-frame corrections turn the head about it."""

    def to(self, device: torch.device | str) -> PosedSurface:
        """The same on another device."""
        return PosedSurface(**{name: value.to(device) for name, value in vars(self).items()})


def extend_mesh(surface: Surface, mesh: PosedMesh) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3 3"]]:
    """Vertices and linear parts of ``surface`` for a posed body: the teeth follow skull and chin rigidly."""
    body = np.asarray(mesh.vertices, np.float64)[surface.body_vertices]
    linear = np.asarray(mesh.linear, np.float64)[surface.body_vertices]
    vertices, parts = [body], [linear]
    spans = (
        (surface.upper_anchors, slice(surface.teeth_start, surface.lower_teeth_start)),
        (surface.lower_anchors, slice(surface.lower_teeth_start, len(surface.vertices))),
    )
    for anchors, span in spans:
        rest, posed = surface.vertices[anchors], body[anchors]
        _, rotation, _ = similarity(rest, posed)
        teeth = surface.vertices[span]
        vertices.append((teeth - rest.mean(0)) @ rotation.T + posed.mean(0))
        parts.append(np.broadcast_to(rotation, (len(teeth), 3, 3)))
    return np.concatenate(vertices), np.concatenate(parts)


def pose_surface(
    surface: Surface, binding: Binding, mesh: PosedMesh, pivot: Float[np.ndarray, "3"], *, cull: bool = True
) -> PosedSurface:
    """Everything about one frame that the field needs.

    Args:
        surface: Head, neck and teeth at rest.
        binding: Where the Gaussians are on it.
        mesh: The posed body, camera frame.
        pivot: Position of the head joint, camera frame.
        cull: Leave out the Gaussians on faces that look away from the camera.
    """
    vertices, linear = extend_mesh(surface, mesh)
    return _posed(surface, binding, vertices, linear, pivot, CULL_COSINE if cull else NEVER)


def turned_surface(
    surface: Surface, binding: Binding, posed: PosedSurface, rotation: Float[np.ndarray, "3 3"]
) -> PosedSurface:
    """The same pose turned about the head joint: what a camera sees that walked around the head."""
    pivot = posed.pivot.double().numpy()
    vertices = (posed.vertices.double().numpy() - pivot) @ rotation.T + pivot
    linear = rotation @ posed.linear.double().numpy()
    return _posed(surface, binding, vertices, linear, pivot, CULL_COSINE)


def _posed(
    surface: Surface,
    binding: Binding,
    vertices: Float[np.ndarray, "v 3"],
    linear: Float[np.ndarray, "v 3 3"],
    pivot: Float[np.ndarray, "3"],
    cosine: float,
) -> PosedSurface:
    pose = _pose_faces if _native is None else _native.pose_faces
    rest_area = surface.face_area
    visible, corners, quats, stretch = pose(vertices, surface.faces, rest_area, binding.face, AREA_RATIO_RANGE, cosine)
    as_float = lambda x: torch.from_numpy(np.ascontiguousarray(x, np.float32))  # noqa: E731
    return PosedSurface(as_float(vertices), as_float(linear), visible, corners, quats, stretch, as_float(pivot))


def _pose_faces(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    rest_area: Float[np.ndarray, "f"],
    face_of: Int[np.ndarray, "n"],
    stretch_range: tuple[float, float],
    cull_cosine: float,
) -> tuple[Int[Tensor, "k"], Int[Tensor, "3k"], Float[Tensor, "k 4"], Float[Tensor, "k 1"]]:
    """``pose_faces`` of the native extension, where that is not built."""
    frames, area = face_frames(vertices, faces)
    stretch = np.clip(np.sqrt(area / np.maximum(rest_area, 1e-14)), *stretch_range)
    centre = vertices[faces].mean(1)
    away = (frames[:, :, 1] * centre).sum(1) / np.maximum(np.linalg.norm(centre, axis=1), 1e-9)
    visible = np.flatnonzero(away[face_of] < cull_cosine)
    face = face_of[visible]
    as_float = lambda x: torch.from_numpy(np.ascontiguousarray(x, np.float32))  # noqa: E731
    corners = torch.from_numpy(faces[face].reshape(-1))
    return torch.from_numpy(visible), corners, as_float(face_quaternions(frames)[face]), as_float(stretch[face, None])


class TrackGeometry:
    """The posed surfaces of a track, computed on demand; the last ``capacity`` frames are kept.

    Memory does not grow with the length of the clip.
    """

    def __init__(
        self,
        surface: Surface,
        binding: Binding,
        track: BodyTrack,
        model: BodyModel,
        *,
        capacity: int = 32,
        cull: bool = True,
    ) -> None:
        self.surface, self.binding, self.track = surface, binding, track
        self._model, self._rest = model, model.rest(track.shape)
        self._capacity, self._cull = capacity, cull
        self._kept: OrderedDict[int, PosedSurface] = OrderedDict()

    def __len__(self) -> int:
        return len(self.track)

    def __getitem__(self, t: int) -> PosedSurface:
        if t in self._kept:
            self._kept.move_to_end(t)
            return self._kept[t]
        mesh = self._model.pose(self.track, self._rest, t)
        posed = pose_surface(self.surface, self.binding, mesh, self.track.translation[t], cull=self._cull)
        self._kept[t] = posed
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return posed
