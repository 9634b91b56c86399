"""A plain garment over whatever the people in the photos wear, so that the generator learns no clothes (Sec. III-B).

The paper takes the clothes off with a generator. This program puts one garment on everybody instead: whatever of the
person is neither head nor neck becomes flat grey first, and only then does Stable Diffusion paint folds into it. So
nothing of the photo below the neck is left, and a painting that fails is grey cloth. What comes out in the colour of
the person's own skin is thrown away. Both prompts are fixed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from gswap.foundation.imaging import fill_polygon
from gswap.foundation.landmarks import OVAL
from gswap.foundation.store import PngStore, read_json, write_json
from gswap.foundation.types import Progress, RgbImage, no_progress
from gswap.swap.diffusion.config import SampleConfig, SourcesConfig
from gswap.swap.diffusion.models import Generator
from gswap.swap.diffusion.sample import SEED_STRIDE, Wish, denoise, put_back
from gswap.swap.framing import INSIDE
from gswap.swap.sources import GREY, SourcePicture

PROMPT = "studio portrait of a person in a plain grey crew-neck t-shirt, opaque cotton, soft light"
AGAINST = (
    "nudity, bare skin, bare shoulders, bare chest, cleavage, underwear, transparent cloth, logo, pattern, jewellery"
)
"""What guidance leads away from."""
ROOM = 1.2
"""The painted square, in sides of the square that is learnt: versions of a photo are shifted and scaled."""
EDGE = 25
"""Mask level from which a pixel belongs to the person: soft edges of clothes are clothes."""
FEATHER = 2.0
"""The painting fades into the flat grey along its border, pixels of the model's picture."""
ATTEMPTS = 3
MOST_SKIN = 0.1
"""Share of the garment that may be nearer to the person's skin than to grey."""
PAINTED, PLAIN, NONE = "painted", "plain grey", "none to see"
_VERDICTS = "garments.json"


def clothes_area(source: SourcePicture) -> Bool[np.ndarray, "h w"]:
    """Whatever of the person is neither head nor neck: clothes, arms, hands. Soft edges of hair are none of it."""
    return (cv2.subtract(source.person, source.head) > EDGE) & (source.head <= INSIDE)


def dress(
    generator: Generator, source: SourcePicture, cfg: SourcesConfig, side: int, seed: int
) -> tuple[RgbImage, str]:
    """One photo in the plain garment.

    Args:
        generator: Stable Diffusion, without ControlNet.
        source: The photo.
        cfg: How it is painted.
        side: Side of the model's picture, pixels.
        seed: Of the noise.

    Returns:
        The photo, unchanged to the bit outside :func:`clothes_area`; and what became of the garment: ``PAINTED``,
        ``PLAIN`` (no attempt looked like cloth) or ``NONE`` (the photo shows no clothes).
    """
    area = clothes_area(source)
    if not area.any():
        return source.rgb, NONE
    plain = np.where(area[..., None], np.uint8(GREY), source.rgb)
    framing = dataclasses.replace(source.framing, side=ROOM * source.framing.side)
    hole = framing.cut(area.astype(np.uint8) * 255, side) > INSIDE
    skin = _skin(source)
    scene = framing.cut(plain, side)
    for attempt in range(ATTEMPTS if hole.any() else 0):
        picture = _paint(generator, scene, hole, cfg, seed + attempt * SEED_STRIDE)
        if _share_of_skin(picture, hole, skin) <= MOST_SKIN:
            return put_back(plain, picture, framing, area, FEATHER * framing.side / side), PAINTED
    return plain, PLAIN


@torch.no_grad()
def _paint(
    generator: Generator, scene: RgbImage, hole: Bool[np.ndarray, "s s"], cfg: SourcesConfig, seed: int
) -> RgbImage:
    wish = Wish(generator.words(PROMPT), generator.words(AGAINST))
    sampling = SampleConfig(steps=cfg.steps, guidance=cfg.guidance, start="reenact", strength=cfg.strength)
    known = generator.encode(generator.to_tensor([scene]) * 2 - 1)
    return generator.pictures(denoise(generator, known, hole[None], wish, sampling, seed))[0]


def _skin(source: SourcePicture) -> Float[np.ndarray, "2"]:
    """Chroma of the face: a and b of Lab."""
    face = fill_polygon(source.landmarks[list(OVAL)], *source.head.shape) > 0.5
    shown = face & (source.head > INSIDE)
    return np.median(_chroma(source.rgb)[shown if shown.any() else source.head > INSIDE], axis=0)


def _share_of_skin(rgb: RgbImage, area: Bool[np.ndarray, "h w"], skin: Float[np.ndarray, "2"]) -> float:
    """Share of an area whose chroma is nearer to the skin's than to grey."""
    chroma = _chroma(rgb)[area]
    return float((np.linalg.norm(chroma - skin, axis=1) < np.linalg.norm(chroma, axis=1)).mean())


def _chroma(rgb: RgbImage) -> Float[np.ndarray, "h w 2"]:
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab)[..., 1:]


def dress_photos(
    load: Callable[[], Generator],
    sources: Sequence[SourcePicture],
    cfg: SourcesConfig,
    *,
    side: int,
    seed: int,
    folder: Path,
    progress: Progress = no_progress,
) -> list[SourcePicture]:
    """All photos in the plain garment; what is stored of an earlier run is used.

    Args:
        load: Loads Stable Diffusion; asked only when something is left to paint.
        sources: The photos.
        cfg: How.
        side: Side of the model's picture, pixels.
        seed: Of the noise.
        folder: Where the dressed photos are kept.
        progress: Told after every photo.
    """
    store, generator = PngStore(folder, len(sources)), None
    verdicts = [] if not (folder / _VERDICTS).exists() else read_json(folder / _VERDICTS)
    for i, source in enumerate(sources):
        if i >= len(verdicts):
            generator = generator or load()
            rgb, verdict = dress(generator, source, cfg, side, seed)
            store.write(i, rgb)
            verdicts.append(verdict)
            write_json(folder / _VERDICTS, verdicts)
        progress(i + 1, len(sources), "plain garments")
    return [dataclasses.replace(source, rgb=store[i]) for i, source in enumerate(sources)]


def verdicts(folder: Path) -> list[str]:
    """What became of every photo's garment; empty where none was asked for."""
    path = folder / _VERDICTS
    return list(read_json(path)) if path.exists() else []
