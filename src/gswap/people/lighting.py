"""Key light with soft shadows, sky and fill, on surfaces and on strands. Linear RGB, camera frame, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.raster import rasterize
from gswap.people.materials import Surface, kernels, noise
from gswap.people.person import StrandKind, StrandSet
from gswap.people.scene import Scene

SHADOW_REACH = 0.30
"""Half the width of the shadow map around the head, metres."""
STRAND_SHADOW_WIDTH = 2.2
"""Only a third of the hairs cast a shadow; they are drawn this much thicker."""
BIAS = {"skin": 0.005, "cloth": 0.004, "hair": 0.009, "frame": 0.006, "rib": 0.012}
"""Metres behind a caster before its shadow starts."""
_AWAY = 10.0  # metres added to depths, so that they are positive


@dataclass(frozen=True)
class KeyLight:
    """The key light's depth map."""

    axes: Float[np.ndarray, "3 3"]
    """Rows: u, v and depth axis of the light."""
    depth: Float[np.ndarray, "s s"]
    origin: tuple[float, float]
    texels_per_metre: float

    def lit(self, points: Float[np.ndarray, "n 3"], bias: float) -> Float[np.ndarray, "n"]:
        """Share of the light that arrives, in [0, 1]."""
        out = np.empty(len(points), np.float32)
        local = np.ascontiguousarray(points @ self.axes.T, np.float32)
        kernels().shadow_fraction(local, self.depth, *self.origin, self.texels_per_metre, bias, out)
        return out


def cast_shadows(
    scene: Scene, vertices: np.ndarray, faces: np.ndarray, strands: StrandSet, places: np.ndarray, size: int
) -> KeyLight:
    """The light's depth map of a posed person, around where the scene puts the head; ``places`` are strand points."""
    away = np.array(scene.to_light)
    u = np.cross(away, [0, 1.0, 0])
    u /= np.linalg.norm(u)
    axes = np.stack([u, np.cross(away, u), -away])
    centre = axes[:2] @ scene.stand()
    scale = size / (2 * SHADOW_REACH)
    origin = centre - SHADOW_REACH
    local = vertices @ axes.T
    depth = rasterize((local[:, :2] - origin) * scale, local[:, 2] + _AWAY, faces, size, size).depth
    hairs = places @ axes.T
    thick = np.where(strands.kind == StrandKind.HAIR, STRAND_SHADOW_WIDTH, 1.0)
    radius = np.maximum(strands.radius * thick * scale, 0.6)
    draw_strands(
        (hairs[:, :2] - origin) * scale, hairs[:, 2] + _AWAY, strands.segments[strands.casts],
        radius[strands.casts], depth,
    )  # fmt: skip
    return KeyLight(axes, depth - np.float32(_AWAY), (float(origin[0]), float(origin[1])), scale)


def draw_strands(
    points: Float[np.ndarray, "m 2"],
    depths: Float[np.ndarray, "m"],
    segments: Int[np.ndarray, "s 2"],
    radius: Float[np.ndarray, "s"],
    depth: Float[np.ndarray, "h w"],
) -> tuple[Int[np.ndarray, "h w"], Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Rasterise strands (pixels, metres) in front of ``depth``, which is updated.

    Returns:
        Images of the segment (-1 = none), the signed position across the strand in [-1, 1] and along it in [0, 1].
    """
    shape = depth.shape
    segment, across = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    along = np.zeros(shape, np.float32)
    kernels().rasterize_strands(
        np.ascontiguousarray(points, np.float32), np.ascontiguousarray(depths, np.float32),
        np.ascontiguousarray(segments, np.int32), np.ascontiguousarray(radius, np.float32),
        segment, across, along, depth,
    )  # fmt: skip
    return segment, across, along


def light_surface(scene: Scene, surface: Surface, position: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Colour of surface points."""
    n = len(position)
    table = np.empty((n, 6), np.float32)
    table[:, 0], table[:, 1], table[:, 2] = surface.visibility, surface.specular, surface.gloss
    table[:, 3:] = surface.wrap
    light = np.array([scene.to_light, scene.key, scene.ambient, scene.fill], np.float32)
    out = np.empty((n, 3), np.float32)

    def flat(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a, np.float32)

    kernels().light_surface(flat(position), flat(surface.normal), flat(surface.albedo), table, flat(lit), light, out)
    return out


def light_hair(
    scene: Scene, strands: StrandSet, places: np.ndarray, key: KeyLight, shine: float, segments: np.ndarray
) -> np.ndarray:
    """Kajiya and Kay's model with two shifted highlights, at both ends of some ``segments``: (s, 2, 3)."""
    ends = strands.segments[segments]
    step = np.repeat(places[ends[:, 1]] - places[ends[:, 0]], 2, 0)
    point = ends.ravel()
    brow = np.repeat(strands.kind[segments] == StrandKind.BROW, 2)
    tangent = step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-12)
    places, color = places[point], strands.color[point]
    view = -places / np.linalg.norm(places, axis=1, keepdims=True)
    along_light, along_view = tangent @ np.array(scene.to_light), (tangent * view).sum(1)
    across_light = np.sqrt(np.clip(1 - along_light**2, 0, None))
    across_view = np.sqrt(np.clip(1 - along_view**2, 0, None))
    lit = key.lit(places, BIAS["hair"])
    jitter = (noise(strands.points[point], 260.0) - 0.5) * 0.25
    mirror = np.clip(across_light * across_view - along_light * along_view, 0, None)
    sharp = np.clip(mirror - 0.3 * jitter, 0, None) ** 70 * 0.20
    broad = np.clip(mirror + 0.02 + 0.3 * jitter, 0, None) ** 16 * 0.35
    depth = (0.30 + 0.70 * strands.layer[point]) * (0.45 + 0.55 * np.minimum(strands.along[point] * 2.2, 1))
    depth = np.where(brow, 0.9, depth)
    shine_of = np.where(brow, 0.1, shine)
    key_rgb = np.array(scene.key)
    body = color * (
        key_rgb * (0.55 * across_light * lit)[:, None] + 0.75 * np.array(scene.ambient) + 0.25 * np.array(scene.fill)
    )
    gloss = broad[:, None] * color * 2.2 + sharp[:, None] * (0.35 + color)
    lit_color = depth[:, None] * (body + gloss * key_rgb * (lit * shine_of)[:, None])
    return lit_color.reshape(-1, 2, 3).astype(np.float32)


def light_tubes(
    scene: Scene, kind: np.ndarray, color: np.ndarray, across: np.ndarray, along: np.ndarray, lit: np.ndarray
) -> np.ndarray:
    """Spectacle frames (glossy) and knitted ribs, from the position across the tube in [-1, 1]."""
    to_light = np.array(scene.to_light)
    depth = np.sqrt(np.clip(1 - across**2, 0, None))
    glint = np.clip(1 - 2.2 * np.abs(across - 0.3), 0, None) ** 3 * 0.3 * lit
    frame = color * (0.25 + 0.5 * np.clip(depth * -to_light[2], 0, None) * lit)[:, None] + glint[:, None]
    knit = (0.55 + 0.45 * depth) * (0.9 + 0.1 * np.sin(along * 900))
    towards = max(-0.6 * to_light[2] - 0.5 * to_light[1] + 0.2, 0.0)
    rib = color * knit[:, None] * (np.array(scene.key) * (towards * lit)[:, None] + 0.8 * np.array(scene.ambient))
    return np.where((kind == StrandKind.FRAME)[:, None], frame, rib)
