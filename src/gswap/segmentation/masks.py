"""Head, neck and person masks without downloaded weights, steady over a clip.

Labels (head, neck, clothes, outside) are decided on a crop with a face of fixed size: a prior from the posed body, the
clip's colour models, the person matte and the previous frame's masks are multiplied, and a few mean-field rounds with
an edge-preserving global smoother (fast global smoother, Min et al., TIP 2014) let neighbours of similar colour agree.
A guided filter (He et al., TPAMI 2013) then finds the soft edge at full resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from gswap.foundation.errors import InputError
from gswap.foundation.imaging import blur, disc
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP, RIGID
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import Masks, RgbImage, SoftMask
from gswap.segmentation import prior as priors
from gswap.segmentation.colors import BACKGROUND, CLOTHES, HAIR, SKIN, ColorCounts, lab_bins
from gswap.segmentation.config import MaskConfig
from gswap.segmentation.hole import surroundings
from gswap.segmentation.layout import Crop, Layout, Sample, face_parts, lay_out, yaw_degrees

Labels = Float[np.ndarray, "4 h w"]
"""Probabilities of head, neck, clothes, outside on a crop; sum to 1."""

LEARNING_PIXELS = 80
"""Face height, in pixels, at which colours are learnt: fewer pixels have the same colours."""
FRONTAL_YAW = 15.0
"""Degrees within which the space beside the jaw tells long hair from short."""
_BESIDE_JAW_HEIGHT, _BESIDE_JAW_SIDE = (0.08, 0.35), (0.42, 0.62)
"""Face units: where hair below the ears shows beside a frontal face."""
_BESIDE_EYES_HEIGHT, _BESIDE_EYES_SIDE = (0.4, 0.75), (0.48, 0.66)
"""Above it: hair that a hat has given another colour than what is on top of the head begins here, a hood does not."""
_LONG_FRACTION = 0.35
"""Hair is long when it covers more than this part of that space on one side."""
_NOT_SKIN = 30.0
"""8-bit Lab distance from the face's usual colour from which a colour is not its skin's, ears in the shade included."""

_COLOR_WEIGHT = 0.8
"""Neighbouring pixels are not independent: their colours count a little less than their likelihoods say."""
_NECK_SKIN = 0.97
"""Share of the neck that is skin; the rest is hair in front of it."""
_MATTE_WEIGHT = 1.5
_MATTE_CLIP = 0.02
_MEMORY_FLOOR = 0.15
"""A label that the previous frame excluded keeps this weight."""
_AGREEMENT_FLOOR = 0.02
_SMOOTHER_LAMBDA, _SMOOTHER_SIGMA, _SMOOTHER_PASSES = 40.0, 9.0, 1
"""The fast global smoother: reach, the difference of 8-bit colours that counts as an edge, and how often it goes over
rows and columns: every round goes again."""
_EDGE_EPSILON = 6.0**2
"""The guided filter's variance of 8-bit colours below which a region counts as flat."""
_HALF_SIZE_RADIUS = 4
"""Radius in pixels from which the guided filter may work at half size."""
_TAIL_LIKELIHOOD = 3.0
"""How much more probable a tail's colours are as hair than as anything else."""
_TAIL_MATTE = 60
"""Person matte (of 255) from which a pixel may be part of a tail: mattes of networks are unsure of thin things."""
_TAIL_ROOT = 3
"""Pixels of hair beside the jaw, at least, that a tail hangs on."""
_TAIL_EDGE = 0.8
"""Gaussian edge of a tail in pixels of the crop."""
_EDGE_MARGIN = 0.06
"""Soft values this near to 0 or 1 are rounded: the guided filter leaks a little."""
_EDGE_LEVELS = np.clip((np.arange(256) - 255 * _EDGE_MARGIN) / (1 - 2 * _EDGE_MARGIN), 0, 255).round().astype(np.uint8)
"""What that makes of every 8-bit value."""
_SOFTEN_TRACE = 5
"""Where a mask is below this (of 255), and far from where it is not, its soft edge rounds to 0."""


@dataclass(frozen=True)
class Previous:
    """The masks of the preceding frame of the same shot, as they were stored, and its landmarks in its work image."""

    masks: Masks
    landmarks: Float[np.ndarray, "478 3"]


@dataclass(frozen=True)
class HeadSegmenter:
    """Segments the frames of one clip (or one photo). Made by :meth:`prepare`; deterministic and without state."""

    model: BodyModel
    colors: Float[np.ndarray, "bins 4"]
    """Colour densities of hair, skin, clothes and background (:meth:`ColorCounts.densities`)."""
    long_hair: bool
    cfg: MaskConfig

    @classmethod
    def prepare(
        cls, samples: Sequence[Sample], model: BodyModel, cfg: MaskConfig | None = None, *, color_rounds: int = 2
    ) -> HeadSegmenter:
        """Learn the clip's colours and decide whether its hair is long.

        Args:
            samples: About a dozen frames spread over the clip, all with a face.
            model: The body of the samples' meshes.
            cfg: Options.
            color_rounds: How often the colours are learnt again from the masks that they gave.

        Raises:
            InputError: There is no sample.
        """
        cfg = cfg or MaskConfig()
        if not samples:
            raise InputError("Expected frames with a face to learn the colours of head and background, found none.")
        parts = face_parts(model)
        layouts = [lay_out(sample, model, parts, min(cfg.face_pixels, LEARNING_PIXELS)) for sample in samples]
        long_hair = cfg.long_hair
        if long_hair is None:
            long_hair = has_long_hair(samples, layouts, _seed_counts(samples, layouts, False).densities())
        seeds = _seed_counts(samples, layouts, long_hair)
        segmenter = cls(model, seeds.densities(), long_hair, cfg)
        for _ in range(color_rounds):
            learnt = ColorCounts(seeds.counts.copy())
            for sample, layout in zip(samples, layouts, strict=True):
                labels = segmenter._labels(sample, layout, segmenter._materials(sample, layout), None)
                labels[priors.CLOTHES] *= priors.hairless(layout, long_hair)
                _count_labels(learnt, sample, layout, labels)
            segmenter = replace(segmenter, colors=learnt.densities())
        return segmenter

    def segment(self, sample: Sample, previous: Previous | None = None) -> Masks:
        """Masks of one frame.

        Args:
            sample: The frame.
            previous: The frame before it, ``None`` at the start of a shot.
        """
        layout = lay_out(sample, self.model, self._parts, self.cfg.face_pixels)
        materials = self._materials(sample, layout)
        labels = self._labels(sample, layout, materials, previous)
        if not self.long_hair:
            self._add_tail(labels, sample, layout, materials)
        labels[priors.HEAD] *= _attached(labels, layout)
        return self._edges(sample, layout, labels)

    @cached_property
    def _parts(self) -> Int[np.ndarray, " f"]:
        return face_parts(self.model)

    def _materials(self, sample: Sample, layout: Layout) -> Sequence[Float[np.ndarray, "h w"]]:
        """Density of the crop's colours as hair, skin, clothes and background."""
        return cv2.split(self.colors.take(lab_bins(layout.crop.take(sample.rgb)), 0))

    def _labels(
        self,
        sample: Sample,
        layout: Layout,
        materials: Sequence[Float[np.ndarray, "h w"]],
        previous: Previous | None,
    ) -> Labels:
        """Probabilities of head, neck, clothes, outside on the crop."""
        crop = layout.crop
        rgb = crop.take(sample.rgb)
        hair, skin, clothes, background = materials
        matte = np.clip(crop.take(sample.person).astype(np.float32) / 255, _MATTE_CLIP, 1 - _MATTE_CLIP)
        likelihood = np.empty((priors.LABELS, *matte.shape), np.float32)
        likelihood[priors.HEAD] = hair + priors.skin_share(layout) * (skin - hair)
        likelihood[priors.NECK] = _NECK_SKIN * skin + (1 - _NECK_SKIN) * hair
        likelihood[priors.CLOTHES] = clothes
        likelihood[priors.OUTSIDE] = background
        energy = np.log(priors.label_prior(layout, self.long_hair) + 1e-4) + _COLOR_WEIGHT * np.log(likelihood)
        energy[: priors.OUTSIDE] += _MATTE_WEIGHT * np.log(matte)
        energy[priors.OUTSIDE] += _MATTE_WEIGHT * np.log(1 - matte)
        if previous is not None and self.cfg.temporal > 0:
            memory = _remember(previous, sample, crop)
            energy += self.cfg.temporal * np.log(_MEMORY_FLOOR + (1 - _MEMORY_FLOOR) * memory)
        return _agree(energy, rgb, self.cfg)

    @staticmethod
    def _add_tail(
        labels: Labels, sample: Sample, layout: Layout, materials: Sequence[Float[np.ndarray, "h w"]]
    ) -> None:
        """Give the head what falls below the jaw from its hair: a tail, strands that came loose; changes ``labels``."""
        hair, skin, clothes, background = materials
        likely = hair > _TAIL_LIKELIHOOD * np.maximum(np.maximum(clothes, background), skin)
        falling = likely & priors.below_hair(layout) & (layout.crop.take(sample.person) > _TAIL_MATTE)
        falling &= labels[priors.NECK] < 0.5  # in the shade of the chin skin may be as dark as hair
        root = likely & priors.nape(layout) & (labels[priors.HEAD] > 0.5)
        _, pieces = cv2.connectedComponents((falling | root).view(np.uint8))
        rooted = np.bincount(pieces[root], minlength=int(pieces.max()) + 1) >= _TAIL_ROOT
        rooted[0] = False
        share = blur((rooted[pieces] & falling).astype(np.float32), _TAIL_EDGE)
        labels[priors.HEAD] += share * labels[priors.CLOTHES]
        labels[priors.CLOTHES] *= 1 - share

    def _edges(self, sample: Sample, layout: Layout, labels: Labels) -> Masks:
        """Soft masks of the whole work image."""
        crop = layout.crop
        radius = max(round(self.cfg.edge * layout.unit / crop.scale), 2)
        head, neck, person = (
            _soften(sample.rgb, _place(plane, crop, rest), radius)
            for plane, rest in (
                (labels[priors.HEAD], np.zeros_like(sample.person)),
                (labels[priors.NECK], np.zeros_like(sample.person)),
                (1 - labels[priors.OUTSIDE], sample.person.copy()),
            )
        )
        neck = cv2.min(neck, cv2.bitwise_not(head))
        return Masks(head, neck, cv2.max(person, cv2.add(head, neck)))


def has_long_hair(
    samples: Sequence[Sample],
    layouts: Sequence[Layout],
    colors: Float[np.ndarray, "bins 4"],
) -> bool:
    """Whether hair falls below the ears, from the frames that look at the camera (or the most frontal one).

    It has the colour of what is on top of the head, or, under a hat, another than the face's.
    """
    yaws = np.array([abs(yaw_degrees(sample.landmarks)) for sample in samples])
    frontal = np.flatnonzero(yaws <= max(FRONTAL_YAW, float(yaws.min()) + 1e-9))
    fractions = [
        max(
            _beside(_hair_like(samples[k], layouts[k], colors), layouts[k]),
            _beside(_hanging(samples[k], layouts[k]), layouts[k]),
        )
        for k in frontal
    ]
    return bool(np.median(fractions) > _LONG_FRACTION)


def _beside(hair: Bool[np.ndarray, "h w"], layout: Layout) -> float:
    """How much of the space beside the jaw is hair; the fuller side."""
    zone = _zone(layout, _BESIDE_JAW_HEIGHT, _BESIDE_JAW_SIDE)
    halves = [zone & (layout.side > 0), zone & (layout.side < 0)]
    return max(float(hair[half].mean()) if half.any() else 0.0 for half in halves)


def _zone(layout: Layout, heights: tuple[float, float], sides: tuple[float, float]) -> Bool[np.ndarray, "h w"]:
    side = np.abs(layout.side)
    return (layout.height > heights[0]) & (layout.height < heights[1]) & (side > sides[0]) & (side < sides[1])


def _hair_like(sample: Sample, layout: Layout, colors: Float[np.ndarray, "bins 4"]) -> Bool[np.ndarray, "h w"]:
    """Pixels of the person that have the colour of what is on top of the head."""
    density = colors[lab_bins(layout.crop.take(sample.rgb))]
    person = layout.crop.take(sample.person) > 127
    return person & (density[..., HAIR] > 0.5 * np.maximum(density[..., CLOTHES], density[..., SKIN]))


def _hanging(sample: Sample, layout: Layout) -> Bool[np.ndarray, "h w"]:
    """Pixels of the person beside the face that do not look like its skin, if they begin beside the eyes.

    A face that is turned away has the back of the head there: nothing.
    """
    lab = cv2.cvtColor(layout.crop.take(sample.rgb), cv2.COLOR_RGB2LAB).astype(np.float32)
    bare = priors.skin_seeds(layout, layout.crop.points(sample.landmarks)) > 0
    out = np.zeros(bare.shape, bool)
    if abs(yaw_degrees(sample.landmarks)) > FRONTAL_YAW or not bare.any():
        return out
    person = layout.crop.take(sample.person) > 127
    other = person & (np.linalg.norm(lab - np.median(lab[bare], axis=0), axis=-1) > _NOT_SKIN)
    for half in (layout.side > 0, layout.side < 0):
        above = half & _zone(layout, _BESIDE_EYES_HEIGHT, _BESIDE_EYES_SIDE)
        if above.any() and other[above].mean() > _LONG_FRACTION:
            out |= other & half
    return out & (np.abs(layout.side) > _BESIDE_JAW_SIDE[0])


def _seed_counts(samples: Sequence[Sample], layouts: Sequence[Layout], long_hair: bool) -> ColorCounts:
    """Colours of the pixels that are certain from their place alone."""
    counts = ColorCounts()
    for sample, layout in zip(samples, layouts, strict=True):
        _count_seeds(counts, sample, layout, long_hair)
    return counts


def _count_seeds(counts: ColorCounts, sample: Sample, layout: Layout, long_hair: bool) -> None:
    """Add the pixels that are certain from their place alone."""
    bins = lab_bins(layout.crop.take(sample.rgb))
    person = layout.crop.take(sample.person).astype(np.float32) / 255
    counts.add(SKIN, bins, priors.skin_seeds(layout, layout.crop.points(sample.landmarks)))
    counts.add(HAIR, bins, priors.hair_seeds(layout, person))
    if long_hair:  # a hat hides its colour on top of the head
        zone = _zone(layout, _BESIDE_JAW_HEIGHT, _BESIDE_JAW_SIDE) & _hanging(sample, layout)
        counts.add(HAIR, bins, zone.astype(np.float32))
    counts.add(CLOTHES, bins, priors.clothes_seeds(layout, person, long_hair))
    counts.add(BACKGROUND, bins, priors.background_seeds(layout, person))


def _count_labels(counts: ColorCounts, sample: Sample, layout: Layout, labels: Labels) -> None:
    """Add the pixels that an earlier round is sure of, where seeds cannot reach: collars, hair beside the face."""
    bins = lab_bins(layout.crop.take(sample.rgb))
    sure = (labels > 0.9).astype(np.float32)
    hair = sure[priors.HEAD] * (layout.face < 0.05) * (priors.skin_share(layout) < 0.1)
    counts.add(HAIR, bins, hair, 0.7)
    counts.add(CLOTHES, bins, sure[priors.CLOTHES], 0.7)
    counts.add(SKIN, bins, sure[priors.NECK], 0.3)
    counts.add(BACKGROUND, bins, sure[priors.OUTSIDE], 0.7)


def _agree(energy: Labels, rgb: RgbImage, cfg: MaskConfig) -> Labels:
    """Mean-field rounds: every pixel multiplies its own belief by that of its neighbours of similar colour."""
    guide = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    smoother = cv2.ximgproc.createFastGlobalSmootherFilter(
        guide, _SMOOTHER_LAMBDA, _SMOOTHER_SIGMA, num_iter=_SMOOTHER_PASSES
    )

    def around(belief: Labels) -> Labels:
        out = np.empty_like(belief)
        for plane, smooth in zip(belief[:-1], out[:-1], strict=True):
            smooth[:] = smoother.filter(plane)
        out[-1] = 1 - out[:-1].sum(0)  # the smoother keeps sums
        return np.maximum(out, 0, out=out)

    alone = _normalized(np.exp(energy - energy.max(0)))
    belief = alone
    for _ in range(cfg.rounds):
        belief = _normalized(alone * (around(belief) + _AGREEMENT_FLOOR) ** cfg.smoothness)
    return (around(belief) + belief) / 2


def _normalized(weight: Labels) -> Labels:
    weight /= weight.sum(0)
    return weight


def _soften(guide: RgbImage, mask: SoftMask, radius: int) -> SoftMask:
    """Guided filter where the mask is; at half size where its radius allows it (He and Sun, arXiv 1505.00996)."""
    out = np.zeros_like(mask)
    shown = mask >= _SOFTEN_TRACE
    if shown.any():
        box = surroundings(shown, 2 * radius)
        scale = 0.5 if radius >= _HALF_SIZE_RADIUS else 1.0
        image, part = np.ascontiguousarray(guide[box]), np.ascontiguousarray(mask[box])
        out[box] = cv2.ximgproc.guidedFilter(image, part, radius, _EDGE_EPSILON, scale=scale)
    return cv2.LUT(out, _EDGE_LEVELS)


def _remember(previous: Previous, sample: Sample, crop: Crop) -> Labels:
    """The previous frame's labels, moved as the head moved, on this frame's crop."""
    stable = [*RIGID, CHIN, FOREHEAD_TOP]
    before = previous.landmarks[stable, :2].astype(np.float32)
    now = crop.points(sample.landmarks)[stable].astype(np.float32)
    motion, _ = cv2.estimateAffinePartial2D(before, now, method=cv2.LMEDS)
    if motion is None:
        s = crop.scale
        motion = np.array([[s, 0, -crop.x * s], [0, s, -crop.y * s]])
    # Continuous coordinates -> OpenCV's pixel indices (centres at integers).
    motion[:, 2] += motion[:, :2] @ (0.5, 0.5) - 0.5
    stack = cv2.merge([previous.masks.head, previous.masks.neck, previous.masks.person])
    moved = cv2.warpAffine(stack, motion, crop.size, borderMode=cv2.BORDER_REPLICATE)
    head, neck, person = (plane.astype(np.float32) / 255 for plane in cv2.split(moved))
    return np.stack([head, neck, np.clip(person - head - neck, 0, 1), 1 - person])


def _attached(labels: Labels, layout: Layout) -> Float[np.ndarray, "h w"]:
    """1 on the piece of the head that holds the face and around it, 0 on islands."""
    solid = ((labels[priors.HEAD] > 0.5) | (layout.face > 0.5)).astype(np.uint8)
    _, pieces = cv2.connectedComponents(solid)
    votes = np.bincount(pieces[layout.face > 0.5], minlength=1)
    if not votes.any():
        return np.ones(solid.shape, np.float32)
    main = (pieces == int(votes.argmax())).astype(np.float32)
    return cv2.dilate(main, disc(0.06 * layout.unit))


def _place(label: Float[np.ndarray, "h w"], crop: Crop, into: SoftMask) -> SoftMask:
    into[crop.box] = crop.give_back(cv2.convertScaleAbs(label, alpha=255))  # rounds and saturates
    return into
