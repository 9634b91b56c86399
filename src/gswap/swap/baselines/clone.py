"""The classic face swap: one photo's face, bent by its landmarks and cloned seamlessly into the frame.

Piecewise warp and Poisson blending (Perez et al. 2003) inside the face's outline. Hair, ears, neck and the shape of
the head stay the target's: the floor of what a face swapper does.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import disc, fill_polygon
from gswap.foundation.landmarks import LIPS_INNER
from gswap.foundation.types import SoftMask, SwapFrame
from gswap.swap.baselines.warp import WarpSwapper, warp_map

INSET = 0.03
"""The cloned face ends this far inside the landmarks' hull, in face widths: the hull's rim is background in a turn."""
LEAST_FACE = 64
"""Pixels of mask below which nothing is cloned."""


class CloneSwapper(WarpSwapper):
    """Landmark warp and seamless clone of the face, for comparison.

    Args:
        target: The clip in its work window.
        target_faces: Its landmarks, in full-frame pixels.
        photos: The source photos.
        photo_faces: Their landmarks.

    Raises:
        InputError: No photo has a face.
    """

    def frame(self, t: int) -> SwapFrame:
        """Clone the best photo's face into frame ``t``. ``head`` is the cloned area; the plate is the frame itself.

        Raises:
            InputError: The target's face is not seen in this frame.
        """
        points, chosen, moved = self.choose(t)
        scene = self.target.rgb[t]
        mapping = warp_map(moved, points, self.people.landmarks[chosen], (scene.shape[0], scene.shape[1]))
        shifted = (mapping - 0.5).astype(np.float32)
        face = cv2.remap(
            self.photos.rgb[chosen], shifted[..., 0], shifted[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        mask = face_mask(points, scene.shape[0], scene.shape[1])
        # Between the lips the target's own mouth stays: a photo's closed mouth has nothing to show there.
        mask[fill_polygon(points[list(LIPS_INNER), :2], *mask.shape) > 0.5] = 0
        cloned = scene
        if np.count_nonzero(mask) > LEAST_FACE:
            x, y, width, height = cv2.boundingRect(mask)
            centre = (x + width // 2, y + height // 2)
            cloned = cv2.seamlessClone(face, scene, mask.copy(), centre, cv2.NORMAL_CLONE)  # it overwrites the mask
        return SwapFrame(cloned, mask, np.zeros_like(mask), scene, np.full_like(mask, 255))


def face_mask(points: Float[np.ndarray, "478 3"], height: int, width: int) -> SoftMask:
    """The face's outline, a little inside the landmarks' hull, clear of the picture's rim; 0 or 255."""
    hull = cv2.convexHull(points[:468, :2].astype(np.float32))[:, 0]
    mask = (fill_polygon(hull, height, width) > 0.5).astype(np.uint8) * 255
    inset = 2 * max(round(INSET * float(np.ptp(points[:468, 0]))), 1) + 1
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0
    return cv2.erode(mask, disc(inset)).astype(np.uint8)
