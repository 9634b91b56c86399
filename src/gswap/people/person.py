"""A synthetic person: a body with everything on it, ready to be posed and rendered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from gswap.body.lbs import skin
from gswap.body.models.anny import AnnyModel, AnnyRest, load_anny
from gswap.foundation.types import BodyShape
from gswap.people import details, hair
from gswap.people.anatomy import Anatomy, Figure
from gswap.people.attach import Binding, bind_between, bind_nearest, join
from gswap.people.clothes import RIB_RADIUS, Garment, bind_to_garment, make_garment
from gswap.people.hats import HatMesh, make_hat, press_hair
from gswap.people.seeds import stream
from gswap.people.surface import COLUMNS, Column, skin_attributes
from gswap.people.traits import SKIN_TONES, Rgb, Traits, draw_traits

LOWERED_ARMS = 34.0
"""Degrees from Anny's rest pose."""
SHOULDER_SLOPE = 5.0
"""Degrees by which the clavicles drop."""
LOCAL_GROUPS = ("head-", "forehead", "eyebrow", "eye-", "nose", "mouth", "chin", "cheek", "-ear-", "neck-")
LOCAL_SIGMA = {"male": 0.26, "female": 0.21}
"""Spread of Anny's local changes; above 0.35 faces become caricatures."""
BUILD = {"measure-shoulder-dist-incr": -0.5, "torso-scale-horiz-incr": -0.3, "torso-scale-depth-incr": -0.2}
"""Means of the torso's local changes: Anny's own shoulders fill the picture. Men have a part of it."""
LINEAR_GAMMA = 2.2


class Material(IntEnum):
    """What a triangle is made of; the first four are the body's parts."""

    SKIN = 0
    TONGUE = 1
    LEFT_EYE = 2
    RIGHT_EYE = 3
    CLOTH = 4
    TEETH = 5
    COLLAR = 6
    HAT = 7


class Label(IntEnum):
    """What a pixel belongs to."""

    BACKGROUND = 0
    FACE = 1
    HAIR = 2
    NECK = 3
    TORSO = 4
    CLOTHES = 5
    GLASSES = 6
    HAT = 7


class StrandKind(IntEnum):
    """What a strand is."""

    HAIR = 0
    BROW = 1
    FRAME = 2
    RIB = 3


@dataclass(frozen=True)
class Mesh:
    """All triangles of a person: the body's vertices first, then those of what is worn."""

    faces: Int[np.ndarray, "f 3"]
    material: Int[np.ndarray, "f"]
    label: Int[np.ndarray, "f"]
    """Of :class:`Label`; skin is told apart by its skinning weights instead."""
    attributes: Float[np.ndarray, "n c"]
    """Columns of :class:`surface.Column`; the first three are the rest position."""
    binding: Binding
    """Of the vertices behind the body's own."""


@dataclass(frozen=True)
class StrandSet:
    """All strands of a person."""

    points: Float[np.ndarray, "m 3"]
    binding: Binding
    segments: Int[np.ndarray, "s 2"]
    kind: Int[np.ndarray, "s"]
    radius: Float[np.ndarray, "s"]
    """Metres."""
    along: Float[np.ndarray, "m"]
    """0 at the root, 1 at the tip."""
    layer: Float[np.ndarray, "m"]
    color: Float[np.ndarray, "m 3"]
    """Linear RGB."""
    casts: Int[np.ndarray, "c"]
    """Segments that are drawn into the shadow map (a third of the hair, thickened)."""


@dataclass(frozen=True)
class Palette:
    """Linear RGB of the skin, hair and clothes."""

    skin: Float[np.ndarray, 3]
    torso_skin: Float[np.ndarray, 3]
    lips: Float[np.ndarray, 3]
    hair: Float[np.ndarray, 3]
    iris: Float[np.ndarray, 3]
    fabric: Float[np.ndarray, 3]
    trim: Float[np.ndarray, 3]
    hat: Float[np.ndarray, 3]


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist. Made by :func:`make_person` or ``swap.true_swap``."""

    name: str
    model: AnnyModel
    traits: Traits
    """Of the head; clothes come from ``clothed_as``."""
    clothed_as: Traits
    figure: Figure
    rest: AnnyRest
    """``figure`` as the body model sees it."""
    mesh: Mesh
    strands: StrandSet
    palette: Palette
    anchor: Float[np.ndarray, 3]
    """Rest point that is placed where the scene wants the head."""
    iris_radius: float
    """Sine of the angle that the iris spans from the eyeball's centre."""


def make_person(seed: int, **overrides: Any) -> Person:
    """The person numbered ``seed``; ``overrides`` set traits (see ``traits.draw_traits``).

    Raises:
        UsageError: an override is not a trait, or its value does not exist.
    """
    traits = draw_traits(seed, **overrides)
    model = load_anny()
    figure = _figure(model, _shape(model, traits))
    return dress(f"person {seed}", figure, traits, traits, np.zeros(len(figure.vertices)), figure.head_centre)


def dress(
    name: str, figure: Figure, traits: Traits, clothed_as: Traits, torso_tone: np.ndarray, anchor: np.ndarray
) -> Person:
    """Give a figure its skin, hair and clothes.

    Args:
        name: for messages.
        figure: the body.
        traits: of the head.
        clothed_as: whose clothes and torso skin it has.
        torso_tone: per vertex, the share of ``clothed_as``'s skin tone.
        anchor: rest point that the camera is aimed at.
    """
    palette = _palette(traits, clothed_as)
    model = load_anny()
    garment = make_garment(figure, model.rig.neck_chain[0], clothed_as.neckline)
    teeth = details.make_teeth(figure)
    attributes = skin_attributes(figure, traits.hair, torso_tone)
    hat = make_hat(figure, traits.hat)
    mesh = _assemble_mesh(figure, garment, teeth, hat, attributes)
    strands = _assemble_strands(figure, garment, traits, palette)
    left_eye = figure.vertices[figure.anatomy.part == Material.LEFT_EYE]
    iris_radius = 0.0058 / np.linalg.norm(left_eye - left_eye.mean(0), axis=1).max()
    rest = AnnyRest(figure.vertices, figure.joints)
    return Person(name, model, traits, clothed_as, figure, rest, mesh, strands, palette, anchor, float(iris_radius))


@cache
def _anatomy() -> Anatomy:
    m = load_anny()
    skin_only = m.part == 0
    lips, mouth, ears, lids = (m.regions[r] * skin_only for r in ("lips", "mouth", "ears", "eyelids"))
    return Anatomy(
        m.faces, m.part, m.head_weight, m.neck_weight, m.torso_weight, lips, mouth, ears, lids,
        m.landmark_triangles, m.landmark_barycentric,
    )  # fmt: skip


# ---------------------------------------------------------------- shape
def _shape(model: AnnyModel, traits: Traits) -> BodyShape:
    female = traits.sex == "female"
    races = stream(traits.seed, "ethnicity").dirichlet([0.7, 0.7, 0.7])
    dark = traits.skin_tone / (len(SKIN_TONES) - 1)
    races = races * np.array([0.2 + dark, 0.6, 1.2 - dark])  # skin tone and bone structure are related, loosely
    rng = stream(traits.seed, "gender")
    phenotypes = {
        "gender": rng.uniform(0.8, 1.0) if female else rng.uniform(0.0, 0.2),
        "age": traits.age,
        "muscle": traits.muscle,
        "weight": traits.weight,
        "height": stream(traits.seed, "height").uniform(0.4, 0.6),
        "proportions": traits.proportions,
        **dict(zip(("african", "asian", "caucasian"), races / races.sum(), strict=True)),
    }
    coefficients = model.coefficients({k: float(x) for k, x in phenotypes.items()}, _local_changes(model, traits))
    points = model.rest_points(coefficients)
    count = len(model.part)
    lowered = _lower_arms(model, points[:count], points[count:])
    return BodyShape(model.name, coefficients, lowered - points[:count])


def _local_changes(model: AnnyModel, traits: Traits) -> dict[str, float]:
    """Small changes of the face; the right side mirrors the left but for a little asymmetry."""
    share = 1.0 if traits.sex == "female" else 0.6
    out: dict[str, float] = {}
    for name, mean in BUILD.items():
        out[name] = share * mean + 0.12 * float(stream(traits.seed, f"local {name}").normal())
    for name in model.local_names:
        if name.startswith("r-") or not any(group in name for group in LOCAL_GROUPS):
            continue
        if not name.startswith(("l-", "head", "forehead", "eyebrow", "nose", "mouth", "chin", "neck")):
            continue
        rng = stream(traits.seed, f"local {name}")
        mean = 0.1 if "eye-height" in name else 0.0
        out[name] = float(np.clip(mean + rng.normal() * _sigma(name, traits.sex), -0.85, 0.85))
        twin = "r-" + name[2:]
        if name.startswith("l-") and twin in model.local_names:
            out[twin] = float(np.clip(out[name] + rng.normal() * 0.05, -0.9, 0.9))
    return out


def _sigma(name: str, sex: str) -> float:
    if name in ("nose-trans-out", "mouth-trans-out", "head-trans-out", "head-angle-out", "neck-trans-out"):
        return 0.05
    if name in ("head-trans-forward", "head-trans-up", "neck-trans-forward", "neck-trans-up", "mouth-dimples-out"):
        return 0.1
    if name in ("head-age-incr", "eyebrows-trans-forward", "forehead-nubian-incr"):
        return 0.12
    if name.startswith("neck"):
        return 0.15
    return 0.3 if "ear-" in name else LOCAL_SIGMA[sex]


def _lower_arms(model: AnnyModel, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    rotations = np.tile(np.eye(3), (len(joints), 1, 1))
    for bone, angle in (("upperarm01", LOWERED_ARMS), ("clavicle", SHOULDER_SLOPE)):
        for side, sign in ((".L", 1), (".R", -1)):
            c, s = np.cos(np.radians(sign * angle)), np.sin(np.radians(sign * angle))
            rotations[model.bone_names.index(bone + side)] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    return skin(vertices, joints, model.bone_parents, model.skin_weights, rotations)


def _figure(model: AnnyModel, shape: BodyShape) -> Figure:
    rest = model.rest(shape)
    return Figure(_anatomy(), shape, rest.vertices, rest.joints)


# ---------------------------------------------------------------- colours
def linear(rgb: Rgb | np.ndarray) -> Float[np.ndarray, 3]:
    """SRGB in [0, 255] -> linear RGB in [0, 1]."""
    return (np.asarray(rgb, float) / 255) ** LINEAR_GAMMA


def _skin_color(tone: float) -> np.ndarray:
    grid = np.arange(len(SKIN_TONES))
    return linear(np.array([np.interp(tone, grid, [t[k] for t in SKIN_TONES]) for k in range(3)]))


def _palette(traits: Traits, clothed_as: Traits) -> Palette:
    tone = _skin_color(traits.skin_tone)
    bare, made_up = tone * np.array([0.74, 0.40, 0.42]), np.array([0.34, 0.05, 0.07])
    lips = bare * (1 - traits.lip_tint) + made_up * traits.lip_tint
    return Palette(
        tone, _skin_color(clothed_as.skin_tone), lips, linear(traits.hair.color), linear(traits.eye_color) * 1.5,
        linear(clothed_as.fabric), linear(clothed_as.trim), linear(traits.hat_color),
    )  # fmt: skip


# ---------------------------------------------------------------- assembly
def _assemble_mesh(figure: Figure, garment: Garment, teeth: details.Teeth, hat: HatMesh, skin_rows: np.ndarray) -> Mesh:
    body, v = figure.anatomy, figure.vertices

    def rows(vertices: np.ndarray, visible: np.ndarray | float, extra: np.ndarray | float) -> np.ndarray:
        out = np.zeros((len(vertices), COLUMNS), np.float32)
        out[:, :3], out[:, Column.OPEN], out[:, Column.EXTRA] = vertices, visible, extra
        return out

    index, weight = garment.binding
    cloth_open = np.maximum((skin_rows[index, Column.OPEN] * weight).sum(1), 0.55)
    parts = [
        rows(garment.vertices, cloth_open, garment.below),
        rows(teeth.vertices, 0.8, teeth.gum),
        rows(garment.collar_vertices, 0.8, 0.0),
        rows(hat.vertices, 0.9, hat.above_edge),
    ]
    starts = len(v) + np.cumsum([0, *(len(p) for p in parts)])
    worn = (garment.faces, teeth.faces, garment.collar_faces, hat.faces)
    faces = [body.faces, *(f + start for f, start in zip(worn, starts, strict=False))]
    material = [body.part[body.faces[:, 0]]]
    made_of = (Material.CLOTH, Material.TEETH, Material.COLLAR, Material.HAT)
    material += [np.full(len(f), m) for f, m in zip(worn, made_of, strict=True)]
    label = [np.full(len(body.faces), Label.FACE)]
    parts_of = (Label.CLOTHES, Label.FACE, Label.CLOTHES, Label.HAT)
    label += [np.full(len(f), k) for f, k in zip(worn, parts_of, strict=True)]
    bindings = [garment.binding, _bind_teeth(figure, teeth)]
    if len(garment.collar_vertices):
        bindings.append(bind_to_garment(garment.collar_vertices, figure, garment))
    if len(hat.vertices):
        count = len(hat.vertices)
        bindings.append(bind_between(count, body.skull_vertex, body.skull_vertex, np.zeros(count)))
    return Mesh(
        np.concatenate(faces).astype(np.int32),
        np.concatenate(material).astype(np.int32),
        np.concatenate(label).astype(np.uint8),
        np.concatenate([skin_rows, *parts]).astype(np.float32),
        join(bindings),
    )


def _bind_teeth(figure: Figure, teeth: details.Teeth) -> Binding:
    """Upper teeth follow the skull, lower ones the inside of the lower lip."""
    body, v, marks = figure.anatomy, figure.vertices, figure.landmarks
    lips = (marks[13] + marks[14]) / 2
    jaw = np.flatnonzero((body.mouth > 0.5) & (v[:, 1] > lips[1]) & (v[:, 2] < lips[2] + 0.012) & (body.part == 0))
    if not len(jaw):
        jaw = body.landmark_triangles[17][:1]
    jaw = jaw[np.linspace(0, len(jaw) - 1, min(8, len(jaw))).round().astype(int)]
    lower = len(teeth.vertices) - teeth.lower
    jaw_binding = Binding(np.tile(jaw.astype(np.int32), (lower, 1)), np.full((lower, len(jaw)), 1 / len(jaw)))
    return join([bind_between(teeth.lower, body.skull_vertex, body.skull_vertex, np.zeros(teeth.lower)), jaw_binding])


def _assemble_strands(figure: Figure, garment: Garment, traits: Traits, palette: Palette) -> StrandSet:
    body = figure.anatomy
    skin_only = np.flatnonzero((body.part == 0) & (body.mouth < 0.3))
    tree = KDTree(figure.vertices[skin_only])

    def normal_at(points: np.ndarray) -> np.ndarray:
        return figure.normals[skin_only[tree.query(points)[1]]]

    grown = hair.grow_hair(stream(traits.seed, "hair growth"), figure, traits.hair)
    grown = press_hair(figure, traits.hat, grown)
    rng = stream(traits.seed, "brow growth")
    brows = details.grow_brows(rng, figure, traits.brow_density, normal_at)
    lashes = details.grow_lashes(rng, figure, 0.0085 if traits.sex == "female" else 0.0055)
    batch = _StrandBatch(stream(traits.seed, "strand colours"))
    share = hair.torso_share(figure, grown.points.reshape(-1, 3))
    batch.add(
        grown.points, StrandKind.HAIR, grown.radius, palette.hair, grown.layer,
        bind_between(len(share), body.skull_vertex, body.chest_vertex, share),
    )  # fmt: skip
    brow_color = palette.hair * min(0.75, 0.07 / palette.hair.mean())
    for hairs, color in ((brows, brow_color), (lashes, np.array([0.012, 0.010, 0.010]))):
        root = bind_nearest(hairs[:, 0], figure.vertices, skin_only, k=3)
        each = Binding(np.repeat(root.vertex, hairs.shape[1], 0), np.repeat(root.weight, hairs.shape[1], 0))
        batch.add(hairs, StrandKind.BROW, np.full(len(hairs), 2.6e-4), color, np.ones(len(hairs)), each)
    if traits.glasses:
        for line in details.spectacles(figure):
            rigid = bind_between(len(line), body.skull_vertex, body.skull_vertex, np.zeros(len(line)))
            batch.add(line[None], StrandKind.FRAME, np.array([0.0016]), linear(traits.frame_color), np.ones(1), rigid)
    if garment.rib_drawn:
        follows = bind_to_garment(garment.rib, figure, garment)
        color = palette.fabric * 0.9
        batch.add(garment.rib[None], StrandKind.RIB, np.array([RIB_RADIUS]), color, np.ones(1), follows)
    return batch.finish()


class _StrandBatch:
    """Collects polylines of different kinds."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rows: list[tuple] = []
        self._segments: list[tuple] = []
        self._points = 0

    def add(
        self, lines: np.ndarray, kind: StrandKind, radius: np.ndarray, color: np.ndarray, layer: np.ndarray,
        binding: Binding,
    ) -> None:  # fmt: skip
        """Add ``lines`` (n, k, 3) of one kind; radius and layer are per line."""
        n, k = lines.shape[:2]
        if not n:
            return
        spread = {StrandKind.HAIR: 0.22, StrandKind.BROW: 0.2}.get(kind, 0.0)
        shade = np.exp(self._rng.normal(0, spread, (n, 1))) * (1 + 0.2 * spread * self._rng.normal(size=(n, 3)))
        along = np.tile(np.linspace(0, 1, k), n)
        colors = np.repeat(np.clip(color * shade, 0, 1), k, 0)
        self._rows.append((lines.reshape(-1, 3), along, np.repeat(layer, k), colors, binding))
        first = self._points + (np.arange(n)[:, None] * k + np.arange(k - 1)).ravel()
        hairlike = kind in (StrandKind.HAIR, StrandKind.BROW)
        taper = 1 - (0.6 * np.tile((np.arange(k - 1) + 0.5) / (k - 1), n) if hairlike else 0)
        line = np.repeat(np.arange(n), k - 1)
        casts = np.ones(len(first), bool) if kind != StrandKind.HAIR else line % 3 == 0
        self._segments.append((np.stack([first, first + 1], 1), np.repeat(radius, k - 1) * taper, int(kind), casts))
        self._points += n * k

    def finish(self) -> StrandSet:
        """Everything in one set of arrays."""
        points, along, layer, color, _ = (np.concatenate([r[k] for r in self._rows]) for k in (0, 1, 2, 3, 1))
        return StrandSet(
            points=points.astype(np.float32),
            binding=join([r[4] for r in self._rows]),
            segments=np.concatenate([s[0] for s in self._segments]).astype(np.int32),
            kind=np.concatenate([np.full(len(s[0]), s[2]) for s in self._segments]).astype(np.int32),
            radius=np.concatenate([s[1] for s in self._segments]).astype(np.float32),
            along=along.astype(np.float32),
            layer=layer.astype(np.float32),
            color=color.astype(np.float32),
            casts=np.flatnonzero(np.concatenate([s[3] for s in self._segments])),
        )
