"""Source photos: the face of each, its identity and whether it is fit for use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import head_angles, lid_opening, mouth_gap
from gswap.foundation.protocols import Embedder
from gswap.foundation.types import FaceTrack, Progress, RgbImage, no_progress
from gswap.perception.adapters.mediapipe import Detection, FaceDetector, FaceMesh, Shoulders
from gswap.perception.config import PerceptionConfig
from gswap.perception.identity import embed as dlib_embed
from gswap.perception.identity import identity_table
from gswap.perception.quality import sharpness

RIVAL = 0.6
"""A second face of at least this share of the largest one's size makes a photo ambiguous."""
STRANGER = 0.62
"""Identity distance to the other photos beyond which a photo shows somebody else."""


def perceive_photos(
    images: Sequence[RgbImage],
    names: Sequence[str],
    cfg: PerceptionConfig,
    *,
    progress: Progress = no_progress,
    embed: Embedder = dlib_embed,
) -> FaceTrack:
    """Find the person in every photo.

    Args:
        images: Photos of one person, any sizes.
        names: What to call each photo in an error.
        cfg: Thresholds.
        progress: Told after every photo.
        embed: Says whose face it is.

    Raises:
        InputError: A photo shows no face, two people, somebody else, a blurred face, or one turned too far.
    """
    count = len(images)
    landmarks = np.full((count, 478, 3), np.nan)
    shoulders = np.zeros((count, 2, 3))
    identities: dict[int, np.ndarray] = {}
    focus = np.zeros(count)
    confidence = np.zeros(count)
    with FaceDetector(cfg.min_detection) as detect, FaceMesh(video=False) as mesh, Shoulders() as find_shoulders:
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            face = _the_face(detect(image), name, cfg)
            points = mesh(image, (face.x, face.y), face.size * cfg.crop_margin, cfg.crop)
            if points is None:
                raise InputError(
                    "Expected a clear face, but its features (eyes, nose, mouth) were not found.",
                    hint="Use a photo in which the face is seen from the front or side, in focus.",
                    path=name,
                )
            landmarks[i] = points
            confidence[i] = face.score
            shoulders[i] = find_shoulders(image, (face.x, face.y), face.size)
            focus[i] = sharpness(image, points)
            identities[i] = embed(image, points)
            _refuse_unfit(points, focus[i], name, cfg)
            progress(i + 1, count, "photos")
    embedding = identity_table(identities, count)
    _refuse_strangers(embedding, names)
    sizes = tuple((image.shape[1], image.shape[0]) for image in images)
    return FaceTrack(
        landmarks=landmarks.astype(np.float32),
        valid=np.ones(count, bool),
        confidence=confidence.astype(np.float32),
        bridged=np.zeros(count, bool),
        duplicate=np.zeros(count, bool),
        shoulders=shoulders.astype(np.float32),
        embedding=embedding,
        sharpness=focus.astype(np.float32),
        size=sizes[0],
        sizes=sizes,
    )


def _the_face(found: list[Detection], name: str, cfg: PerceptionConfig) -> Detection:
    found = sorted((d for d in found if d.size >= cfg.min_face), key=lambda d: -d.size)
    if not found:
        raise InputError(
            "Expected one face in the photo, found none.",
            hint="Use a photo in which the person's face is clearly visible, or leave this one out.",
            path=name,
        )
    if len(found) > 1 and found[1].size > RIVAL * found[0].size:
        raise InputError(
            f"Expected one face in the photo, found {len(found)}.",
            hint="Crop the photo to the one person, or leave it out.",
            path=name,
        )
    return found[0]


def _refuse_unfit(points: np.ndarray, focus: float, name: str, cfg: PerceptionConfig) -> None:
    if focus < cfg.min_sharpness:
        raise InputError(
            f"Expected a sharp photo, but the face is blurred (focus {focus:.1f}, at least "
            f"{cfg.min_sharpness:.1f} is needed).",
            hint="Use a sharper photo, or leave this one out.",
            path=name,
        )
    yaw = abs(float(head_angles(points)[0]))
    if yaw > cfg.max_photo_yaw:
        raise InputError(
            f"Expected a face turned by at most {cfg.max_photo_yaw:.0f} degrees, found {yaw:.0f}.",
            hint="Use a photo in which both eyes are visible, or leave this one out.",
            path=name,
        )


def _refuse_strangers(embedding: np.ndarray, names: Sequence[str]) -> None:
    if len(names) < 3:
        if len(names) == 2:
            distance = float(np.linalg.norm(embedding[0] - embedding[1]))
            if distance > STRANGER:
                raise InputError(
                    f"Expected photos of one person, but {names[0]} and {names[1]} look like two people "
                    f"(identity distance {distance:.2f}).",
                    hint="Use photos of the same person.",
                )
        return
    distances = np.linalg.norm(embedding[:, None] - embedding[None], axis=-1)
    for i, name in enumerate(names):
        distance = float(np.median(np.delete(distances[i], i)))
        if distance > STRANGER:
            raise InputError(
                f"Expected photos of one person, but this one looks like somebody else "
                f"(identity distance {distance:.2f} to the others).",
                hint="Leave this photo out.",
                path=name,
            )


def pick_photos(images: Sequence[RgbImage], cfg: PerceptionConfig, *, count: int = 12) -> list[int]:
    """Choose photos from a video's frames: sharp, and as different in pose and mouth as possible.

    Args:
        images: Candidate frames of one person.
        cfg: Thresholds.
        count: How many to choose at most.

    Returns:
        Indices into ``images``, in order of time.

    Raises:
        InputError: No candidate shows a usable face.
    """
    features, focus, indices = [], [], []
    with FaceDetector(cfg.min_detection) as detect, FaceMesh(video=False) as mesh:
        for i, image in enumerate(images):
            found = [d for d in detect(image) if d.size >= cfg.min_face]
            if not found:
                continue
            face = max(found, key=lambda d: d.size)
            points = mesh(image, (face.x, face.y), face.size * cfg.crop_margin, cfg.crop)
            if points is None:
                continue
            yaw, pitch, _ = head_angles(points)
            if abs(yaw) > cfg.max_photo_yaw or sharpness(image, points) < cfg.min_sharpness:
                continue
            lids = (lid_opening(points, "right") + lid_opening(points, "left")) / 2
            features.append([yaw / 15, pitch / 15, mouth_gap(points) / 0.1, lids / 0.15])
            focus.append(sharpness(image, points))
            indices.append(i)
    if not indices:
        raise InputError(
            "Expected a video that shows the person's face, found no usable frame.",
            hint="Give photos, or a video in which the face is clearly visible.",
        )
    space, focus = np.asarray(features), np.asarray(focus)
    chosen = [int(focus.argmax())]
    distance = np.linalg.norm(space - space[chosen[0]], axis=1)
    while len(chosen) < min(count, len(indices)):
        best = int((distance * np.sqrt(focus / focus.max())).argmax())
        if distance[best] < 0.15:
            break
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(space - space[best], axis=1))
    return sorted(indices[k] for k in chosen)
