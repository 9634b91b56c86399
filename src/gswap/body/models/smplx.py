"""SMPL-X (Pavlakos et al. 2019) from the user's own file, in place of Anny: eq. 4-6 of arXiv:2603.23168.

The model file needs a registration at smpl-x.is.tue.mpg.de and its licence forbids much; nothing of it is shipped
here, and the ``smplx`` package is not used. The full forward pass is :meth:`SmplxModel.skinned`. As a
``foundation.protocols.BodyModel`` it is driven by a ``BodyTrack``: the actions are the expression components, each as
a positive and a negative half in units of ``EXPRESSION_RANGE`` standard deviations, and three jaw actions, which are
the jaw joint's rotation to its full angle, linearised for the neutral face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from gswap.body.head_points import HeadPoints
from gswap.body.landmark_errors import LandmarkErrors, plain_errors
from gswap.body.landmark_model import ShapeSpace, landmark_weights
from gswap.body.lbs import SkinWeights, chain, skin
from gswap.body.moves import landmark_spread
from gswap.body.posing import HeadPose, HeadRig, pose_body
from gswap.body.shapes import SparseShapes
from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.protocols import RestBody
from gswap.foundation.types import BodyShape, BodyTrack, PosedMesh

OPENCV_FROM_SMPLX = np.diag([1.0, -1.0, -1.0])
"""SMPL-X: x = person's left, y = up, z = front. Ours: x = left, y = down, z = back."""
NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE = 12, 15, 22, 23, 24
LEFT_SHOULDER, RIGHT_SHOULDER = 16, 17
BODY_JOINTS, JOINTS, HAND_JOINTS = 21, 55, 15
SHAPE_CAPACITY = 300
"""Columns of ``shapedirs`` before the expressions in the files of 2020; older files have 10."""
SHAPES, EXPRESSIONS = 50, 20
"""Components that are used."""
EXPRESSION_RANGE = 2.5
"""Standard deviations of an expression component at action 1."""
JAW_ACTIONS = {"jawOpen": (0.6, 0.0, 0.0), "jawLeft": (0.0, 0.25, 0.0), "jawRight": (0.0, -0.25, 0.0)}
"""Rotation vector of the jaw at action 1, SMPL-X axes, radians."""
REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f", "vt", "ft")
"""Arrays that are read from the file."""
_HINT = (
    "SMPL-X cannot be shipped: register at https://smpl-x.is.tue.mpg.de, accept its licence (research use; it bars "
    "misleading content), download SMPLX_NEUTRAL.npz and run: gswap weights import smplx SMPLX_NEUTRAL.npz. "
    "Anny needs no file."
)


@dataclass(frozen=True)
class SmplxRest:
    """A person in the rest pose; see ``foundation.protocols.RestBody``."""

    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]


@dataclass(frozen=True)
class SmplxPose:
    """Pose of the full model: rotation vectors in SMPL-X axes, radians."""

    global_orient: Float[np.ndarray, "3"]
    body: Float[np.ndarray, "21 3"]
    jaw: Float[np.ndarray, "3"]
    eyes: Float[np.ndarray, "2 3"]
    """Left, right."""
    hands: Float[np.ndarray, "2 15 3"]
    """Left, right; relative to the flat hand."""
    translation: Float[np.ndarray, "3"]

    @staticmethod
    def rest() -> SmplxPose:
        """The T-pose."""
        z = np.zeros
        return SmplxPose(z(3), z((BODY_JOINTS, 3)), z(3), z((2, 3)), z((2, HAND_JOINTS, 3)), z(3))

    def rotations(self) -> Float[np.ndarray, "55 3 3"]:
        """Rotation of every joint relative to its parent."""
        rows = [self.global_orient[None], self.body, self.jaw[None], self.eyes, self.hands.reshape(-1, 3)]
        return rotvec_to_matrix(np.concatenate(rows))


class SmplxModel:
    """SMPL-X. Implements ``foundation.protocols.BodyModel`` in our axes; :meth:`skinned` speaks SMPL-X's own."""

    name = "smplx"

    def __init__(self, data: Mapping[str, np.ndarray], landmarks: Mapping[str, np.ndarray]) -> None:
        self._template = data["v_template"].astype(np.float64)
        count = len(self._template)
        directions = data["shapedirs"].astype(np.float64)
        capacity = SHAPE_CAPACITY if directions.shape[2] > SHAPE_CAPACITY else directions.shape[2] // 2
        self._shapes = np.moveaxis(directions[:, :, : min(SHAPES, capacity)], 2, 0)
        self._expressions = np.moveaxis(directions[:, :, capacity : capacity + EXPRESSIONS], 2, 0)
        self._pose_directions = data["posedirs"].astype(np.float64).reshape(count, 3, -1)
        self._regressor = sparse.csr_array(data["J_regressor"].astype(np.float64))
        dense = data["weights"].astype(np.float64)
        order = np.argsort(-dense, axis=1, kind="stable")[:, : min(8, dense.shape[1])]
        kept = np.take_along_axis(dense, order, 1)
        self.skin_weights = SkinWeights(order.astype(np.int32), kept / kept.sum(1, keepdims=True))
        parents = data["kintree_table"][0].astype(np.int64)
        self.parents: tuple[int, ...] = (-1, *map(int, parents[1:]))

        self.faces: Int[np.ndarray, "f 3"] = data["f"].astype(np.int32)
        self.face_uv: Float[np.ndarray, "f 3 2"] = data["vt"].astype(np.float32)[data["ft"].astype(np.int64)]
        weight = self.skin_weights.of
        self.part: Int[np.ndarray, "v"] = np.select([weight([LEFT_EYE]) > 0.5, weight([RIGHT_EYE]) > 0.5], [2, 3], 0)
        self.rig = HeadRig((NECK, HEAD), (RIGHT_EYE, LEFT_EYE), (RIGHT_SHOULDER, LEFT_SHOULDER))
        self.head_joint: int = HEAD
        self.head_weight: Float[np.ndarray, "v"] = weight([HEAD, JAW, LEFT_EYE, RIGHT_EYE])
        self.neck_weight: Float[np.ndarray, "v"] = weight([NECK])
        self.torso_weight: Float[np.ndarray, "v"] = 1 - self.head_weight - self.neck_weight

        signed = [f"expr{k:02d}{sign}" for k in range(len(self._expressions)) for sign in ("+", "-")]
        self.action_names: tuple[str, ...] = (*signed, *JAW_ACTIONS)
        self.free_actions: tuple[str, ...] = self.action_names
        self.actions: SparseShapes = SparseShapes(
            sparse.csc_array(self._action_shapes().reshape(len(self.action_names), -1).T)
        )
        n = len(self._shapes)
        self.shape_space = ShapeSpace(np.eye(n), np.ones(n), np.full(n, -4.0), np.full(n, 4.0))
        self.landmark_triangles: Int[np.ndarray, "478 3"] = landmarks["triangles"].astype(np.int32)
        self.landmark_barycentric: Float[np.ndarray, "478 3"] = landmarks["barycentric"].astype(np.float64)
        self.landmark_spread: Float[np.ndarray, "478"] = landmarks["spread"].astype(np.float64)
        weights = landmark_weights(self.landmark_spread)
        self.head_points: HeadPoints | None = None
        self.landmark_errors: LandmarkErrors = plain_errors(weights, len(self.free_actions))

    # ------------------------------------------------------------ BodyModel
    def neutral_shape(self) -> BodyShape:
        """The mean person."""
        return BodyShape(self.name, np.zeros(len(self._shapes)), np.zeros_like(self._template))

    def rest(self, shape: BodyShape) -> SmplxRest:
        """Shape -> rest vertices and joints (eq. 4: offsets are added after the joints are found, before skinning)."""
        vertices = self._template + np.tensordot(shape.coefficients, self._shapes, 1)
        joints = self._regressor @ vertices
        return SmplxRest(vertices @ OPENCV_FROM_SMPLX + shape.offsets, joints @ OPENCV_FROM_SMPLX)

    def pose(self, track: BodyTrack, rest: RestBody, t: int) -> PosedMesh:
        """Vertices of image ``t`` in its camera, and the linear part of their skinning."""
        pose = HeadPose(track.rotation[t], track.translation[t], track.neck[t], track.eyes[t])
        vertices = rest.vertices + self.actions.combine(track.actions[t])
        if track.moves is not None:
            vertices = vertices + landmark_spread(self)(track.moves[t], len(vertices))
        return pose_body(vertices, rest.joints, self._driven_weights(), self.rig, pose)

    # ------------------------------------------------------------ the full model
    def skinned(
        self,
        betas: Float[np.ndarray, "s"],
        expression: Float[np.ndarray, "e"],
        pose: SmplxPose,
        delta: Float[np.ndarray, "v 3"] | None = None,
    ) -> Float[np.ndarray, "v 3"]:
        """Posed vertices in SMPL-X axes: shape, expression and pose blendshapes, ``delta`` (ΔM), then skinning.

        Args:
            betas: Up to ``SHAPES`` shape coefficients.
            expression: Up to ``EXPRESSIONS`` expression coefficients.
            pose: All joints.
            delta: Learned offsets of the template, metres; they turn with the body because they precede skinning.
        """
        shaped = self._template + np.tensordot(betas, self._shapes[: len(betas)], 1)
        shaped = shaped + np.tensordot(expression, self._expressions[: len(expression)], 1)
        joints = self._regressor @ shaped
        rotations = pose.rotations()
        feature = (rotations[1:] - np.eye(3)).ravel()
        vertices = shaped + self._pose_directions @ feature
        if delta is not None:
            vertices = vertices + delta
        return skin(vertices, joints, self.parents, self.skin_weights, rotations) + pose.translation

    def _action_shapes(self) -> Float[np.ndarray, "a v 3"]:
        """Expressions and jaw turns as displacements of the rest vertices, our axes; eyeballs stay."""
        shapes = [sign * EXPRESSION_RANGE * e for e in self._expressions for sign in (1, -1)]
        joints = self._regressor @ self._template
        for turn in JAW_ACTIONS.values():
            rotations = np.tile(np.eye(3), (JOINTS, 1, 1))
            rotations[JAW] = rotvec_to_matrix(np.array(turn))
            transforms = chain(joints, self.parents, rotations)
            moved = self._template @ transforms[JAW, :, :3].T + transforms[JAW, :, 3]
            shapes.append(self.skin_weights.of([JAW])[:, None] * (moved - self._template))
        out = np.stack(shapes) @ OPENCV_FROM_SMPLX
        out[:, self.part >= 2] = 0
        return out

    def _driven_weights(self) -> SkinWeights:
        """The jaw's weight given to the head: jaw motion is in the actions."""
        return SkinWeights(
            np.where(self.skin_weights.joints == JAW, HEAD, self.skin_weights.joints), self.skin_weights.weights
        )


@cache
def load_smplx(path: Path) -> SmplxModel:
    """Read a ``SMPLX_*.npz`` and, beside it, ``<name>.landmarks.npz`` as ``scripts/make_landmark_map.py`` writes it.

    Raises:
        MissingInputError: A file is not there.
        InputError: It is no SMPL-X file.
    """
    if not path.is_file():
        raise MissingInputError("Expected the SMPL-X model file, found nothing.", hint=_HINT, path=path)
    landmarks = path.with_suffix(".landmarks.npz")
    if not landmarks.is_file():
        raise MissingInputError(
            "Expected the landmark map of this SMPL-X file, found nothing.",
            hint=f"Run: python scripts/make_landmark_map.py --smplx {path}",
            path=landmarks,
        )
    return SmplxModel(read_arrays(path, REQUIRED), read_arrays(landmarks, ("triangles", "barycentric", "spread")))


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Some arrays of an npz; its pickled members (SMPL-X files have some) are never read.

    Raises:
        InputError: An array is missing, pickled, or the file is no npz.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise InputError(f"Expected the array {missing[0]!r}, found none.", hint=_HINT, path=path)
            return {name: archive[name] for name in names}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise InputError("Expected an npz of plain arrays, found something else.", hint=_HINT, path=path) from error
