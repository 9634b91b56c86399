"""Numbered images in a folder, read as the frames of a clip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from gswap.foundation.errors import InputError
from gswap.foundation.types import SoftMask

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})


def find_sequence(folder: Path) -> list[Path]:
    """The images of a folder in the order of the last number in their names.

    Raises:
        InputError: There is no image.
    """
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not files:
        raise InputError("Expected numbered images in the folder, found none.", path=folder)

    def number(path: Path) -> tuple[int, str]:
        digits = re.findall(r"\d+", path.stem)
        return (int(digits[-1]) if digits else -1), path.name

    return sorted(files, key=number)


def read_mask_sequence(folder: Path, frame_count: int, size: tuple[int, int]) -> Iterator[SoftMask]:
    """Masks of a clip, one per frame, white = inside; an alpha channel counts before the colours.

    Args:
        folder: The images, as many as the clip has frames, numbered in order.
        frame_count: Frames of the clip.
        size: Width and height of the clip; masks of another size are resized.

    Raises:
        InputError: Another number of images, or a damaged one.
    """
    files = find_sequence(folder)
    if len(files) != frame_count:
        raise InputError(
            f"Expected {frame_count} masks, one per frame, found {len(files)}.",
            hint="Export one image per frame of the clip.",
            path=folder,
        )
    for path in files:
        yield _read_mask(path, size)


def _read_mask(path: Path, size: tuple[int, int]) -> SoftMask:
    try:
        with Image.open(path) as image:
            image.load()
            mask = np.asarray(image.getchannel("A") if "A" in image.getbands() else image.convert("L"))
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"Expected an image, found something else ({error}).", path=path) from error
    if mask.dtype != np.uint8:
        mask = (mask.astype(np.float32) * (255 / np.iinfo(mask.dtype).max)).round().astype(np.uint8)
    if (mask.shape[1], mask.shape[0]) != size:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(mask)
