"""Every tunable of the segmentation stage, in units of the face. Lengths are face heights (chin to top of forehead)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WindowConfig:
    """How large the edited rectangle is, and how it follows the head."""

    above: float = 1.15
    """Room above the centre of the face, in face heights: hair."""
    below: float = 1.55
    """Room below the centre of the face, in face heights: neck, collar, long hair."""
    beside: float = 1.15
    """Room on either side of the centre of the face, in face heights."""
    max_side: int = 1024
    """Largest side of the work image in pixels; larger windows are worked on at a reduced scale."""
    static_growth: float = 1.45
    """A shot gets a window that does not move when that makes it at most this many times as wide and as high."""
    fill_frame: float = 0.8
    """A side that would cover more than this part of the frame covers all of it."""
    smoothing: float = 12.0
    """Sigma, in frames, of the filter that moves a window which has to follow the head."""


@dataclass(frozen=True)
class MaskConfig:
    """The head, neck and person masks of a frame."""

    face_pixels: int = 112
    """Face height, in pixels, at which labels are decided (the soft edge is found at full resolution)."""
    rounds: int = 2
    """Mean-field rounds of the label smoothing."""
    smoothness: float = 1.5
    """How strongly neighbours of similar colour share a label. 0 = every pixel on its own."""
    temporal: float = 0.8
    """How much the previous frame's masks, moved with the head, count. 0 = not at all."""
    long_hair: bool | None = None
    """Hair that falls below the jaw; None = decided from the near-frontal frames."""
    edge: float = 0.03
    """Radius, in face heights, within which the soft edge may differ from the decided labels."""


@dataclass(frozen=True)
class PhotoConfig:
    """Mattes of the source photos."""

    max_side: int = 700
    """Side, in pixels, of the head crop at which the matting equations are solved."""


@dataclass(frozen=True)
class PlateConfig:
    """The picture without head and neck."""

    samples: int = 32
    """At most this many frames of a shot are looked at to find what is behind the head."""
    memory_mb: int = 96
    """At most this much memory for those frames; large windows get fewer of them."""
    dilation: float = 0.07
    """How far, in face heights, the hole reaches beyond the head above the shoulders, to take hair remnants with it."""
    static_motion: float = 0.7
    """Median motion of the background, in pixels, below which the camera counts as fixed."""
    minimum_views: int = 3
    """A background pixel counts as revealed when at least this many sampled frames show it."""
    fill_side: int = 160
    """Side, in pixels, at which the background that no frame shows is continued."""
    texture: float = 1.0
    """Median local contrast of the background, in 8-bit levels, above which it is continued with its texture."""


@dataclass(frozen=True)
class SegmentationConfig:
    """The segmentation stage."""

    window: WindowConfig = field(default_factory=WindowConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    photos: PhotoConfig = field(default_factory=PhotoConfig)
    plate: PlateConfig = field(default_factory=PlateConfig)
