"""MediaPipe 0.10.21: detector, face mesh, person matte and shoulders, with the models inside the wheel.

The only module that knows MediaPipe. The package is pinned: 1.x ships no models and sends usage data. Everything
runs on the CPU and is deterministic. Its import takes seconds, so it happens on first use.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.types import RgbImage, SoftMask


class Detection(NamedTuple):
    """One face found by the detector, in image pixels."""

    x: float
    """Centre of the face box."""
    y: float
    size: float
    """Larger side of the face box."""
    score: float


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the native logs of MediaPipe off the user's terminal and its deprecation warnings out of ours."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@cache
def _solutions() -> ModuleType:
    with _quiet():
        import mediapipe as mp

        return mp.solutions


class _Solution:
    """Owns one MediaPipe graph; use as a context manager or let :meth:`close` free it."""

    _graph: Any

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._first = True

    def _process(self, image: RgbImage) -> Any:
        image = np.ascontiguousarray(image)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._first:  # the first call loads the model and logs
                self._first = False
                with _quiet():
                    return self._graph.process(image)
            return self._graph.process(image)

    def close(self) -> None:
        """Free the graph."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FaceDetector(_Solution):
    """Full-range face detector: finds faces down to a few per cent of the image's width."""

    def __init__(self, min_score: float) -> None:
        with _quiet():
            graph = _solutions().face_detection.FaceDetection(model_selection=1, min_detection_confidence=min_score)
        super().__init__(graph)

    def __call__(self, image: RgbImage) -> list[Detection]:
        """Faces of an image, best first. Wide images are also searched in overlapping square tiles."""
        found: list[Detection] = []
        for x, y, side_w, side_h in _tiles(*image.shape[1::-1]):
            result = self._process(image[y : y + side_h, x : x + side_w])
            for detection in result.detections or ():
                box = detection.location_data.relative_bounding_box
                found.append(
                    Detection(
                        x + (box.xmin + box.width / 2) * side_w,
                        y + (box.ymin + box.height / 2) * side_h,
                        max(box.width * side_w, box.height * side_h),
                        float(detection.score[0]),
                    )
                )
        return _suppress(found)


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The whole image, and for wide or tall ones square tiles: the detector squeezes its input to a square."""
    tiles = [(0, 0, width, height)]
    side = min(width, height)
    if max(width, height) > 1.25 * side:
        steps = int(np.ceil((max(width, height) - side) / (0.6 * side))) + 1
        for start in np.linspace(0, max(width, height) - side, steps).round().astype(int):
            tiles.append((int(start), 0, side, side) if width > height else (0, int(start), side, side))
    return tiles


def _suppress(found: list[Detection]) -> list[Detection]:
    """Keep the best of detections that lie on each other."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.score):
        if all(np.hypot(detection.x - k.x, detection.y - k.y) > 0.5 * max(detection.size, k.size) for k in kept):
            kept.append(detection)
    return kept


class FaceMesh(_Solution):
    """478 refined landmarks of the face in a crop."""

    def __init__(self, *, video: bool, min_score: float = 0.3) -> None:
        with _quiet():
            graph = _solutions().face_mesh.FaceMesh(
                static_image_mode=not video, max_num_faces=1, refine_landmarks=True, min_detection_confidence=min_score
            )
        super().__init__(graph)

    def reset(self) -> None:
        """Forget the previous frame (after a cut)."""
        with _quiet():
            self._graph.reset()
            self._first = True

    def __call__(
        self, image: RgbImage, centre: tuple[float, float], side: float, crop: int
    ) -> Float[np.ndarray, "478 3"] | None:
        """Landmarks in image pixels of the face in the square crop around ``centre``, or ``None``.

        Args:
            image: The whole image.
            centre: Centre of the crop, image pixels.
            side: Side of the crop, image pixels; it may reach outside the image.
            crop: Side of the resampled crop that the network's own detector sees.
        """
        scale = crop / side
        # continuous coordinates: crop = (image - centre) * scale + crop / 2; warpAffine has centres at integers
        shift = [crop / 2 - centre[k] * scale + (scale - 1) / 2 for k in (0, 1)]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        result = self._process(
            cv2.warpAffine(image, matrix, (crop, crop), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )
        if not result.multi_face_landmarks:
            return None
        points = np.array([[p.x, p.y, p.z] for p in result.multi_face_landmarks[0].landmark], np.float64) * crop
        points[:, :2] = (points[:, :2] - crop / 2) / scale + np.asarray(centre)
        points[:, 2] /= scale
        return points


class MediaPipeMatte(_Solution):
    """Soft matte of every person in an image (a :class:`~gswap.foundation.protocols.PersonMatte`)."""

    def __init__(self) -> None:
        with _quiet():
            graph = _solutions().selfie_segmentation.SelfieSegmentation(model_selection=0)
        super().__init__(graph)

    def __call__(self, image: RgbImage) -> SoftMask:
        """255 = person. The network works at 256x256: edges are soft and a few pixels uncertain."""
        mask = self._process(image).segmentation_mask
        return (mask * 255).clip(0, 255).round().astype(np.uint8)


class Shoulders(_Solution):
    """Both shoulders of the person around a face."""

    def __init__(self) -> None:
        with _quiet():
            graph = _solutions().pose.Pose(model_complexity=1, static_image_mode=True)
        super().__init__(graph)

    def __call__(self, image: RgbImage, centre: tuple[float, float], face: float) -> Float[np.ndarray, "2 3"]:
        """Right and left shoulder: x, y in image pixels and visibility in [0, 1]; zeros when nobody is found."""
        height, width = image.shape[:2]
        side = 6.0 * face
        x0, x1 = int(max(centre[0] - side / 2, 0)), int(min(centre[0] + side / 2, width))
        y0, y1 = int(max(centre[1] - side * 0.35, 0)), int(min(centre[1] + side * 0.65, height))
        result = self._process(image[y0:y1, x0:x1])
        out = np.zeros((2, 3))
        if result.pose_landmarks:
            for row, index in enumerate((12, 11)):
                point = result.pose_landmarks.landmark[index]
                out[row] = point.x * (x1 - x0) + x0, point.y * (y1 - y0) + y0, point.visibility
        return out
