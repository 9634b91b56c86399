"""Posing a tracked body: the head stands where the track puts it, the torso hangs from it through the neck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gswap.body.lbs import SkinWeights, apply, blend
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.types import PosedMesh


@dataclass(frozen=True)
class HeadRig:
    """Which joints of a body carry the head."""

    neck_chain: tuple[int, ...]
    """Neck joints from the torso upwards, the head last; each takes an equal share of the neck rotation."""
    eyes: tuple[int, int]
    """Right and left eyeball."""
    shoulders: tuple[int, int]
    """Right and left shoulder joint."""

    @property
    def head(self) -> int:
        """The head joint."""
        return self.neck_chain[-1]


@dataclass(frozen=True)
class HeadPose:
    """One image's pose, as in ``foundation.types.BodyTrack``; rotation vectors in radians, metres."""

    rotation: Float[np.ndarray, "3"]
    translation: Float[np.ndarray, "3"]
    neck: Float[np.ndarray, "3"]
    eyes: Float[np.ndarray, "2 3"]


def neck_transforms(
    joints: Float[np.ndarray, "j 3"], chain: Sequence[int], neck: Float[np.ndarray, "... 3"]
) -> Float[np.ndarray, "n ... 3 4"]:
    """Torso-frame transforms of the joints of a neck chain that share the rotation ``neck`` (radians) equally."""
    step = rotvec_to_matrix(np.asarray(neck) / len(chain))
    linear = np.broadcast_to(np.eye(3), step.shape)
    shift = np.zeros(step.shape[:-1])
    out = []
    for joint in chain:
        own = joints[joint] - step @ joints[joint]
        shift = shift + (linear @ own[..., None])[..., 0]
        linear = linear @ step
        out.append(np.concatenate([linear, shift[..., None]], -1))
    return np.stack(out)


def torso_to_camera(
    joints: Float[np.ndarray, "j 3"], rig: HeadRig, pose: HeadPose
) -> tuple[Float[np.ndarray, "... 3 4"], Float[np.ndarray, "n ... 3 4"]]:
    """Rest -> camera transform of the torso that puts the head at ``pose``, and those of the neck chain.

    Works on batches: the fields of ``pose`` may have leading dimensions.
    """
    local = neck_transforms(joints, rig.neck_chain, pose.neck)
    head_linear, head_shift = local[-1][..., :3], local[-1][..., 3]
    linear = rotvec_to_matrix(pose.rotation) @ np.swapaxes(head_linear, -1, -2)
    carried = (head_linear @ joints[rig.head]) + head_shift
    shift = np.asarray(pose.translation) - (linear @ carried[..., None])[..., 0]
    chain_linear = linear @ local[..., :3]
    chain_shift = (linear @ local[..., 3:])[..., 0] + shift
    torso = np.concatenate([linear, shift[..., None]], -1)
    return torso, np.concatenate([chain_linear, chain_shift[..., None]], -1)


def pose_body(
    vertices: Float[np.ndarray, "v 3"],
    joints: Float[np.ndarray, "j 3"],
    weights: SkinWeights,
    rig: HeadRig,
    pose: HeadPose,
) -> PosedMesh:
    """Camera-frame vertices of rest ``vertices`` (with actions and offsets already added).

    The head follows ``pose.rotation`` and ``pose.translation`` exactly; every joint below the neck keeps its rest
    pose relative to the torso. Eyeballs turn rigidly about their own joints.
    """
    torso, chain = torso_to_camera(joints, rig, pose)
    transforms = np.broadcast_to(torso, (len(joints), 3, 4)).copy()
    transforms[list(rig.neck_chain)] = chain
    head = transforms[rig.head]
    for joint, turn in zip(rig.eyes, rotvec_to_matrix(pose.eyes), strict=True):
        shift = joints[joint] - turn @ joints[joint]
        transforms[joint, :, :3] = head[:, :3] @ turn
        transforms[joint, :, 3] = head[:, :3] @ shift + head[:, 3]
    blended = blend(transforms, weights)
    return PosedMesh(vertices=apply(blended, vertices), linear=blended[..., :3])
