"""What a stage makes for the next one. Frozen dataclasses of arrays; nothing here computes.

Conventions, stated once for the whole package:

* Images are ``uint8`` RGB ``(h, w, 3)``; soft masks are ``uint8`` ``(h, w)``, 255 = inside. Where a float image is
  meant, the name or docstring says so, and its range is [0, 1].
* Image coordinates are continuous: x to the right, y down, **pixel (0, 0) covers [0, 1) x [0, 1)**, its centre is at
  (0.5, 0.5). OpenCV's ``remap``/``warpAffine`` put centres at integers: subtract 0.5 there.
* The camera is OpenCV's: x right, y down, z forward, metres; it sits at the origin and the body moves.
* The body's rest frame has the same axes and faces the camera: +x is the person's left, -z is where the face looks.
* Rotations are rotation vectors (radians) or 3x3 matrices; quaternions are ``wxyz``.
* "Window": the rectangle of the frame in which the head is edited; the stages from segmentation to rendering see
  only its pixels. The camera of a window is the frame's camera with a shifted principal point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

RgbImage = UInt8[np.ndarray, "h w 3"]
SoftMask = UInt8[np.ndarray, "h w"]


# ---------------------------------------------------------------- media
@dataclass(frozen=True)
class ColorTags:
    """Colour description of a video stream, as FFmpeg's integer codes (2 = unspecified; range: 1 limited, 2 full)."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video file before its frames are decoded.

    ``width`` and ``height`` are those of the picture as shown: ``rotation`` (degrees counter-clockwise, a multiple of
    90, that the player applies) is already taken into account. ``pts`` are in units of ``time_base``.
    """

    path: Path
    width: int
    height: int
    rotation: int
    frame_count: int
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    time_base: tuple[int, int]
    frame_rate: tuple[int, int]
    pixel_format: str
    bit_depth: int
    color: ColorTags
    codec: str
    container: str
    has_audio: bool
    sample_aspect_ratio: tuple[int, int] = (1, 1)
    truncated: bool = False

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        num, den = self.time_base
        if not self.pts:
            return 0.0
        return (self.pts[-1] + self.durations[-1] - self.pts[0]) * num / den

    @property
    def fps(self) -> float:
        """Nominal frame rate in frames per second."""
        return self.frame_rate[0] / self.frame_rate[1]


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame in display orientation.

    ``planes`` are the decoder's own samples (Y, U, V for YUV formats; G, B, R for planar RGB), untouched but for the
    rotation: ``uint8`` or ``uint16``, chroma planes at their own size. ``rgb`` is converted from them by the tags.
    """

    index: int
    pts: int
    rgb: RgbImage
    planes: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Shot:
    """Frames ``start`` (inclusive) to ``stop`` (exclusive) between two cuts."""

    start: int
    stop: int


# ---------------------------------------------------------------- windows and cameras
@dataclass(frozen=True)
class Camera:
    """Pinhole camera of one image. Lengths in pixels of that image."""

    focal: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class Window:
    """Where the head is edited, per frame, in pixels of the full frame. One size per clip, so that images stack.

    ``scale`` is work pixels per frame pixel (<= 1): the images that the stages see are ``size`` = (w, h) large.
    """

    x: Int[np.ndarray, "t"]
    y: Int[np.ndarray, "t"]
    width: int
    height: int
    scale: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the work image."""
        return round(self.width * self.scale), round(self.height * self.scale)

    def camera(self, t: int, focal: float, frame_width: int, frame_height: int) -> Camera:
        """Camera of the work image of frame ``t`` when the full frame has its principal point at its centre."""
        s = self.scale
        w, h = self.size
        return Camera(focal * s, (frame_width / 2 - self.x[t]) * s, (frame_height / 2 - self.y[t]) * s, w, h)

    def to_work(self, t: int, points: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... d"]:
        """Full-frame points (x, y[, z]) -> work-image points; a z column is scaled as x and y are."""
        out = np.array(points, dtype=np.float64, copy=True)
        out[..., 0] -= self.x[t]
        out[..., 1] -= self.y[t]
        return out * self.scale


# ---------------------------------------------------------------- people in images
@dataclass(frozen=True)
class FaceTrack:
    """One person's face over ``t`` images (frames of a clip, or photos).

    ``landmarks`` are MediaPipe's 478 points (468-472 and 473-477: irises of the right and left eye) in full-image
    pixels, z in the same unit (negative = nearer), NaN where the face is not seen. ``matte_hint`` is not kept here:
    person mattes are made per window by segmentation.
    """

    landmarks: Float[np.ndarray, "t 478 3"]
    valid: Bool[np.ndarray, "t"]
    confidence: Float[np.ndarray, "t"]
    bridged: Bool[np.ndarray, "t"]
    duplicate: Bool[np.ndarray, "t"]
    shoulders: Float[np.ndarray, "t 2 3"]
    """Right and left shoulder (x, y in pixels, visibility in [0, 1])."""
    embedding: Float[np.ndarray, "t d"]
    """Identity per image (dlib: 128 numbers, ArcFace: 512), NaN where it was not computed."""
    sharpness: Float[np.ndarray, "t"]
    """Variance-of-Laplacian style focus measure of the face, normalised to a face 256 px wide."""
    size: tuple[int, int]
    """Width and height of the images (photos of different sizes: see ``sizes``)."""
    shots: tuple[Shot, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    """Per-image sizes for photos; empty for clips."""
    head_points: Float[np.ndarray, "t p 2"] = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32))
    """Points of ears, skull, jaw and face, seen or guessed, in full-image pixels; NaN where not looked for. They
    are numbered as ``perception.head_points`` and the body model's ``head_points`` are; no rows: never looked for."""
    ears_seen: Float[np.ndarray, "t 2"] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """How much of the right and the left ear can be seen, 0 to 1."""

    def __post_init__(self) -> None:
        if not len(self.head_points):
            object.__setattr__(self, "head_points", np.zeros((len(self.valid), 0, 2), np.float32))
            object.__setattr__(self, "ears_seen", np.zeros((len(self.valid), 2), np.float32))

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True)
class BodyShape:
    """Who somebody is, for one body model: fixed over a clip or a set of photos."""

    model: str
    coefficients: Float[np.ndarray, "k"]
    offsets: Float[np.ndarray, "v 3"]
    """Free offsets of the rest vertices, metres, added before skinning."""


@dataclass(frozen=True)
class BodyTrack:
    """A fitted body over ``t`` images. The head's rigid motion is stored directly, the torso hangs from it.

    A head-bone point ``x`` (rest frame, relative to the rest head joint) is at ``R(rotation) x + translation`` in the
    camera; ``neck`` is the rotation torso -> head, spread over the neck joints; ``eyes`` are the rotations of the
    right and left eyeball relative to the head. ``actions`` are in [0, 1], ordered as ``BodyModel.action_names``.
    ``focal`` is in full-image pixels with the principal point at the image centre (one for a clip; photos: per image).
    """

    shape: BodyShape
    focal: Float[np.ndarray, "t"]
    rotation: Float[np.ndarray, "t 3"]
    translation: Float[np.ndarray, "t 3"]
    neck: Float[np.ndarray, "t 3"]
    eyes: Float[np.ndarray, "t 2 3"]
    actions: Float[np.ndarray, "t a"]
    valid: Bool[np.ndarray, "t"]
    confidence: Float[np.ndarray, "t"]
    residual: Float[np.ndarray, "t"]
    """Mean landmark residual in units of the outer-eye-corner distance."""
    sizes: Int[np.ndarray, "t 2"]
    """Width and height of each image."""
    moves: Float[np.ndarray, "t 468 3"] | None = None
    """What shape and actions leave unsaid: how far the skin landmarks of each image lie from where they put them
    (metres, head coordinates). ``BodyModel.pose`` spreads it over the surface; ``None`` = nowhere."""

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True)
class PosedMesh:
    """A body in one camera. ``linear`` maps a small rest-frame displacement of a vertex to the camera frame (eq. 6)."""

    vertices: Float[np.ndarray, "v 3"]
    linear: Float[np.ndarray, "v 3 3"]


# ---------------------------------------------------------------- per-frame images on disk
@runtime_checkable
class ImageStore(Protocol):
    """Random access to one kind of per-frame image; an in-memory list satisfies it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Masks:
    """Soft masks of one work image: head (hair, face, ears), neck, and the whole person (all include soft edges)."""

    head: SoftMask
    neck: SoftMask
    person: SoftMask


@dataclass(frozen=True)
class TargetSet:
    """The target clip in its window: everything that the swap, the fit and the render read about it."""

    window: Window
    rgb: ImageStore
    head: ImageStore
    neck: ImageStore
    person: ImageStore
    plate: ImageStore
    """The picture without head and neck (Î_tgt); equals ``rgb`` outside the hole."""
    long_hair: bool = False


@dataclass(frozen=True)
class PhotoSet:
    """The source photos, each in its own size, with a closed-form matte."""

    rgb: tuple[RgbImage, ...]
    head: tuple[SoftMask, ...]
    """Binary-ish head mask (hair, face, ears, neck) of every photo before matting."""
    person: tuple[SoftMask, ...]
    alpha: tuple[SoftMask, ...]
    """Closed-form alpha of the head."""
    foreground: tuple[RgbImage, ...]
    """Estimated foreground colours (no background in them)."""
    long_hair: bool = False


@dataclass(frozen=True)
class SwapFrame:
    """One image of the head-swapped data set I_gen, in the work window."""

    rgb: RgbImage
    """I_gen: the new head composited over ``plate``."""
    head: SoftMask
    neck: SoftMask
    plate: RgbImage
    """What the head was composited over: the target's plate with its torso and collar kept."""
    confidence: SoftMask
    """How far to trust each pixel (255 = warped from a well-matching photo)."""


@dataclass(frozen=True)
class SwapSet:
    """I_gen for a clip: stores of the fields of :class:`SwapFrame`, and what was missing."""

    rgb: ImageStore
    head: ImageStore
    neck: ImageStore
    plate: ImageStore
    confidence: ImageStore
    advice: tuple[str, ...] = ()
    """What would have helped, for example ``add a photo with the mouth open (frames 124-145)``."""


@dataclass(frozen=True)
class Render:
    """One final image I_out in the work window, and the layers a compositor needs."""

    rgb: RgbImage
    alpha: SoftMask
    """A: matte of the new head and neck over ``plate``."""
    foreground: RgbImage
    """Straight (un-premultiplied) colour of head and neck."""
    plate: RgbImage
    edited: SoftMask
    """255 where I_out may differ from the target (M_inp and its feather)."""


@dataclass(frozen=True)
class StepTiming:
    """What a step cost."""

    step: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    reused: bool = False


class Progress(Protocol):
    """Where a long computation tells how far it is. Implemented by the applications."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` items are finished."""
        ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """The silent :class:`Progress`."""


@dataclass(frozen=True)
class JobNotes:
    """Sentences for the report, collected by the steps in order."""

    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = field(default=())
