"""Head, neck and person masks of a tracked clip, frame by frame: the step, the overlay and the benchmark share this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from gswap.foundation.protocols import BodyModel, PersonMatte, RestBody
from gswap.foundation.types import BodyTrack, FaceTrack, Masks, RgbImage, Window
from gswap.segmentation.config import SegmentationConfig
from gswap.segmentation.layout import Sample
from gswap.segmentation.masks import HeadSegmenter, Previous
from gswap.segmentation.person import person_around
from gswap.segmentation.window import choose_window

COLOR_SAMPLES = 12
"""Frames from which the clip's colours are learnt."""
WorkImages = Callable[[int], RgbImage]
"""Work image of a frame."""
StoredMasks = Callable[[int], Masks]
"""Masks of an earlier frame, as they were stored."""


@dataclass(frozen=True)
class Subject:
    """One person of a clip with their window. Made by :func:`subject_of`."""

    faces: FaceTrack
    body: BodyTrack
    model: BodyModel
    rest: RestBody
    window: Window
    cfg: SegmentationConfig

    def landmarks(self, t: int) -> np.ndarray:
        """Landmarks of frame ``t`` in its work image."""
        return self.window.to_work(t, self.faces.landmarks[t])

    def usable(self, t: int) -> bool:
        """Whether the person is there."""
        return bool(self.faces.valid[t] and self.body.valid[t])

    def usable_frames(self) -> list[int]:
        """All frames with the person."""
        return [t for t in range(len(self.faces)) if self.usable(t)]

    def sample(self, t: int, rgb: RgbImage, matte: PersonMatte) -> Sample:
        """What is known of frame ``t``."""
        camera = self.window.camera(t, float(self.body.focal[t]), *self.faces.size)
        landmarks = self.landmarks(t)
        person = person_around(rgb, landmarks, matte)
        return Sample(rgb, landmarks, person, self.model.pose(self.body, self.rest, t), camera)

    def color_frames(self) -> list[int]:
        """The frames that :meth:`segmenter` looks at."""
        usable = self.usable_frames()
        spread = np.linspace(0, len(usable) - 1, min(COLOR_SAMPLES, len(usable))).round()
        return list(dict.fromkeys(usable[int(i)] for i in spread))

    def segmenter(self, work_image: WorkImages, matte: PersonMatte) -> HeadSegmenter:
        """Colours and hair length, learnt from a few frames."""
        samples = [self.sample(t, work_image(t), matte) for t in self.color_frames()]
        return HeadSegmenter.prepare(samples, self.model, self.cfg.masks)

    def mask(self, t: int, segmenter: HeadSegmenter, sample: Sample, stored: StoredMasks) -> Masks:
        """Masks of frame ``t``; ``stored`` is asked for those of the frame before, unless that is another shot's."""
        previous = None
        starts = {shot.start for shot in self.faces.shots}
        if t > 0 and t not in starts and self.usable(t - 1):
            previous = Previous(stored(t - 1), self.landmarks(t - 1))
        return segmenter.segment(sample, previous)


def subject_of(faces: FaceTrack, body: BodyTrack, model: BodyModel, cfg: SegmentationConfig) -> Subject:
    """A tracked person, ready to be segmented."""
    window = choose_window(faces, body, faces.size, cfg.window)
    return Subject(faces, body, model, model.rest(body.shape), window, cfg)


def cut(image: np.ndarray, window: Window, t: int) -> np.ndarray:
    """The work image of a full frame (or of a full-size mask)."""
    x, y = int(window.x[t]), int(window.y[t])
    part = image[y : y + window.height, x : x + window.width]
    if window.scale == 1.0:
        return np.ascontiguousarray(part)
    return cv2.resize(part, window.size, interpolation=cv2.INTER_AREA)
