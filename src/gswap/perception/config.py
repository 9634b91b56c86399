"""What can be chosen about perception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PerceptionConfig:
    """How faces are found, followed and judged."""

    min_detection: float = 0.4
    """Lowest score of the face detector that counts as a face."""
    min_face: int = 24
    """Smallest face that is considered, in pixels."""
    crop: int = 512
    """Side of the crop in which the landmarks are found, in pixels."""
    crop_margin: float = 2.2
    """Side of that crop in units of the detected face."""
    max_bridge: int = 8
    """Longest run of frames without a face that is interpolated, in frames."""
    shoulder_stride: int = 4
    """The shoulders are looked for in every n-th frame and interpolated between."""
    embeddings: int = 12
    """About how many frames of a long clip get an identity embedding; of a short one every 15th."""
    same_person: float = 0.48
    """Largest identity distance at which two tracks are taken for one person."""
    min_presence: float = 0.1
    """A second face counts as another person when it is there in this share of the frames."""
    min_sharpness: float = 1.5
    """Photos below this focus measure are refused as blurred (sharp ones reach 4 and more)."""
    soft_sharpness: float = 3.0
    """Photos below this focus measure are used, with a warning."""
    max_photo_yaw: float = 75.0
    """Photos turned further than this, in degrees, are refused."""
