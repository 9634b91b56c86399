"""Where a synthetic person is filmed: camera, light, and a background that is the true clean plate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import UsageError
from gswap.foundation.types import Camera
from gswap.people.seeds import stream

Backdrop = Literal["studio", "bokeh", "room"]
HEAD_HEIGHT = 0.234
"""Chin to crown of an average head, metres."""
WALLS = ((198, 198, 196), (126, 136, 150), (160, 138, 118), (84, 94, 108), (164, 174, 160))
"""Base colours of the backgrounds, sRGB."""
GAMMA = 2.2


@dataclass(frozen=True)
class Scene:
    """Camera, light and background. Independent of the image size; colours are linear RGB."""

    seed: int
    backdrop: Backdrop
    wall: tuple[float, float, float]
    """Base colour of the background, sRGB in [0, 255]."""
    focal: float
    """Focal length in image heights."""
    head_fraction: float
    """Height of the head in image heights."""
    head_level: float
    """Where the head's centre is, in image heights from the top."""
    to_light: tuple[float, float, float]
    """Unit vector towards the key light, camera axes."""
    key: tuple[float, float, float]
    ambient: tuple[float, float, float]
    fill: tuple[float, float, float]
    exposure: float = 0.95
    noise: float = 1.2
    """Standard deviation of the sensor noise, sRGB levels."""

    @property
    def distance(self) -> float:
        """From the camera to the head, metres."""
        return self.focal * HEAD_HEIGHT / self.head_fraction

    def camera(self, width: int, height: int) -> Camera:
        """The camera of an image of this size; the principal point is at its centre."""
        return Camera(self.focal * height, width / 2, height / 2, width, height)

    def stand(self) -> Float[np.ndarray, 3]:
        """Camera-frame point at which the person's head is placed, metres."""
        return np.array([0.0, (self.head_level - 0.5) / self.focal * self.distance, self.distance])


def make_scene(seed: int, backdrop: Backdrop | None = None, head_fraction: float = 0.44, **overrides: Any) -> Scene:
    """Random scene; ``overrides`` are fields of :class:`Scene`.

    Raises:
        UsageError: the backdrop does not exist.
    """
    if backdrop is not None and backdrop not in get_args(Backdrop):
        raise UsageError(f"backdrop must be one of {get_args(Backdrop)}, not {backdrop!r}.")
    wall = np.array(WALLS[stream(seed, "wall").integers(len(WALLS))], float)
    rng = stream(seed, "light")
    side, up = np.radians(rng.uniform(20, 55) * rng.choice([-1, 1])), np.radians(rng.uniform(25, 48))
    to_light = (np.sin(side) * np.cos(up), -np.sin(up), -np.cos(side) * np.cos(up))
    warm = rng.uniform(-0.06, 0.10)
    key = np.array([1 + warm, 1.0, 1 - warm]) * rng.uniform(0.85, 1.05)
    ambient = np.array([0.98, 1.0, 1.04]) * rng.uniform(0.34, 0.46) * (0.6 + 0.4 * wall / wall.mean())
    scene = Scene(
        seed=seed,
        backdrop=backdrop or get_args(Backdrop)[stream(seed, "backdrop").integers(3)],
        wall=_triple(wall),
        focal=float(stream(seed, "focal").uniform(1.9, 2.6)),
        head_fraction=head_fraction,
        head_level=0.45,
        to_light=_triple(to_light),
        key=_triple(key),
        ambient=_triple(ambient),
        fill=_triple([rng.uniform(0.12, 0.25)] * 3),
    )
    return replace(scene, **overrides)  # type: ignore[arg-type]


def _triple(values: object) -> tuple[float, float, float]:
    r, g, b = np.asarray(values, float)
    return float(r), float(g), float(b)


@lru_cache(maxsize=8)
def clean_plate(scene: Scene, width: int, height: int) -> Float[np.ndarray, "h w 3"]:
    """The empty scene in linear RGB, read-only."""
    rng = stream(scene.seed, "background")
    wall = np.array(scene.wall, np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    glow = np.hypot(x - width / height * rng.uniform(0.3, 0.7), y - 0.35)[..., None]
    image = wall * (1.12 - 0.42 * glow)
    if scene.backdrop == "bokeh":
        image = _bokeh(image, wall, rng)
    elif scene.backdrop == "room":
        image = _room(image, wall, rng)
    plate = (np.clip(image, 0, 255) / 255).astype(np.float32) ** GAMMA
    plate.setflags(write=False)
    return plate


def _bokeh(image: np.ndarray, wall: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out-of-focus lights: discs with a bright rim, larger and fainter ones behind."""
    height, width = image.shape[:2]
    unit = height / 512
    out = cv2.GaussianBlur(image * 0.75, (0, 0), 20 * unit)
    for radius in np.sort(rng.uniform(10, 52, 30))[::-1] * unit:
        color = np.clip(wall * rng.uniform(0.8, 1.5) + rng.normal(0, 26, 3), 20, 255)
        centre = (float(rng.uniform(0, width)), float(rng.uniform(0, 0.8 * height)))
        disc = np.zeros((height, width), np.float32)
        fixed = (round(centre[0] * 16), round(centre[1] * 16))
        cv2.circle(disc, fixed, round(radius * 16), (0.75,), -1, cv2.LINE_AA, 4)
        cv2.circle(disc, fixed, round(radius * 16), (1.0,), max(round(1.6 * unit), 1), cv2.LINE_AA, 4)
        weight = cv2.GaussianBlur(disc, (0, 0), 1.8 * unit)[..., None] * rng.uniform(0.25, 0.6)
        out = out * (1 - weight) + color.astype(np.float32) * weight
    return cv2.GaussianBlur(out, (0, 0), 1.2 * unit)


def _room(image: np.ndarray, wall: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A room out of focus: a window, a shelf of books, a picture."""
    height, width = image.shape[:2]

    def box(x0: float, y0: float, x1: float, y1: float, color: np.ndarray) -> None:
        top_left, bottom_right = (round(x0 * height), round(y0 * height)), (round(x1 * height), round(y1 * height))
        cv2.rectangle(image, top_left, bottom_right, np.clip(color, 5, 252).tolist(), -1)

    image = np.ascontiguousarray(image, np.float32)
    aspect = width / height
    flip = bool(rng.random() < 0.5)
    x = rng.uniform(0.02, 0.08)
    box(x, 0.06, x + 0.3, 0.62, 0.5 * wall + 40)
    for i in range(2):
        for j in range(2):
            pane = np.array([226, 236, 246]) - 14 * j - rng.uniform(0, 10)
            box(x + 0.02 + 0.14 * i, 0.08 + 0.27 * j, x + 0.14 + 0.14 * i, 0.33 + 0.27 * j, pane)
    left = aspect - rng.uniform(0.26, 0.36)
    box(left, 0.1, aspect, 0.86, 0.42 * wall)
    for shelf in range(3):
        top, base, at = 0.13 + 0.24 * shelf, 0.33 + 0.24 * shelf, left + 0.015
        box(left + 0.01, top - 0.01, aspect, base, 0.3 * wall)
        while at < aspect - 0.02:
            thick, tall = rng.uniform(0.018, 0.045), rng.uniform(0.11, 0.18)
            box(at, base - tall, at + thick, base, 0.55 * wall + rng.normal(0, 17, 3) + 14)
            at += thick + (0.03 if rng.random() < 0.15 else 0.002)
    if flip:
        image = np.ascontiguousarray(image[:, ::-1])
    return cv2.GaussianBlur(image, (0, 0), 8 * height / 512)
