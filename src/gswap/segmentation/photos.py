"""The source photos' heads: masks, closed-form mattes, and colours without the photo's background in them.

Closed-form matting (Levin et al., TPAMI 2008) and multi-level foreground estimation (Germer et al., ICPR 2020) from
PyMatting. What is certain comes from the masks; only a band along the outline is left to the matting: wide where there
is hair, narrow along jaw, ears and collar, where a wide band would let clothes and background in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float

from gswap.foundation.errors import InputError
from gswap.foundation.protocols import BodyModel, HeadParser
from gswap.foundation.types import BodyTrack, Camera, FaceTrack, Masks, PhotoSet, RgbImage, SoftMask
from gswap.segmentation.adapters.parsing import with_parsed_head
from gswap.segmentation.config import SegmentationConfig
from gswap.segmentation.hole import within
from gswap.segmentation.layout import Crop, Sample, face_axes, face_crop, face_unit
from gswap.segmentation.masks import HeadSegmenter
from gswap.segmentation.prior import ramp

_HAIR_BAND = (0.035, 0.085)
"""Face units inside and outside the mask's outline that the matting decides where there is hair."""
_SKIN_BAND = (0.012, 0.016)
"""The same along jaw, ears, neck and collar."""
_HAIR_STARTS = (0.42, 0.56)
"""Heights over the chin, in face units, between which the narrow band turns into the wide one: above the ear lobes."""
_SURE, _EXCLUDED = 0.5, 0.5
_CERTAIN = 0.04
"""Alpha this near to 0 or 1 is rounded."""
_REFINE_RADIUS, _REFINE_EPSILON = 3, 4.0**2
"""Guided filter that carries a matte made on a reduced photo to the full one: radius in reduced pixels, variance."""


@dataclass(frozen=True)
class Matte:
    """One photo's head without its background."""

    alpha: SoftMask
    foreground: RgbImage


def prepare_photos(
    images: Sequence[RgbImage],
    faces: FaceTrack,
    body: BodyTrack,
    model: BodyModel,
    person_mattes: Sequence[SoftMask],
    cfg: SegmentationConfig | None = None,
    *,
    parse: HeadParser | None = None,
) -> PhotoSet:
    """Masks and mattes of the source photos.

    Args:
        images: The photos, each in its own size.
        faces: Their landmarks, in pixels of each photo.
        body: The body fitted to them, one image each.
        model: The body's model.
        person_mattes: Perception's matte of every photo.
        cfg: Options.
        parse: Finds head and neck instead of our own masks.

    Raises:
        InputError: A photo shows no face.
    """
    cfg = cfg or SegmentationConfig()
    samples = photo_samples(images, faces, body, model, person_mattes)
    together = HeadSegmenter.prepare(samples, model, cfg.masks, color_rounds=0)
    # Every photo has its own light and background, so each learns its own colours; hair length is the person's.
    options = replace(cfg.masks, long_hair=together.long_hair)
    masks = [HeadSegmenter.prepare([sample], model, options).segment(sample) for sample in samples]
    if parse is not None:
        masks = [with_parsed_head(m, parse(s.rgb, s.landmarks)) for m, s in zip(masks, samples, strict=True)]
    mattes = [
        matte_head(sample, mask, together.long_hair, cfg.photos.max_side)
        for sample, mask in zip(samples, masks, strict=True)
    ]
    return PhotoSet(
        rgb=tuple(sample.rgb for sample in samples),
        head=tuple(np.minimum(mask.head.astype(np.int16) + mask.neck, 255).astype(np.uint8) for mask in masks),
        person=tuple(mask.person for mask in masks),
        alpha=tuple(matte.alpha for matte in mattes),
        foreground=tuple(matte.foreground for matte in mattes),
        long_hair=together.long_hair,
    )


def photo_samples(
    images: Sequence[RgbImage],
    faces: FaceTrack,
    body: BodyTrack,
    model: BodyModel,
    person_mattes: Sequence[SoftMask],
) -> list[Sample]:
    """The photos with everything that segmentation wants to know about them.

    Raises:
        InputError: A photo shows no face.
    """
    rest = model.rest(body.shape)
    samples = []
    for t, (image, matte) in enumerate(zip(images, person_mattes, strict=True)):
        if not (faces.valid[t] and body.valid[t]):
            raise InputError(f"Expected a face in every photo, found none in photo {t + 1}.", hint="Leave it out.")
        height, width = image.shape[:2]
        camera = Camera(float(body.focal[t]), width / 2, height / 2, width, height)
        samples.append(Sample(image, faces.landmarks[t], matte, model.pose(body, rest, t), camera))
    return samples


def trimap(sample: Sample, masks: Masks, long_hair: bool) -> Float[np.ndarray, "h w"]:
    """1 where head or neck is certain, 0 where it is excluded, 0.5 in the band between."""
    unit = face_unit(sample.landmarks)
    height, side = face_axes(sample.landmarks, masks.head.shape)
    kept = masks.head.astype(np.int16) + masks.neck > 255 * _SURE
    clothes = (masks.person.astype(np.int16) - masks.head - masks.neck) > 255 * _EXCLUDED
    hairy = ramp(height, *_HAIR_STARTS)
    if long_hair:
        hairy = np.maximum(hairy, ramp(np.abs(side), 0.4, 0.55))
    inner = _SKIN_BAND[0] + hairy * (_HAIR_BAND[0] - _SKIN_BAND[0])
    outer = _SKIN_BAND[1] + hairy * (_HAIR_BAND[1] - _SKIN_BAND[1])
    if not kept.any() or kept.all():
        return kept.astype(np.float32)
    depth = cv2.distanceTransform(kept.astype(np.uint8), cv2.DIST_L2, 5) / unit
    distance = cv2.distanceTransform((~kept).astype(np.uint8), cv2.DIST_L2, 5) / unit
    out = np.full(kept.shape, 0.5, np.float32)
    out[depth > inner] = 1
    out[distance > outer] = 0
    out[clothes & ~within(kept, _SKIN_BAND[1] * unit)] = 0
    return out


def matte_head(sample: Sample, masks: Masks, long_hair: bool, max_side: int) -> Matte:
    """Alpha and foreground colours of head and neck in one photo.

    Nothing is opaque beyond :func:`~gswap.segmentation.layout.face_crop`.

    Args:
        sample: The photo.
        masks: Its masks.
        long_hair: Long hair has a wide band beside the neck as well.
        max_side: The equations are solved on a crop of at most this many pixels.
    """
    from pymatting import estimate_alpha_cf, estimate_foreground_ml

    known = trimap(sample, masks, long_hair)
    alpha, colour = np.zeros(known.shape, np.float32), sample.rgb.copy()
    crop = _crop_around(known > 0, sample, max_side)
    if crop is None:
        return Matte(np.zeros(known.shape, np.uint8), colour)
    bands = cv2.resize(known[crop.box], crop.size, interpolation=cv2.INTER_NEAREST).astype(np.float64)
    if not (bands == 1).any() or not (bands == 0).any():
        alpha[crop.box] = known[crop.box]
        return Matte(np.round(alpha * 255).astype(np.uint8), colour)
    small = crop.take(sample.rgb).astype(np.float64) / 255
    solved = np.clip(estimate_alpha_cf(small, bands), 0, 1)
    solved = np.clip((solved - _CERTAIN) / (1 - 2 * _CERTAIN), 0, 1)
    clean = np.clip(np.asarray(estimate_foreground_ml(small, solved)) * 255, 0, 255).astype(np.float32)
    part = sample.rgb[crop.box]
    full = crop.give_back(solved.astype(np.float32))
    if crop.scale < 1:
        radius = max(round(_REFINE_RADIUS / crop.scale), 1)
        full = np.clip(cv2.ximgproc.guidedFilter(np.ascontiguousarray(part), full, radius, _REFINE_EPSILON), 0, 1)
    alpha[crop.box] = np.where(known[crop.box] == 0.5, full, known[crop.box])
    opaque = alpha[crop.box][..., None]
    mixed = part * ramp(opaque, 0.9, 1.0) + crop.give_back(clean) * (1 - ramp(opaque, 0.9, 1.0))
    colour[crop.box] = np.round(mixed).clip(0, 255).astype(np.uint8)
    return Matte(np.round(alpha * 255).astype(np.uint8), colour)


def _crop_around(region: Bool[np.ndarray, "h w"], sample: Sample, max_side: int) -> Crop | None:
    """The smallest rectangle with a region (and what surrounds it), at the size to solve for.

    ``None`` where the face's crop shows nothing of the region.
    """
    whole = face_crop(sample.landmarks, sample.rgb.shape, max_side)
    if not region[whole.box].any():
        return None
    rows = np.flatnonzero(region.any(1))
    columns = np.flatnonzero(region.any(0))
    margin = round(0.12 * face_unit(sample.landmarks))
    y0, y1 = max(int(rows[0]) - margin, whole.y), min(int(rows[-1]) + margin + 1, whole.y + whole.height)
    x0, x1 = max(int(columns[0]) - margin, whole.x), min(int(columns[-1]) + margin + 1, whole.x + whole.width)
    scale = min(max_side / max(x1 - x0, y1 - y0), 1.0)
    return Crop(x0, y0, x1 - x0, y1 - y0, (max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)))
