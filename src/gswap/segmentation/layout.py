"""Where things are around a face: the crop that labels are decided in, face coordinates, and the posed body's parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.imaging import fill_polygon
from gswap.foundation.landmarks import CHIN, EYE_CORNERS_OUTER, FOREHEAD_TOP, OVAL, face_width
from gswap.foundation.protocols import BodyModel
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import Camera, PosedMesh, RgbImage, SoftMask

NOTHING, HEAD_PART, NECK_PART, TORSO_PART = range(4)
"""Labels of :attr:`Layout.part`."""

NOSE_BASE = 2
NOSE_TO_HEIGHT = 1.64
"""Face height with the mouth closed over the distance from forehead to nose: opening the mouth moves only the chin."""
WIDTH_TO_HEIGHT = 1.2
"""Face height over face width, roughly: turned and nodding faces keep their size by the larger of the two."""
_THROAT_HEIGHT, _LARGEST_THROAT = -0.4, 0.35
"""Height over the chin down to which the neck is looked at, and how far sideways its middle may lie."""
_THROAT_TRUST = 0.6
"""The fitted neck is less certain than the chin."""
CROP_ABOVE, CROP_BELOW, CROP_BESIDE = 1.4, 3.2, 1.7
"""The crop around the centre of the face, in face units."""


@dataclass(frozen=True)
class Sample:
    """Everything that is known about one work image before it is segmented."""

    rgb: RgbImage
    landmarks: Float[np.ndarray, "478 3"]
    """In pixels of this image."""
    person: SoftMask
    """Matte of people, from perception."""
    mesh: PosedMesh
    camera: Camera
    """The camera of this image."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of the work image, resampled to ``size`` = (w, h) pixels."""

    x: int
    y: int
    width: int
    height: int
    size: tuple[int, int]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the work image."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    @property
    def scale(self) -> float:
        """Crop pixels per work pixel."""
        return self.size[0] / self.width

    def take(self, image: np.ndarray) -> np.ndarray:
        """The crop of an image."""
        small = self.scale < 0.5  # linear interpolation would leave out pixels
        return cv2.resize(image[self.box], self.size, interpolation=cv2.INTER_AREA if small else cv2.INTER_LINEAR)

    def give_back(self, image: np.ndarray) -> np.ndarray:
        """A crop-sized image at the work image's resolution (only the rectangle)."""
        return cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Work-image points (x, y, ...) -> crop points (x, y)."""
        scale = np.array([self.size[0] / self.width, self.size[1] / self.height])
        return (np.asarray(points, np.float64)[..., :2] - (self.x, self.y)) * scale

    def camera(self, camera: Camera) -> Camera:
        """The crop's camera (pixels are square to within one part in its side)."""
        s = self.scale
        return Camera(camera.focal * s, (camera.cx - self.x) * s, (camera.cy - self.y) * s, *self.size)


def resting_chin(landmarks: Float[np.ndarray, "478 _"]) -> Float[np.ndarray, 2]:
    """Where the chin is, or would be if the mouth were closed."""
    top = landmarks[FOREHEAD_TOP, :2]
    down = landmarks[CHIN, :2] - top
    length = max(float(np.linalg.norm(down)), 1e-6)
    closed = NOSE_TO_HEIGHT * float(np.linalg.norm(landmarks[NOSE_BASE, :2] - top))
    return top + down * (min(length, closed) / length)


def face_unit(landmarks: Float[np.ndarray, "478 _"]) -> float:
    """Size of the face in pixels, about its height when seen from the front with the mouth closed."""
    height = float(np.linalg.norm(landmarks[FOREHEAD_TOP, :2] - resting_chin(landmarks)))
    return max(height, WIDTH_TO_HEIGHT * float(face_width(landmarks)))


def face_crop(landmarks: Float[np.ndarray, "478 3"], shape: tuple[int, ...], face_pixels: int) -> Crop:
    """The part of an image of ``shape`` (h, w) that can hold head, neck and long hair.

    Of a face too far outside the image it is the row or column of pixels nearest to it, never nothing.
    """
    unit = face_unit(landmarks)
    x, y = (landmarks[CHIN, :2] + landmarks[FOREHEAD_TOP, :2]) / 2
    x0, x1 = _range_within(x - CROP_BESIDE * unit, x + CROP_BESIDE * unit, shape[1])
    y0, y1 = _range_within(y - CROP_ABOVE * unit, y + CROP_BELOW * unit, shape[0])
    scale = min(face_pixels / unit, 1.0)
    return Crop(x0, y0, x1 - x0, y1 - y0, (max(round((x1 - x0) * scale), 8), max(round((y1 - y0) * scale), 8)))


def _range_within(low: float, high: float, length: int) -> tuple[int, int]:
    """The part of a range of pixels that lies in ``0 .. length``; at least one pixel."""
    first = int(np.clip(low, 0, length - 1))
    return first, max(int(np.clip(high, 0, length)), first + 1)


def face_axes(
    landmarks: Float[np.ndarray, "478 _"], shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Face coordinates of every pixel, in face units: height over the chin (up the face), and sideways (signed)."""
    chin = resting_chin(landmarks)
    up = landmarks[FOREHEAD_TOP, :2] - chin
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    unit = face_unit(landmarks)
    up = (up / unit).astype(np.float32)
    dx = (np.arange(shape[1]) + 0.5 - chin[0]).astype(np.float32)[None]
    dy = (np.arange(shape[0]) + 0.5 - chin[1]).astype(np.float32)[:, None]
    return dx * up[0] + dy * up[1], -dx * up[1] + dy * up[0]


def yaw_degrees(landmarks: Float[np.ndarray, "478 3"]) -> float:
    """How far the face is turned sideways, from the depth of the outer eye corners."""
    right, left = landmarks[list(EYE_CORNERS_OUTER)]
    return float(np.degrees(np.arctan2(left[2] - right[2], np.hypot(*(left - right)[:2]))))


@dataclass(frozen=True)
class Layout:
    """Geometry of one crop."""

    crop: Crop
    height: Float[np.ndarray, "h w"]
    """Height over the chin in face units: 0 chin, about 1 top of the forehead."""
    side: Float[np.ndarray, "h w"]
    """Sideways distance from the chin in face units, signed."""
    face: Float[np.ndarray, "h w"]
    """Coverage by the face oval."""
    part: Int[np.ndarray, "h w"]
    """Part of the posed body: nothing, head, neck or torso."""
    unit: float
    """Face unit in crop pixels."""
    throat: float
    """Where ``side`` the neck's middle lies below the chin: a turned head's chin is not above it."""

    def every_other(self) -> Layout:
        """Every other row and column of it, for what is smooth; ``crop`` stays. ``cv2.pyrUp`` goes back."""
        maps = {name: getattr(self, name)[::2, ::2] for name in ("height", "side", "face", "part")}
        return replace(self, **maps, unit=self.unit / 2)


def face_parts(model: BodyModel) -> Int[np.ndarray, " f"]:
    """Head, neck or torso for every face of a body."""
    head = model.head_weight[model.faces].mean(1) > 0.5
    torso = model.torso_weight[model.faces].mean(1) > 0.75
    return np.where(head, HEAD_PART, np.where(torso, TORSO_PART, NECK_PART)).astype(np.int32)


def _parts_seen(
    mesh: PosedMesh, model: BodyModel, parts: Int[np.ndarray, " f"], camera: Camera
) -> Int[np.ndarray, "h w"]:
    """Part of the body at every pixel; it is drawn in every other row and column, and repeated."""
    width, height = camera.width, camera.height
    # 0.25: the middle of the first pixel stays where it is.
    half = Camera(camera.focal / 2, camera.cx / 2 + 0.25, camera.cy / 2 + 0.25, (width + 1) // 2, (height + 1) // 2)
    seen = rasterize_mesh(mesh.vertices, model.faces, half).face
    part = np.where(seen >= 0, parts[seen], NOTHING)
    return part.repeat(2, 0).repeat(2, 1)[:height, :width]


def lay_out(sample: Sample, model: BodyModel, parts: Int[np.ndarray, " f"], face_pixels: int) -> Layout:
    """Crop, face coordinates and body parts of one image."""
    crop = face_crop(sample.landmarks, sample.rgb.shape[:2], face_pixels)
    shape = (crop.size[1], crop.size[0])
    points = crop.points(sample.landmarks)
    height, side = face_axes(points, shape)
    part = _parts_seen(sample.mesh, model, parts, crop.camera(sample.camera))
    neck = side[(part == NECK_PART) & (height < 0) & (height > _THROAT_HEIGHT)]
    throat = float(np.clip(_THROAT_TRUST * np.median(neck), -_LARGEST_THROAT, _LARGEST_THROAT)) if len(neck) else 0.0
    return Layout(
        crop=crop,
        height=height,
        side=side,
        face=fill_polygon(points[list(OVAL)], *shape),
        part=part,
        unit=face_unit(points),
        throat=throat,
    )
