"""Numbered pictures in a folder, one per frame: the masks of other tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.types import SoftMask

SEQUENCE_SUFFIXES = frozenset((".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp"))
_EIGHT_TO_SIXTEEN = 257
"""65535 / 255."""


class MaskSequence(Sequence[SoftMask]):
    """Masks of another tool, one per frame; read when asked for."""

    def __init__(self, paths: list[Path], size: tuple[int, int]) -> None:
        self._paths = paths
        self._size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int, /) -> SoftMask:  # type: ignore[override]  # no slices
        return _read_mask(self._paths[index], self._size)


def read_mask_sequence(folder: Path, frame_count: int, size: tuple[int, int]) -> MaskSequence:
    """Masks of a clip from a folder, in the order of their numbers.

    A mask is the alpha channel where there is one, else the brightness; 8 or 16 bits; white = inside. Pictures are
    opened when they are asked for; the first is read at once, so that a wrong folder is noticed before any work.

    Args:
        folder: Holds one picture per frame.
        frame_count: Frames of the clip.
        size: Width and height of a frame; pictures of another size but the same shape are scaled.

    Raises:
        MissingInputError: There is no such folder.
        InputError: The number or the shape of the pictures does not fit the clip.
    """
    masks = MaskSequence(_find(folder, frame_count), size)
    _ = masks[0]
    return masks


def _find(folder: Path, frame_count: int) -> list[Path]:
    if not folder.is_dir():
        raise MissingInputError("Expected a folder with one picture per frame, found none.", path=folder)
    found = [p for p in folder.iterdir() if p.suffix.lower() in SEQUENCE_SUFFIXES and not p.name.startswith(".")]
    if len(found) != frame_count or not found:
        raise InputError(
            f"Expected {frame_count} pictures, one per frame, found {len(found)}.",
            hint="Export every frame of the clip.",
            path=folder,
        )
    return sorted(found, key=_number)


def _number(path: Path) -> tuple[int, str]:
    """The last number in a name (``mask.v2.0017.png`` -> 17), then the name."""
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else 0, path.name)


def _read_mask(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    try:
        with Image.open(path) as image:
            image.load()
            if "A" in image.getbands():
                mask = np.asarray(image.getchannel("A"))
            elif image.mode.startswith("I"):
                mask = np.rint(np.asarray(image).astype(np.float64) / _EIGHT_TO_SIXTEEN).astype(np.uint8)
            else:
                mask = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InputError("Expected a mask, found a damaged picture.", hint="Export it again.", path=path) from error
    return np.ascontiguousarray(_fit(mask, size, path))


def _fit(image: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """Scale a picture to ``size`` (w, h) if it has the same shape to within a pixel."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    if abs(width * size[1] / height - size[0]) > 1 and abs(height * size[0] / width - size[1]) > 1:
        raise InputError(
            f"Expected a picture of {size[0]}x{size[1]} pixels or of that shape, found {width}x{height}.",
            hint="Export the pictures in the clip's size.",
            path=path,
        )
    smaller = width > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
