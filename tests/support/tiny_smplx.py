"""An SMPL-X file with the real one's keys and kinds of arrays; its geometry is Anny's: the real one is not ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gswap.body.models import load_body
from gswap.body.models.smplx import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
PARENTS += [20 if k % 3 == 0 else 24 + k for k in range(15)] + [21 if k % 3 == 0 else 39 + k for k in range(15)]
FLIP = np.diag([1.0, -1.0, -1.0])


def write_smplx(path: Path) -> Path:
    """Write the model and, beside it, its landmark map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    anny = load_body("anny")
    rest = anny.rest(anny.neutral_shape())
    count = len(rest.vertices)
    rng = np.random.default_rng(0)
    bones = {"head": HEAD, "eye.L": LEFT_EYE, "eye.R": RIGHT_EYE, "neck01": NECK, "neck02": NECK, "neck03": NECK}
    bones |= {"upperarm01.L": 16, "upperarm01.R": 17, "clavicle.L": 13, "clavicle.R": 14}
    dense = anny.skin_weights.dense(len(anny.bone_names))
    weights = np.zeros((count, 55))
    for k, bone in enumerate(anny.bone_names):
        weights[:, bones.get(bone, 9)] += dense[:, k]
    actions = anny.actions.dense()
    jaw = np.clip(np.linalg.norm(actions[anny.action_names.index("jawOpen")], axis=1) / 0.03, 0, 1) * weights[:, HEAD]
    weights[:, HEAD] -= jaw
    weights[:, JAW] += jaw
    regressor = np.zeros((55, count))
    for joint, bone in {
        HEAD: "head",
        NECK: "neck02",
        LEFT_EYE: "eye.L",
        RIGHT_EYE: "eye.R",
        16: "upperarm01.L",
        17: "upperarm01.R",
    }.items():
        near = np.argsort(np.linalg.norm(rest.vertices - rest.joints[anny.bone_names.index(bone)], axis=1))[:30]
        regressor[joint, near] = 1 / 30
    regressor[regressor.sum(1) == 0, :20] = 1 / 20
    regressor[JAW] = regressor[HEAD]
    shapedirs = np.zeros((count, 3, 400))
    for k, name in enumerate(("chin-width-incr", "nose-scale-horiz-incr", "mouth-scale-horiz-incr")):
        shapedirs[:, :, k] = 0.4 * anny.local_shapes([name])[0, 0, :count] @ FLIP
    for k, name in enumerate(("mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker")):
        shapedirs[:, :, 300 + k] = 0.4 * actions[anny.action_names.index(name)] @ FLIP
    uv = anny.face_uv.reshape(-1, 2)
    np.savez(
        path,
        v_template=rest.vertices @ FLIP,
        shapedirs=shapedirs,
        posedirs=rng.normal(0, 1e-4, (count, 3, 486)),
        J_regressor=regressor,
        weights=weights,
        kintree_table=np.array([[2**32 - 1, *PARENTS[1:]], range(55)]),
        f=anny.faces.astype(np.uint32),
        vt=uv,
        ft=np.arange(len(uv)).reshape(-1, 3),
        hands_meanl=np.zeros(45),
        lmk_faces_idx=np.zeros(51, int),
        joint2num=np.array({"Pelvis": 0}, dtype=object),
        part2num=np.array({"pelvis": 0}, dtype=object),
    )
    np.savez(
        path.with_suffix(".landmarks.npz"),
        triangles=anny.landmark_triangles,
        barycentric=anny.landmark_barycentric,
        spread=anny.landmark_spread,
    )
    return path
