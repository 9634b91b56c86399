"""The floor that a head swapper must beat: one photo, bent by its landmarks and pasted.

The photo nearest in rotation is moved rigidly onto the target's landmarks, lips and lids are pulled towards the
target's, and a radial-basis warp of the anchors carries the picture. No neutral faces, no depth, no light, no neck.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator

from gswap.foundation.errors import InputError
from gswap.foundation.geometry import similarity
from gswap.foundation.imaging import blur, over
from gswap.foundation.landmarks import CHIN, EYE_LEFT, EYE_RIGHT, FOREHEAD_TOP, LIPS
from gswap.foundation.types import FaceTrack, PhotoSet, SwapFrame, TargetSet

RIGID = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 127, 356, 234, 454, 93, 323, 70, 300)
JAW = (152, 148, 176, 149, 377, 400, 378)
SIDES = (132, 361, 58, 288, 172, 397)
FOLLOW = ((tuple(LIPS), 0.9), (EYE_RIGHT + EYE_LEFT, 0.7), (JAW, 0.6))
"""How far these landmarks follow the target's."""
GRID = 8
"""Pixels between the warp's nodes."""
FALLOFF = 0.5
"""Reach of the warp's residual beyond the anchors (Gaussian), face heights."""
EDGE = 2.0
"""Gaussian edge of the pasted head, pixels."""


class WarpSwapper:
    """Naive landmark warp, for comparison.

    Args:
        target: The clip in its work window.
        target_faces: Its landmarks, in full-frame pixels.
        photos: The source photos.
        photo_faces: Their landmarks.

    Raises:
        InputError: No photo has a face.
    """

    def __init__(self, target: TargetSet, target_faces: FaceTrack, photos: PhotoSet, photo_faces: FaceTrack) -> None:
        self.target, self.faces, self.photos, self.people = target, target_faces, photos, photo_faces
        self.usable = [int(i) for i in np.flatnonzero(photo_faces.valid)]
        if not self.usable:
            raise InputError("Expected a face in the source photos, found none.")

    def advice(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def frame(self, t: int) -> SwapFrame:
        """Paste the best photo's head over the plate of frame ``t``.

        Raises:
            InputError: The target's face is not seen in this frame.
        """
        points, chosen, moved = self.choose(t)
        scene, plate = self.target.rgb[t], self.target.plate[t]
        mapping = warp_map(moved, points, self.people.landmarks[chosen], (scene.shape[0], scene.shape[1]))
        shifted = (mapping - 0.5).astype(np.float32)
        image = cv2.remap(
            self.photos.rgb[chosen], shifted[..., 0], shifted[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        mask = cv2.remap(self.photos.head[chosen], shifted[..., 0], shifted[..., 1], cv2.INTER_LINEAR)
        alpha = blur(mask.astype(np.float32) / 255, EDGE)
        rgb = np.round(over(image.astype(np.float32), alpha, plate.astype(np.float32))).astype(np.uint8)
        head = np.round(alpha * 255).astype(np.uint8)
        return SwapFrame(rgb, head, np.zeros_like(head), plate, np.full_like(head, 255))

    def choose(self, t: int) -> tuple[Float[np.ndarray, "478 3"], int, Float[np.ndarray, "478 3"]]:
        """Landmarks of frame ``t`` in the window, the photo nearest in rotation, and its landmarks moved onto them.

        Raises:
            InputError: The target's face is not seen in this frame.
        """
        if not self.faces.valid[t]:
            raise InputError("Expected the target's face in this frame, found none.", frame=t)
        points = self.target.window.to_work(t, self.faces.landmarks[t])
        found = [(i, *self._onto(i, points)) for i in self.usable]
        chosen, _, moved = min(found, key=lambda one: (one[1], one[0]))
        return points, chosen, moved

    def _onto(self, i: int, points: Float[np.ndarray, "478 3"]) -> tuple[float, Float[np.ndarray, "478 3"]]:
        """Angle between photo and target, and the photo's landmarks moved rigidly onto the target's."""
        source = self.people.landmarks[i]
        scale, turn, shift = similarity(source[list(RIGID)], points[list(RIGID)])
        angle = float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
        return angle, scale * source @ turn.T + shift


def warp_map(
    moved: Float[np.ndarray, "478 3"],
    target: Float[np.ndarray, "478 3"],
    source: Float[np.ndarray, "478 3"],
    size: tuple[int, int],
) -> Float[np.ndarray, "h w 2"]:
    """Photo coordinates of every output pixel.

    Args:
        moved: The photo's landmarks laid on the target's.
        target: The target's landmarks.
        source: The photo's landmarks in the photo.
        size: Height and width of the output.
    """
    goal = moved.copy()
    for indices, share in FOLLOW:
        chosen = list(indices)
        goal[chosen] += share * (target[chosen] - moved[chosen])
    anchors = list(dict.fromkeys([*LIPS, *EYE_RIGHT, *EYE_LEFT, *RIGID, *JAW, *SIDES]))
    knots, values = goal[anchors, :2], source[anchors, :2]
    _, unique = np.unique(knots.round(2), axis=0, return_index=True)
    knots, values = knots[np.sort(unique)], values[np.sort(unique)]
    scale, turn, shift = similarity(knots, values)
    h, w = size
    xs, ys = np.arange(0, w + GRID, GRID), np.arange(0, h + GRID, GRID)
    nodes = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float64)
    residual = RBFInterpolator(knots, values - (scale * knots @ turn.T + shift), kernel="linear", smoothing=1.0)(nodes)
    away = np.linalg.norm(nodes[:, None] - knots[None], axis=-1).min(1)
    height = np.linalg.norm(goal[FOREHEAD_TOP, :2] - goal[CHIN, :2])
    placed = scale * nodes @ turn.T + shift + residual * np.exp(-((away / (FALLOFF * height)) ** 2))[:, None]
    grid = placed.reshape(len(ys), len(xs), 2).astype(np.float32)
    x, y = np.meshgrid((np.arange(w) + 0.5) / GRID, (np.arange(h) + 0.5) / GRID)
    return cv2.remap(grid, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
