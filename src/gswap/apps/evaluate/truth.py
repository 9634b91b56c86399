"""The true answer of a swap, where there is one: the clip itself (self swap) or a rendering of synthetic people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gswap.apps.evaluate.sources import Picture, VideoResult
from gswap.foundation.types import VideoInfo
from gswap.media.sequences import read_mask_sequence


class Truth(Protocol):
    """Frames of the true answer, frame for frame with the clip; ``matte`` is that of the true head and neck."""

    def frames(self) -> Iterator[Picture]:
        """A new pass."""
        ...


class TrueVideo:
    """A video with the true answer.

    Args:
        path: The video; for a self swap the clip itself.
        clip: The clip.
        masks: Folder with the true head mattes, one image per frame.
    """

    def __init__(self, path: Path, clip: VideoInfo, masks: Path | None = None) -> None:
        self._video = VideoResult("truth", path, clip)
        self._clip, self._masks = clip, masks

    def frames(self) -> Iterator[Picture]:
        """Decode it."""
        if self._masks is None:
            yield from self._video.frames()
            return
        masks = read_mask_sequence(self._masks, self._clip.frame_count, (self._clip.width, self._clip.height))
        for picture, mask in zip(self._video.frames(), masks, strict=False):
            yield Picture(picture.rgb, picture.planes, matte=mask)
