"""Photos without colour: black and white, sepia. They are recognised and coloured, by guess where nothing is known.

A photo keeps its own lightness. Its skin takes the chroma of the target's skin, which is right for the scene's light,
moved along the line from light to dark skin by how much darker or lighter than the target's it is; both are held
against the whites of the eyes first, so that a dim photo is not taken for dark skin. Lips, eyes, teeth and hair differ
from the skin as lips, eyes, teeth and hair do. Where another photo of the person is in colour, its skin is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur, fill_polygon
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, LIPS_OUTER
from gswap.swap.embedded.photos import ReadyPhoto
from gswap.swap.embedded.regions import LOG_FLOOR, Points2, log_luminance, luminance, skin_mask
from gswap.swap.embedded.relight import Complexion, common_complexion, measure_complexion

LEVELS = 24
"""Steps of lightness by which the colours of a photo are looked at."""
ONE_HUE = 1.0
"""Mean distance in Lab from the usual colour of the same lightness below which a photo has no colours of its own."""
SOLID = 200
"""Matte level of what surely is head."""
PIGMENT = np.array([0.15, -0.07, -0.21])
"""How the log chroma of skin (R, G, B) changes per unit of log darkening, from light to dark skin; luma stays."""
LARGEST_PIGMENT = 1.2
"""Largest such darkening or lightening against the target."""
HAIR, EYE, TOOTH = 0.75, 0.25, 0.3
"""Chroma of hair, eyeballs and teeth as a share of the skin's, both about the light's."""
LIKE_SKIN = (0.25, 0.6)
"""Log lightness away from the face's up to which the rest counts as skin (ears, neck), and from which as hair."""
GLOSS = (0.25, 0.9)
"""Log lightness above the skin's between which highlights take the light's colour."""


def is_colourless(image: UInt8[np.ndarray, "h w 3"], where: Bool[np.ndarray, "h w"]) -> bool:
    """Whether the colours of a region are a function of their lightness: grey, or one tint like sepia.

    Skin, lips, hair and eyes of one lightness differ in hue in every photo in colour, whatever the skin.
    """
    if not where.any():
        return False
    lab = cv2.cvtColor(image[where][None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    level = np.clip(lab[:, 0] * (LEVELS / 100), 0, LEVELS - 1).astype(int)
    away = []
    for k in np.unique(level):
        chroma = lab[level == k, 1:]
        away.append(np.linalg.norm(chroma - np.median(chroma, axis=0), axis=1))
    return float(np.concatenate(away).mean()) < ONE_HUE


def coloured(photos: Sequence[ReadyPhoto], target: Complexion) -> tuple[list[ReadyPhoto], int, bool]:
    """Colour the photos that have no colour.

    Args:
        photos: The photos, not yet equal in colour.
        target: The target's complexion.

    Returns:
        The photos; how many of them were coloured; whether the colour is a guess (no photo of the person has any).
    """
    grey = [is_colourless(p.foreground, p.alpha > SOLID) for p in photos]
    if not any(grey):
        return list(photos), 0, False
    own = [measure_complexion(p.foreground, p.points) for p, plain in zip(photos, grey, strict=True) if not plain]
    known = common_complexion(own) if own else None
    out = [
        _colour(p, target if known is None else known, known is None) if plain else p
        for p, plain in zip(photos, grey, strict=True)
    ]
    return out, sum(grey), known is None


def chroma(log_colour: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Log colour without its lightness: all zero for grey."""
    return log_colour - log_luminance(log_colour)


def skin_chroma(skin: float, white: float | None, known: Complexion) -> Float[np.ndarray, "3"]:
    """Log chroma of skin that is known by its lightness alone.

    Args:
        skin: Its mean log luminance.
        white: Of the whites of its eyes, ``None`` where they are not seen.
        known: Skin in colour, in the light that is wanted.
    """
    tint = chroma(known.skin)
    if white is None or known.eye_white is None or np.allclose(tint, 0, atol=0.01):
        return tint
    lighter = (skin - white) - (log_luminance(known.skin) - known.eye_white)
    return tint - PIGMENT * float(np.clip(lighter, -LARGEST_PIGMENT, LARGEST_PIGMENT))


def _colour(photo: ReadyPhoto, known: Complexion, guess: bool) -> ReadyPhoto:
    light = luminance(photo.foreground.astype(np.float32))
    logs = np.log(light + LOG_FLOOR)
    points = photo.points
    look = measure_complexion(np.repeat(light[..., None], 3, -1).astype(np.uint8), points)
    skin = float(look.skin.mean())
    tint = skin_chroma(skin, look.eye_white, known) if guess else chroma(known.skin)
    lamp = np.zeros(3) if known.white is None else chroma(known.white)
    lips = chroma(known.lips) - chroma(known.skin)
    share, red = _shares(points, logs, skin, photo.face_width)
    share *= 1 - 0.5 * _ramp(logs - skin, GLOSS)
    log_chroma = lamp + share[..., None] * (tint - lamp) + red[..., None] * lips
    colour = (light + LOG_FLOOR)[..., None] * np.exp(log_chroma)
    colour *= ((light + LOG_FLOOR) / luminance(colour.astype(np.float32)))[..., None]
    return replace(photo, foreground=np.clip(np.round(colour - LOG_FLOOR), 0, 255).astype(np.uint8))


def _shares(
    points: Points2, logs: Float[np.ndarray, "h w"], skin: float, face_width: float
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Share of the skin's chroma of every pixel, and of the lips' additional one."""
    h, w = logs.shape
    soft = 0.012 * face_width
    face = blur(skin_mask(points, h, w).astype(np.float32), soft)
    other = HAIR + (1 - HAIR) * (1 - _ramp(np.abs(blur(logs, soft) - skin), LIKE_SKIN))
    share = face + (1 - face) * other
    mouth, inside = (blur(fill_polygon(points[list(ring)], h, w), soft / 2) for ring in (LIPS_OUTER, LIPS_INNER))
    lips = np.clip(mouth - inside, 0, 1)
    share += lips * (1 - share)
    tooth = inside * _ramp(logs - skin, (-0.5, 0.0))
    share += tooth * (TOOTH - share)
    for contour, iris in ((EYE_RIGHT, IRIS_RIGHT), (EYE_LEFT, IRIS_LEFT)):
        opening = blur(fill_polygon(points[list(contour)], h, w), soft / 3)
        ball = opening * (1 - 0.5 * blur(fill_polygon(points[list(iris[1:])], h, w), soft / 3))
        share += ball * (EYE - share)
    return share.astype(np.float32), (lips + inside * (1 - tooth)).clip(0, 1).astype(np.float32)


def _ramp(x: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """0 below the first edge, 1 above the second, linear between."""
    return np.clip((x - edges[0]) / (edges[1] - edges[0]), 0, 1)
