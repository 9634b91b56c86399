"""LivePortrait (arXiv 2407.03168) as ONNX: a coarse reenactment of one photo with a frame's pose and expression.

Implicit keypoints are ``x = s (k R + e) + t``; the driven ones take rotation, expression and shift of the frame
(absolute, so that the pose is the frame's and not a difference to the first) and the photo's own size. Only the
reenactment's shape is used, so that its flaws do not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from gswap.foundation.errors import InputError
from gswap.foundation.onnx import open_network
from gswap.foundation.types import RgbImage, SoftMask
from gswap.swap.framing import Framing
from gswap.swap.mask_warp import Landmarks2, Reenactment

SIDE = 256
"""Side of the pictures that the networks take; they give twice as much."""
CROP = 2.3
"""Side of a crop in units of the landmarks' larger extent."""
RAISE = 0.125
"""The crop's centre lies above the landmarks' by this share of its side."""

Keypoints = Float[np.ndarray, "1 21 3"]


@dataclass(frozen=True)
class Motion:
    """What the motion network says about one face."""

    rotation: Float[np.ndarray, "3 3"]
    scale: Float[np.ndarray, "1 1"]
    translation: Float[np.ndarray, "1 3"]
    expression: Keypoints
    canonical: Keypoints

    def keypoints(self) -> Keypoints:
        """The face's keypoints."""
        return self.scale * (self.canonical @ self.rotation + self.expression) + self.translation


def drive(photo: Motion, frame: Motion) -> Keypoints:
    """The photo's keypoints in the frame's pose and expression, as large as in the photo and not moved in depth."""
    shift = frame.translation.copy()
    shift[..., 2] = 0
    return photo.scale * (photo.canonical @ frame.rotation + frame.expression) + shift


def crop_face(landmarks: Landmarks2) -> Framing:
    """The square that LivePortrait looks at."""
    low, high = landmarks[:468].min(0), landmarks[:468].max(0)
    side = CROP * float((high - low).max())
    x, y = (low + high) / 2
    return Framing(float(x), float(y) - RAISE * side, side)


@dataclass(frozen=True)
class Sight:
    """How the reenacted picture is understood."""

    landmarks: Callable[[RgbImage, Landmarks2], Float[np.ndarray, "478 3"] | None]
    """Its landmarks, near those of the photo's crop."""
    head: Callable[[RgbImage, Float[np.ndarray, "478 3"]], SoftMask]


class LivePortrait:
    """A ``Reenactor`` over one clip.

    Args:
        folder: Folder with the three networks.
        photo: Photo for a frame, with its landmarks: the nearest in yaw and pitch.
        frame: A frame with its landmarks.
        sight: Finds landmarks and head in what comes out.
        device: ``cpu`` or ``cuda``.
        threads: Threads on the processor.
    """

    def __init__(
        self,
        folder: Path,
        photo: Callable[[int], tuple[RgbImage, Landmarks2]],
        frame: Callable[[int], tuple[RgbImage, Landmarks2]],
        sight: Sight,
        *,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        self._networks = {
            name: open_network(folder / f"{name}.onnx", device=device, threads=threads)
            for name in ("feature_extractor", "motion_extractor", "generator")
        }
        self._photo, self._frame, self._sight = photo, frame, sight

    def __call__(self, t: int, /) -> Reenactment:
        """Reenactment of frame ``t``.

        Raises:
            InputError: No face is found in the reenacted picture.
        """
        (image, points), (scene, wanted) = self._photo(t), self._frame(t)
        framing = crop_face(points)
        source = framing.cut(image, SIDE)
        still = self.motion(source)
        moved = drive(still, self.motion(crop_face(wanted).cut(scene, SIDE)))
        rgb = self.generate(source, still.keypoints(), moved)
        found = self._sight.landmarks(rgb, framing.to_picture(points, rgb.shape[0]))
        if found is None:
            raise InputError(
                "Expected a face in LivePortrait's picture, found none.",
                hint="Use --reenactor embedded, which needs no weights.",
                frame=t,
            )
        return Reenactment(rgb, self._sight.head(rgb, found), found[:, :2])

    def motion(self, picture: RgbImage) -> Motion:
        """Pose and expression of a 256 x 256 crop."""
        pitch, yaw, roll, scale, shift, expression, canonical = self._networks["motion_extractor"].run(
            None, {"input": _tensor(picture)}
        )
        angles = [float(np.asarray(a, np.float64).ravel()[0]) for a in (pitch, yaw, roll)]
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T.astype(np.float32)
        return Motion(rotation, np.asarray(scale), np.asarray(shift), np.asarray(expression), np.asarray(canonical))

    def generate(self, picture: RgbImage, still: Keypoints, moved: Keypoints) -> RgbImage:
        """The picture with its keypoints moved.

        The network's input names are those of a face that is restored: ``target`` is where the picture's keypoints
        are, ``source`` where they go.
        """
        volume = self._networks["feature_extractor"].run(None, {"input": _tensor(picture)})[0]
        feed = {"feature_volume": volume, "source": moved.astype(np.float32), "target": still.astype(np.float32)}
        image = np.asarray(self._networks["generator"].run(None, feed)[0])[0].transpose(1, 2, 0)
        return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def _tensor(picture: RgbImage) -> Float[np.ndarray, "1 3 s s"]:
    small = picture if picture.shape[0] == SIDE else cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1)[None], np.float32) / 255
