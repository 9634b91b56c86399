"""The source photos made ready: cut to the head, at the target's scale, equal in colour, with soft picture edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gswap.foundation.imaging import disc, fill_polygon, largest_component
from gswap.foundation.landmarks import LIPS_INNER, LIPS_OUTER, face_height, face_width
from gswap.foundation.types import Camera, PhotoSet
from gswap.swap.config import FallConfig
from gswap.swap.embedded.lift import Lifted
from gswap.swap.embedded.regions import LOG_FLOOR, Points2, hair_likeness, luminance, mean_log, skin_mask

HEAD_BOX = (1.4, 1.3, 1.5)
"""Kept around the face mesh: sideways in face widths; up and down in face heights."""
EDGE_FADE = 8.0
"""Pixels over which the head fades out at a photo's edge."""
SOLID, SOFT_REACH = 100, 13
"""Matte level that joins pieces together, and diameter in pixels of its soft surroundings."""
GREYISH = 0.05
"""Saturation limit below which a picture is taken for grey."""
HAIR_EDGE_FADE = 0.08
"""Share of the photo's height over which long hair fades out at its bottom edge."""


@dataclass(frozen=True)
class Cut:
    """A photo's lower border cuts its long hair."""

    over_clothes: bool
    """There the hair lies on the clothes; otherwise the photo ends above them."""


@dataclass(frozen=True)
class Fall:
    """How long hair goes on below the border that cuts it: by guess. The photo's own pictures are that much longer."""

    border: float
    """Row at which the photo itself ends."""
    over_clothes: bool
    """The hair lies on the target's clothes; otherwise it goes behind them."""
    back: UInt8[np.ndarray, "h w 3"]
    """Hair behind the neck, as large as the photo with its continuation."""
    back_alpha: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class ReadyPhoto:
    """One photo's head at about the target's scale."""

    foreground: UInt8[np.ndarray, "h w 3"]
    """Colours without background."""
    alpha: UInt8[np.ndarray, "h w"]
    points: Points2
    camera: Camera
    face_width: float
    cut: Cut | None = None
    fall: Fall | None = None
    """Where it is cut, once it goes on (:func:`~gswap.swap.embedded.continued.continued`)."""


def ready_photos(photos: PhotoSet, people: Lifted, width: float, cfg: FallConfig) -> list[ReadyPhoto]:
    """Cut every photo to the head, with faces at most ``width`` pixels wide.

    Args:
        photos: The photos with mattes.
        people: Their lifted landmarks.
        width: Wanted face width, pixels; smaller faces are left as they are.
        cfg: When a photo's lower border cuts its hair.
    """
    return [_ready(photos, people, i, width, cfg) for i in range(len(photos.rgb))]


def _ready(photos: PhotoSet, people: Lifted, i: int, width: float, cfg: FallConfig) -> ReadyPhoto:
    points = people.image[i]
    foreground, alpha = photos.foreground[i], photos.alpha[i].astype(np.float32)
    h, w = alpha.shape
    alpha *= _one_piece(alpha)
    fw, fh = float(face_width(points)), float(face_height(points))
    x = np.arange(w, dtype=np.float32)
    y = np.arange(h, dtype=np.float32)
    alpha *= np.clip(np.minimum(x, w - 1 - x) / EDGE_FADE, 0, 1)[None]
    side, up, _ = HEAD_BOX
    left, top = points[:468].min(0) - np.array([side * fw, up * fh])
    right, low = float(points[:468, 0].max()) + side * fw, lowest_row(points)
    x0, y0 = max(int(left), 0), max(int(top), 0)
    x1, y1 = min(int(np.ceil(right)), w), min(int(np.ceil(low)), h)
    scale = min(1.0, width / fw)
    size = max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)
    sx, sy = size[0] / (x1 - x0), size[1] / (y1 - y0)
    box = np.s_[y0:y1, x0:x1]
    own, marks = _resize(foreground[box], size), (points - [x0, y0]) * [sx, sy]
    cut = None
    if photos.long_hair and y1 == h:
        torso = cv2.subtract(photos.person[i], photos.head[i])[h - 1, x0:x1] >= SOLID
        person = photos.person[i][h - 1, x0:x1] >= SOLID
        clothes = np.count_nonzero(torso) >= cfg.clothes * max(np.count_nonzero(person), 1)
        if hair_is_cut(own, _resize(np.round(alpha).astype(np.uint8)[box], size), marks, cfg):
            cut = Cut(clothes)
    if cut is None:
        bottom = HAIR_EDGE_FADE * h if photos.long_hair else EDGE_FADE + 2
        alpha *= np.clip((h - 1 - y) / bottom, 0, 1)[:, None]
    camera = people.cameras[i]
    focal = camera.focal * (sx + sy) / 2  # both scales differ by less than a pixel over the image
    return ReadyPhoto(
        own,
        _resize(np.round(alpha).astype(np.uint8)[box], size),
        marks,
        Camera(focal, (camera.cx - x0) * sx, (camera.cy - y0) * sy, *size),
        fw * scale,
        cut,
    )


def lowest_row(points: Points2) -> float:
    """How far down a photo is looked at, pixels: hair that ends lower is not cut by its border."""
    return float(points[:468, 1].max()) + HEAD_BOX[2] * float(face_height(points))


def hair_is_cut(
    foreground: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"], points: Points2, cfg: FallConfig
) -> bool:
    """Whether there is hair in the last rows of a picture.

    Args:
        foreground: Its colours.
        alpha: Matte of head or person.
        points: Landmarks.
        cfg: How much of it counts.
    """
    fw = float(face_width(points))
    rows = max(round(cfg.last * fw), 1)
    hair = hair_likeness(foreground, alpha, points)[-rows:] * (alpha[-rows:] >= SOLID)
    return bool(np.count_nonzero(hair.mean(0) > 0.5) >= cfg.widest * fw)


def _one_piece(alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """1 around the matte's largest piece: scraps of background are not head."""
    piece = largest_component(alpha > SOLID).astype(np.uint8)
    return cv2.dilate(piece, disc(SOFT_REACH)).astype(np.float32)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if size == (image.shape[1], image.shape[0]):
        return np.ascontiguousarray(image)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def equalise(photos: list[ReadyPhoto], reference: int) -> list[ReadyPhoto]:
    """Give every photo the mean log skin colour of the reference photo."""
    logs = np.stack([mean_log(p.foreground, skin_mask(p.points, *p.alpha.shape)) for p in photos])
    gains = np.exp(logs[reference] - logs)
    return [
        p if i == reference else replace(p, foreground=apply_gain(p.foreground, gains[i])) for i, p in enumerate(photos)
    ]


def apply_gain(image: UInt8[np.ndarray, "h w 3"], gain: Float[np.ndarray, "3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Multiply the channels of an 8-bit image (rounded, clipped)."""
    levels = np.arange(256)[:, None] * np.asarray(gain)[None]
    table = np.clip(np.round(levels), 0, 255).astype(np.uint8).reshape(256, 1, 3)
    return cv2.LUT(image, table)


def teeth_share(image: UInt8[np.ndarray, "h w 3"], points: Points2) -> float:
    """Share of a mouth's interior that is teeth: brighter than the lips, less saturated than lips and skin around.

    Both are lit as the teeth are, so that the measure depends neither on exposure nor on the colour of the skin.
    """
    box_points = points[list(LIPS_OUTER)]
    x0, y0 = np.maximum(np.floor(box_points.min(0)).astype(int) - 2, 0)
    x1, y1 = np.ceil(box_points.max(0)).astype(int) + 2
    patch = image[y0:y1, x0:x1].astype(np.float32)
    if min(patch.shape[:2]) < 3:
        return 0.0
    h, w = patch.shape[:2]
    outer = fill_polygon(box_points - [x0, y0], h, w) > 0.9
    inner = fill_polygon(points[list(LIPS_INNER)] - [x0, y0], h, w)
    lips, interior = outer & (inner < 0.1), inner > 0.9
    if interior.sum() < 4 or lips.sum() < 4:
        return 0.0
    light = luminance(patch)
    high, low = patch.max(-1), patch.min(-1)
    saturation = (high - low) / (high + LOG_FLOOR)
    around = ~outer & (inner < 0.1)
    limit = 0.8 * min(float(np.median(saturation[part])) for part in (lips, around) if part.any())
    lip_light = float(np.median(light[lips]))
    if limit < GREYISH:  # no colours to tell teeth by
        teeth = light > 1.5 * lip_light
    else:
        teeth = (light > 1.1 * lip_light) & (saturation < limit)
    return float(teeth[interior].mean())
