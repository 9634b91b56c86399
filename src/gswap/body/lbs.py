"""Linear blend skinning (eq. 6 of arXiv:2603.23168 uses its linear part): joints turn, vertices follow by weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class SkinWeights:
    """Sparse skinning weights: every vertex follows up to ``n`` joints."""

    joints: Int[np.ndarray, "v n"]
    weights: Float[np.ndarray, "v n"]
    """They add up to 1."""

    def of(self, joints: Sequence[int]) -> Float[np.ndarray, "v"]:
        """Summed weight of some joints, per vertex."""
        return (self.weights * np.isin(self.joints, joints)).sum(1)

    def dense(self, joint_count: int) -> Float[np.ndarray, "v j"]:
        """The same as a full matrix; read only, because it is made once."""
        if joint_count not in self._made:
            out = np.zeros((len(self.joints), joint_count))
            np.add.at(out, (np.arange(len(out))[:, None], self.joints), self.weights)
            out.flags.writeable = False
            self._made[joint_count] = out
        return self._made[joint_count]

    @cached_property
    def _made(self) -> dict[int, Float[np.ndarray, "v j"]]:
        return {}


def chain(
    joints: Float[np.ndarray, "j 3"], parents: Sequence[int], rotations: Float[np.ndarray, "j 3 3"]
) -> Float[np.ndarray, "j 3 4"]:
    """Rest -> posed transform of every joint when each turns about its own rest position, carried by its parent.

    Args:
        joints: Rest positions, metres.
        parents: Index of each joint's parent, smaller than the joint's own; -1 for a root.
        rotations: Rotation of each joint relative to its parent, in rest-frame axes.
    """
    out = np.empty((len(joints), 3, 4))
    for k, parent in enumerate(parents):
        shift = joints[k] - rotations[k] @ joints[k]
        if parent < 0:
            out[k, :, :3], out[k, :, 3] = rotations[k], shift
        else:
            linear = out[parent, :, :3]
            out[k, :, :3] = linear @ rotations[k]
            out[k, :, 3] = linear @ shift + out[parent, :, 3]
    return out


def blend(transforms: Float[np.ndarray, "j 3 4"], weights: SkinWeights) -> Float[np.ndarray, "v 3 4"]:
    """Weighted mean of the joints' transforms, per vertex."""
    flat = transforms.reshape(len(transforms), 12)
    return (weights.dense(len(transforms)) @ flat).reshape(-1, 3, 4)


def apply(transforms: Float[np.ndarray, "v 3 4"], points: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    """Transform each point by its own affine map."""
    return np.einsum("vij,vj->vi", transforms[..., :3], points) + transforms[..., 3]


def skin(
    vertices: Float[np.ndarray, "v 3"],
    joints: Float[np.ndarray, "j 3"],
    parents: Sequence[int],
    weights: SkinWeights,
    rotations: Float[np.ndarray, "j 3 3"],
) -> Float[np.ndarray, "v 3"]:
    """Posed vertices of a body whose joints turn by ``rotations`` (see :func:`chain`)."""
    return apply(blend(chain(joints, parents, rotations), weights), vertices)
