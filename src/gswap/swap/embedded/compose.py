"""Head crops, what stays in front, what stays behind, and putting the layers together."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import blur, disc, over
from gswap.foundation.landmarks import face_height, face_width
from gswap.foundation.types import Camera
from gswap.swap.embedded.regions import FaceRuler, Points2, Turn, bounds_of, oval_mask

Box = tuple[int, int, int, int]
"""``(x0, y0, x1, y1)``"""
GRID = 16
"""Crops are multiples of this large, so that half and quarter resolutions line up."""
KEEP_BELOW = 0.22
"""Under this height over the chin the target's own pixels stay beneath the neck layer, face heights."""
LEAST_ALPHA = 0.5 / 255
"""Less is 0 in an 8-bit mask."""
OCCLUDER_INSET = 0.04
"""A gap in the head mask counts as something in front when it lies this far inside the face, face widths."""
OCCLUDER_AREA = 0.004
"""and covers at least this share of the face's square."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of the work image; parts outside the image are replicated when cut and dropped when pasted."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, points: Points2, margins: tuple[float, float, float], size: tuple[int, int]) -> Crop:
        """Box around a face: margins sideways (face widths), up and down (face heights), kept to the image.

        Args:
            points: Landmarks in the image.
            margins: Sideways, up, down.
            size: Width and height of the image.
        """
        side, up, down = margins
        fw, fh = float(face_width(points)), float(face_height(points))
        low = np.maximum(np.floor(points[:468].min(0) - np.array([side * fw, up * fh])), 0).astype(int)
        high = np.minimum(np.ceil(points[:468].max(0) + np.array([side * fw, down * fh])), size).astype(int)
        low = np.minimum(low, np.array(size) - 1)
        extent = np.maximum(high - low, 1)
        padded = -(-extent // GRID) * GRID
        low = np.maximum(low - np.maximum(low + padded - size, 0), 0)
        return cls(int(low[0]), int(low[1]), int(padded[0]), int(padded[1]))

    def camera(self, camera: Camera) -> Camera:
        """Camera of the crop."""
        return Camera(camera.focal, camera.cx - self.x, camera.cy - self.y, self.width, self.height)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The crop of an image, its border replicated where the crop reaches beyond it."""
        part = image[self.y : self.y + self.height, self.x : self.x + self.width]
        below, right = self.height - part.shape[0], self.width - part.shape[1]
        if below or right:
            part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(part)

    def paste(self, image: np.ndarray, part: np.ndarray) -> None:
        """Write the crop into ``image`` (in place)."""
        place = image[self.y : self.y + self.height, self.x : self.x + self.width]
        place[...] = part[: place.shape[0], : place.shape[1]]

    def part(self, box: Box) -> Crop:
        """A box of the crop."""
        x0, y0, x1, y1 = box
        return Crop(self.x + x0, self.y + y0, x1 - x0, y1 - y0)

    def inner_box(self, points: Float[np.ndarray, "n 2"], margin: float) -> Box:
        """Box of multiples of :data:`GRID` inside the crop around some points of the crop, with a margin in pixels.

        At least one multiple large: where all points lie beyond the crop, at its nearest border.
        """
        low = np.clip(np.floor((points.min(0) - margin) / GRID), 0, None).astype(int) * GRID
        high = np.ceil((points.max(0) + margin) / GRID).astype(int) * GRID
        high = np.clip(high, GRID, [self.width, self.height])
        low = np.minimum(low, high - GRID)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def kept_torso(
    person: Float[np.ndarray, "h w"], head: Float[np.ndarray, "h w"], points: Points2, long_hair: bool
) -> Float[np.ndarray, "h w"]:
    """Where the target's own pixels stay beneath the neck layer: torso, collar and neck, but not its face.

    Without them a rim of the plate would show between the new neck and the collar.

    Args:
        person: Target's person mask, [0, 1].
        head: Its head mask.
        points: Its landmarks.
        long_hair: Its hair falls below the jaw, and must go.
    """
    h, w = person.shape
    ruler = FaceRuler.of(points)
    height, lateral = ruler.grid(h, w)
    face = cv2.dilate((oval_mask(points, h, w) > 0.3).astype(np.uint8), disc(0.055 * ruler.width))
    keep = ((height < KEEP_BELOW) & (person > 0.5) & (face == 0)).astype(np.float32)
    hair = cv2.dilate((head >= 0.5).astype(np.uint8), disc(0.03 * ruler.width)) > 0
    turn = Turn.of(points, ruler)
    nape = (height > 0) & (turn.side * lateral > 0)  # there a turned head shows its short hair
    gone = np.float32(1) if long_hair else np.where(nape, np.float32(turn.amount), np.float32(0))
    keep *= 1 - hair * gone
    return blur(keep, 1.0)


def in_front(
    head: Float[np.ndarray, "h w"],
    neck: Float[np.ndarray, "h w"],
    person: Float[np.ndarray, "h w"],
    points: Points2,
) -> Float[np.ndarray, "h w"]:
    """What hides the target's face: gaps of its head mask inside the face, and the rest of the person joined to them.

    Args:
        head: Target's head mask, [0, 1].
        neck: Its neck mask.
        person: Its person mask.
        points: Its landmarks.

    Returns:
        1 where the target's own pixels must stay in front of the new head.
    """
    h, w = head.shape
    ruler = FaceRuler.of(points)
    width = ruler.width
    oval = (oval_mask(points, h, w) > 0.5).astype(np.uint8)
    least = OCCLUDER_AREA * width * ruler.height
    uncovered = np.maximum(head, neck) < 0.5
    if np.count_nonzero(uncovered & (oval > 0)) < least:
        return np.zeros((h, w), np.float32)
    inner = cv2.erode(oval, disc(2 * OCCLUDER_INSET * width)) > 0
    seed = cv2.morphologyEx((inner & uncovered).astype(np.uint8), cv2.MORPH_OPEN, disc(0.03 * width)) > 0
    if np.count_nonzero(seed) < least:
        return np.zeros((h, w), np.float32)
    height = ruler.heights(h, w)
    candidates = uncovered & ((person > 0.5) | (oval > 0)) & (height > -0.35)
    labels = cv2.connectedComponents((candidates | seed).astype(np.uint8))[1]
    touched = np.unique(labels[seed])
    front = np.isin(labels, touched[touched > 0])
    sure = 1 - np.maximum(head, neck)
    return np.where(front, 1.0, np.where(cv2.dilate(front.astype(np.uint8), disc(5)) > 0, sure, 0)).astype(np.float32)


def stack(
    target: Float[np.ndarray, "h w 3"],
    plate: Float[np.ndarray, "h w 3"],
    neck: tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]],
    head: tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]],
    keep: Float[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """Plate with the kept torso, neck, head: the image, and what neck and head lie on; equal where both masks are 0."""
    behind = over(target, keep, plate)
    image = behind.copy()
    for colour, alpha in (neck, head):
        box = bounds_of(alpha >= LEAST_ALPHA, 0)
        if box is not None:
            area = np.s_[box[1] : box[3], box[0] : box[2]]
            shown = np.where(alpha[area] < LEAST_ALPHA, np.float32(0), alpha[area])
            image[area] = over(colour[area], shown, image[area])
    return image, behind


def to_mask(alpha: Float[np.ndarray, "h w"]) -> np.ndarray:
    """[0, 1] -> 8 bits, rounded."""
    return cv2.convertScaleAbs(np.maximum(alpha, 0), alpha=255)


def to_image8(image: Float[np.ndarray, "h w 3"]) -> np.ndarray:
    """Float levels -> 8 bits, rounded."""
    return cv2.convertScaleAbs(np.maximum(image, 0))
