"""I_gen from any other image head-swap tool: a folder of images, with masks where there are some.

Layout of the folder: one image per frame, named by its frame number (``000012.png``, ``frame_12.jpg``), counted from 0
at the start of the part in use, as large as the clip's frames or as its work window. Optional subfolders of grey images
of the same size and naming: ``masks`` (new head with neck), or ``head`` and ``neck`` apart; 255 = generated.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.imaging import blur, disc, over
from gswap.foundation.types import FaceTrack, RgbImage, SoftMask, SwapFrame, TargetSet, Window
from gswap.swap.embedded.compose import kept_torso, to_image8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
CHANGE_LEVELS = 12
"""Without masks: mean change over the channels, 8-bit levels, from which a pixel near the head counts as generated."""
REACH = 0.06
"""Without masks: how far beyond the target's head and neck changes are looked for, shares of the window's height."""
FEATHER = 2.0
"""Gaussian edge of such masks, pixels."""


class GeneratedFrames:
    """Serve another tool's images as :class:`SwapFrame`.

    Args:
        folder: One image per frame, see above.
        target: The clip in its work window.
        faces: The target's landmarks (their images' size is the clip's).

    Raises:
        MissingInputError: The folder is not there or holds no numbered image.
    """

    def __init__(self, folder: Path, target: TargetSet, faces: FaceTrack) -> None:
        self.target = target
        self.faces = faces
        self.frame_size = faces.size
        self.folder = folder
        self.images = numbered_images(folder)
        if not self.images:
            raise no_images(folder)
        self.masks = {name: numbered_images(folder / name) for name in ("masks", "head", "neck")}

    def __contains__(self, t: int) -> bool:
        return t in self.images

    def frame(self, t: int) -> SwapFrame:
        """The image of frame ``t``, put over the target by its masks (found from the change where there are none).

        Raises:
            MissingInputError: There is no image for this frame.
            InputError: An image cannot be read, or has neither the frame's nor the window's size.
        """
        if t not in self.images:
            raise MissingInputError(f"Expected a generated image of frame {t}, found none.", path=self.folder, frame=t)
        generated = self._window(self.images[t], t, cv2.IMREAD_COLOR)
        scene = self.target.rgb[t]
        plate = self._plate(t)
        head, neck = self._areas(t, generated, scene)
        cover = np.maximum(head, neck).astype(np.float32)[..., None] / 255
        rgb = np.round(generated * cover + scene * (1 - cover)).astype(np.uint8)
        return SwapFrame(rgb, head, neck, plate, np.full(head.shape, 255, np.uint8))

    def _plate(self, t: int) -> RgbImage:
        """The plate with the target's torso and collar: without them a rim would show beside a narrower neck."""
        scene, plate = self.target.rgb[t], self.target.plate[t]
        if not np.isfinite(self.faces.landmarks[t]).all():
            return plate
        points = self.target.window.to_work(t, self.faces.landmarks[t])[:, :2]
        person, head = (store[t].astype(np.float32) / 255 for store in (self.target.person, self.target.head))
        keep = kept_torso(person, head, points, self.target.long_hair)
        return to_image8(over(scene.astype(np.float32), keep, plate.astype(np.float32)))

    def _areas(self, t: int, generated: RgbImage, scene: RgbImage) -> tuple[SoftMask, SoftMask]:
        nothing = np.zeros(scene.shape[:2], np.uint8)
        if t in self.masks["head"]:
            head = self._window(self.masks["head"][t], t, cv2.IMREAD_GRAYSCALE)
            neck = self.masks["neck"].get(t)
            return head, nothing if neck is None else self._window(neck, t, cv2.IMREAD_GRAYSCALE)
        neck_b = self.target.neck[t]
        if t in self.masks["masks"]:
            whole = self._window(self.masks["masks"][t], t, cv2.IMREAD_GRAYSCALE)
        else:
            whole = changed_area(generated, scene, np.maximum(self.target.head[t], neck_b))
        neck = np.minimum(whole, np.where(neck_b > self.target.head[t], neck_b, 0))
        return whole - neck, neck

    def _window(self, path: Path, t: int, mode: int) -> np.ndarray:
        image = cv2.imread(str(path), mode)
        if image is None:
            raise InputError("Expected an image, found something else.", path=path, frame=t)
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        size = (image.shape[1], image.shape[0])
        if size == self.target.window.size:
            return image
        if size != self.frame_size:
            raise InputError(
                f"Expected {self.frame_size[0]}x{self.frame_size[1]} (the clip) or "
                f"{self.target.window.size[0]}x{self.target.window.size[1]} (its window), found {size[0]}x{size[1]}.",
                path=path,
                frame=t,
            )
        return cut_window(image, self.target.window, t)


def no_images(folder: Path) -> MissingInputError:
    """The error for a folder without numbered images."""
    return MissingInputError(
        "Expected images named by frame number, found none.",
        hint="Name them 000000.png, 000001.png and so on.",
        path=folder,
    )


def numbered_images(folder: Path) -> dict[int, Path]:
    """Images of a folder by the last number in their names; empty where there is no such folder."""
    if not folder.is_dir():
        return {}
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        digits = re.findall(r"\d+", path.stem)
        if path.suffix.lower() in SUFFIXES and digits:
            found.setdefault(int(digits[-1]), path)
    return found


def cut_window(image: np.ndarray, window: Window, t: int) -> np.ndarray:
    """The work image of frame ``t`` from a full-frame image."""
    x, y = int(window.x[t]), int(window.y[t])
    part = image[y : y + window.height, x : x + window.width]
    if (part.shape[1], part.shape[0]) == window.size:
        return np.ascontiguousarray(part)
    return cv2.resize(part, window.size, interpolation=cv2.INTER_AREA)


def changed_area(generated: RgbImage, scene: RgbImage, head: SoftMask) -> SoftMask:
    """Where the tool changed the picture: the target's head and neck, and what differs beside them."""
    reach = disc(2 * REACH * head.shape[0])
    near = cv2.dilate((head > 127).astype(np.uint8), reach) > 0
    change = np.abs(generated.astype(np.float32) - scene).mean(-1)
    differs = blur(change, 1.0) > CHANGE_LEVELS
    area = ((head > 127) | (near & differs)).astype(np.uint8)
    area = cv2.morphologyEx(cv2.morphologyEx(area, cv2.MORPH_OPEN, disc(3)), cv2.MORPH_CLOSE, disc(7))
    return np.round(blur(area.astype(np.float32), FEATHER) * 255).astype(np.uint8)
