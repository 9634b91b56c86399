"""Colour, relief and gloss of skin, eyes, teeth and cloth, for arrays of surface points. Colours are linear RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.errors import ConfigError
from gswap.people.person import Label, Material, Person
from gswap.people.surface import Column

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # reported by :func:`kernels` when it is needed
    _native = None

SKIN_WRAP = (0.38, 0.16, 0.10)
"""How far light wraps around skin in red, green and blue: cheap subsurface scattering."""
HEAD_FROM, TORSO_FROM = 0.5, 0.75
"""Skinning weights from which skin belongs to the head, and to the torso; the neck is between."""
INSIDE_MOUTH = (0.16, 0.03, 0.03)
PUPIL = 0.40
"""Radius of the pupil in radii of the iris."""
HAT_RIBS, HAT_PANELS = 64, 6
"""Around the head."""


class Points(NamedTuple):
    """Surface points seen by pixels."""

    rows: Float[np.ndarray, "n c"]
    """Interpolated attributes."""
    normal: Float[np.ndarray, "n 3"]
    position: Float[np.ndarray, "n 3"]
    """Camera frame."""

    def column(self, column: Column) -> np.ndarray:
        """One attribute."""
        return self.rows[:, column]

    @property
    def rest(self) -> Float[np.ndarray, "n 3"]:
        """Rest position: patterns stick to the body."""
        return self.rows[:, :3]


@dataclass
class Surface:
    """What the light needs to know of ``n`` points."""

    albedo: Float[np.ndarray, "n 3"]
    normal: Float[np.ndarray, "n 3"]
    visibility: Float[np.ndarray, "n"]
    specular: Float[np.ndarray, "n"]
    gloss: Float[np.ndarray, "n"]
    wrap: tuple[float, float, float]
    label: Int[np.ndarray, "n"]


def kernels():
    """The native extension.

    Raises:
        ConfigError: it was not built.
    """
    if _native is None:
        raise ConfigError(
            "Rendering people needs gswap's native extension, which is not built.",
            hint="Reinstall gswap with a C++ compiler present.",
        )
    return _native


def noise(points: Float[np.ndarray, "n 3"], frequency: float | tuple[float, float, float], offset: float = 0.0):
    """Smooth noise in [0, 1); ``frequency`` in 1/m, per axis or for all."""
    fx, fy, fz = frequency if isinstance(frequency, tuple) else (frequency,) * 3
    out = np.empty(len(points), np.float32)
    kernels().value_noise(np.ascontiguousarray(points, np.float32), fx, fy, fz, offset, out)
    return out


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` (which may be the smaller one), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[:, None]


def _rgb(values) -> np.ndarray:
    return np.asarray(values, np.float32)


def skin(person: Person, p: Points) -> Surface:
    """Skin with pores, blush, freckles, stubble, lips and the scalp under the hair."""
    look, traits = person.palette, person.traits
    label = np.where(p.column(Column.TORSO_WEIGHT) > TORSO_FROM, Label.TORSO, Label.NECK)
    label = np.where(p.column(Column.HEAD_WEIGHT) > HEAD_FROM, Label.FACE, label).astype(np.uint8)
    lips, scalp_cover, stubble = p.column(Column.LIPS), p.column(Column.SCALP), p.column(Column.STUBBLE)
    blotch, patch = noise(p.rest, 55), noise(p.rest, 170, 9)
    grain, pore = noise(p.rest, 520, 5), noise(p.rest, 1300)
    tone = _mix(_rgb(look.skin)[None], _rgb(look.torso_skin), p.column(Column.TORSO_TONE))
    tone = tone * (1 + (blotch - 0.5) * 0.14 + (patch - 0.5) * 0.10 + (grain - 0.5) * 0.10)[:, None]
    red = 0.25 + 0.75 * p.column(Column.BLUSH) + 0.5 * p.column(Column.EARS) + 0.35 * (blotch - 0.4)
    red = red * (1 - 0.05 * traits.skin_tone)
    albedo = tone * (1 + red[:, None] * _rgb([0.10, -0.24, -0.22]))
    if traits.freckles:
        spots = smoothstep(0.70, 0.80, noise(p.rest, 380, 3)) * traits.freckles
        spots = spots * np.minimum(p.column(Column.BLUSH) * 1.6, 1)
        albedo = albedo * (1 - spots[:, None] * _rgb([0.35, 0.5, 0.6]))
    shade = p.column(Column.LIDS) * 0.20 + p.column(Column.EYE_SHADE) * 0.22
    albedo = albedo * (1 - shade[:, None] * _rgb([0.8, 1.0, 0.95]))
    hair_color = _rgb(look.hair)
    if traits.stubble:
        beard = stubble * traits.stubble * (0.55 + 0.45 * smoothstep(0.35, 0.65, pore))
        albedo = _mix(albedo, 0.55 * hair_color, beard)
    lip_tint = smoothstep(0.25, 0.75, lips) * 0.75
    creases = 0.86 + 0.28 * noise(p.rest, (900.0, 120.0, 200.0))
    albedo = _mix(albedo, _rgb(look.lips) * creases[:, None], lip_tint)
    if traits.hair.style != "bald":
        # The buzz cut is mostly this tint; longer hair only needs it so that no skin shines through.
        depth = 0.85 if traits.hair.style == "buzz" else 1.0
        cover = smoothstep(0.3, 0.7, scalp_cover + (grain - 0.5) * 0.5 + (patch - 0.5) * 0.3)
        albedo = _mix(albedo, 0.35 * hair_color, depth * cover)
        label = np.where((cover > 0.5) & (label == Label.FACE), np.uint8(Label.HAIR), label)
    inside = smoothstep(0.3, 0.5, p.column(Column.MOUTH))
    albedo = _mix(albedo, _rgb(INSIDE_MOUTH), inside)
    relief = 0.20 * (1 - 0.6 * lips)
    bumps = np.stack(
        [
            (pore - 0.5) * 0.6 + noise(p.rest, 700, 4) - 0.5,
            noise(p.rest, 700, 31) - 0.5,
            np.zeros_like(pore),
        ],
        1,
    )
    visible = p.column(Column.OPEN)
    return Surface(
        albedo=albedo,
        normal=p.normal + bumps * relief[:, None],
        visibility=visible * visible * 0.35 + visible * 0.65,
        specular=0.20 + 0.18 * lips - 0.08 * scalp_cover,
        gloss=18 + 30 * lips,
        wrap=SKIN_WRAP,
        label=label,
    )


def eye(person: Person, p: Points, label: np.ndarray, material: Material, centre: np.ndarray) -> Surface:
    """An eyeball: iris, pupil and limbus by the angle from the optical axis; shaded as a true sphere."""
    v = person.figure.vertices[person.figure.anatomy.part == material]
    axis = p.rest - v.mean(0)
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    radius = np.where(axis[:, 2] > 0, 1.0, np.hypot(axis[:, 0], axis[:, 1]))
    angle = np.arctan2(axis[:, 1], axis[:, 0])
    rim = person.iris_radius
    veins = smoothstep(0.45, 0.85, np.abs(axis[:, 0]))[:, None]
    white = (0.74 - 0.05 * noise(p.rest, 900))[:, None] * (1 - veins * _rgb([0.08, 0.27, 0.30]))
    white = white * _rgb([1, 0.95, 0.92])
    fibre = noise(np.stack([np.cos(angle) * 9, np.sin(angle) * 9, radius * 14], 1), 1.0, 5)
    u = radius / rim
    brightness = (0.6 + 0.8 * fibre) * (1 - 0.6 * smoothstep(0.72, 1.0, u)) * (0.8 + 0.5 * (1 - u))
    iris = _rgb(person.palette.iris) * (brightness * smoothstep(PUPIL, PUPIL + 0.1, u))[:, None]
    albedo = _mix(white, iris, smoothstep(1.08, 0.94, u))
    lid_shadow = np.clip(0.75 + 1.5 * axis[:, 1], 0, 1)
    n = len(radius)
    return Surface(
        albedo=albedo,
        normal=p.position - centre,
        visibility=0.26 + 0.60 * lid_shadow,
        specular=np.full(n, 3.4),
        gloss=np.full(n, 600.0),
        wrap=(0.3, 0.3, 0.3),
        label=label,
    )


def tongue(p: Points, label: np.ndarray) -> Surface:
    """The tongue: wet and dim."""
    n = len(p.rows)
    return Surface(
        np.tile(_rgb([0.45, 0.13, 0.13]), (n, 1)), p.normal, np.full(n, 0.40), np.full(n, 0.3), np.full(n, 30.0),
        (0.2, 0.1, 0.1), label,
    )  # fmt: skip


def teeth(p: Points, label: np.ndarray) -> Surface:
    """Teeth with gaps between them, darker towards the sides, in a strip of gum."""
    x, gum = p.rest[:, 0], p.column(Column.EXTRA)
    across = x * 140
    gap = np.abs(across - np.floor(across) - 0.5) * 2
    shade = 0.80 + 0.2 * smoothstep(0, 0.3, 1 - gap)
    albedo = _rgb([0.78, 0.72, 0.60]) * shade[:, None]
    albedo = _mix(albedo, _rgb([0.42, 0.15, 0.14]), smoothstep(0.55, 0.65, gum))
    n = len(x)
    facing = np.where(p.normal[:, 2:] > 0, -p.normal, p.normal)
    return Surface(
        albedo, facing, 0.75 * np.maximum(1 - np.abs(x) * 26, 0.15), np.full(n, 0.35), np.full(n, 50.0),
        (0.2, 0.15, 0.1), label,
    )  # fmt: skip


def cloth(person: Person, p: Points, label: np.ndarray, collar: bool) -> Surface:
    """Woven cloth with a motif, a hem along the neckline and wrinkles."""
    look, traits = person.palette, person.clothed_as
    n = len(p.rows)
    weave = 0.90 + 0.2 * noise(p.rest, 1400)
    if not collar:
        weave = weave * np.where(p.column(Column.EXTRA) < 0.016, 0.88, 1.0)
    share = np.zeros(n, np.float32) if collar else _motif(traits.motif, p.rest, traits.motif_scale)
    albedo = _mix(_rgb(look.fabric)[None], _rgb(look.trim), share) * weave[:, None]
    towards_camera = (p.normal * p.position).sum(1, keepdims=True) < 0
    facing = np.where(towards_camera, p.normal, -p.normal)
    wrinkles = np.stack(
        [
            (noise(p.rest, (22.0, 13.0, 22.0), 3) - 0.5) * 0.8 + (noise(p.rest, (60.0, 30.0, 60.0), 3) - 0.5) * 0.3,
            np.zeros(n, np.float32),
            (noise(p.rest, (22.0, 13.0, 22.0), 8) - 0.5) * 0.55,
        ],
        1,
    )
    return Surface(
        albedo, facing + wrinkles, p.column(Column.OPEN), np.full(n, 0.04), np.full(n, 8.0), (0.1, 0.1, 0.1), label
    )


def hat(person: Person, p: Points, label: np.ndarray) -> Surface:
    """A hat's cloth: knitted in ribs (beanie) or woven in panels with a seam between them (cap)."""
    turns = person.figure.azimuth(p.rest) / 360
    if person.traits.hat == "beanie":
        relief = np.cos(2 * np.pi * HAT_RIBS * turns)
        shade = (0.84 + 0.16 * relief) * (0.92 + 0.16 * noise(p.rest, (500.0, 900.0, 500.0)))
    else:
        panel = np.abs(turns * HAT_PANELS - np.round(turns * HAT_PANELS))
        shade = (0.93 + 0.14 * noise(p.rest, 1500)) * np.where(panel < 0.02, 0.8, 1.0)
    edge = p.column(Column.EXTRA)
    shade = shade * np.where((edge > 0.001) & (edge < 0.004), 0.85, 1.0)
    facing = np.where((p.normal * p.position).sum(1, keepdims=True) < 0, p.normal, -p.normal)
    n = len(p.rows)
    return Surface(
        _rgb(person.palette.hat) * shade[:, None], facing, p.column(Column.OPEN), np.full(n, 0.03), np.full(n, 8.0),
        (0.1, 0.1, 0.1), label,
    )  # fmt: skip


def _motif(motif: str, rest: np.ndarray, scale: float) -> np.ndarray:
    """Share of the trim colour."""
    u = (rest[:, 0] + 0.3 * rest[:, 2]) * scale
    v = -rest[:, 1] * scale
    u, v = u - np.floor(u), v - np.floor(v)
    if motif == "stripes":
        share = v < 0.4
    elif motif == "checks":
        share = 0.5 * (v < 0.3) + 0.5 * (u < 0.3)
    elif motif == "camouflage":
        share = smoothstep(0.55, 0.62, noise(rest, 40))
    elif motif == "dots":
        share = (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.05
    else:
        share = np.zeros(len(rest))
    return np.asarray(share, np.float32)
