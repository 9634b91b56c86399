"""What the field is too coarse or too stiff for, taken from I_gen.

Texture: the high frequencies of I_gen, where its low frequencies agree with the field. Tint, shading and pose stay the
field's. Eyes and mouth: teeth, tongue and lids in fast motion are no surface with one colour per point; they are taken
whole, over a seam that hides any difference of tint.

Only possible where I_gen exists for the frame (the same clip, offline).
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.geometry import project
from gswap.foundation.imaging import FloatImage, FloatMask, blend_multiband, blur, disc
from gswap.foundation.landmarks import EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import Camera, PosedMesh

MOUTH_CORNERS = (61, 291)
SIGMAS = (0.0062, 0.0031)
"""Standard deviations of the low-passes, in units of the image's longer side (3 and 1.5 px at 480), at least one
pixel. The coarser one comes first: strands of hair that the field has smeared disagree at the finer one."""
TOLERANCE = 10.0
"""Levels of 255: difference of the low frequencies at which the weight has fallen to 1/e."""
LIP_BAND = 0.06
"""Half width of the band along the inner lips that takes no detail, in units of the mouth's width: a warped photo has
jagged lip edges, which the field has smoothed."""
EYE_REACH = 0.4
"""How far around the lids the eyes are taken, in widths of the eye."""
MOUTH_REACH = 0.05
"""How far around the lips the mouth is taken, in widths of the mouth."""
SEAM = 0.35
"""Gaussian of the edge of both areas, in units of their reach."""
BLEND_LEVELS = 3
"""Octaves of the seam."""


def transfer_detail(
    image: FloatImage, generated: FloatImage, weight: FloatMask, unit: float
) -> Float[np.ndarray, "h w 3"]:
    """Add what ``generated`` has above the low-passes and ``image`` has not, one low-pass after the other.

    Args:
        image: Rendered portrait, levels 0-255, float32.
        generated: I_gen, the same.
        weight: How much to take, in [0, 1]; it is lowered further where the low frequencies differ.
        unit: Longer side of the window in pixels.
    """
    for sigma in (max(share * unit, 1.0) for share in SIGMAS):
        low_image, low_generated = blur(image, sigma), blur(generated, sigma)
        difference = blur(np.abs(low_image - low_generated).mean(2), 4 / 3 * sigma)
        agreement = weight * np.exp(-((difference / TOLERANCE) ** 2))
        image = image + agreement[..., None] * ((generated - low_generated) - (image - low_image))
    return image


def transfer_parts(image: FloatImage, generated: FloatImage, parts: FloatMask) -> Float[np.ndarray, "h w 3"]:
    """Eyes and mouth of ``generated`` in ``image``, blended octave by octave (levels 0-255, float32)."""
    return blend_multiband(image, generated, parts, BLEND_LEVELS)


def lively_parts(mesh: PosedMesh, model: BodyModel, camera: Camera) -> FloatMask:
    """1 over eyes and mouth, softly falling to 0 around them."""
    landmarks = _landmarks(mesh, model, camera)
    out = np.zeros((camera.height, camera.width), np.float32)
    for ring, reach in ((EYE_RIGHT, EYE_REACH), (EYE_LEFT, EYE_REACH), (LIPS_OUTER, MOUTH_REACH)):
        points = landmarks[list(ring)]
        margin = reach * float(np.ptp(points[:, 0]))
        area = np.zeros(out.shape, np.uint8)
        cv2.fillConvexPoly(area, np.round(cv2.convexHull(points.astype(np.float32))).astype(np.int32), (1,))
        grown = cv2.dilate(area, disc(2 * margin + 1)).astype(np.float32)
        out = np.maximum(out, blur(grown, max(SEAM * margin, 0.8)))
    return out


def _landmarks(mesh: PosedMesh, model: BodyModel, camera: Camera) -> Float[np.ndarray, "478 2"]:
    corners = mesh.vertices[model.landmark_triangles]
    return project((corners * model.landmark_barycentric[..., None]).sum(1), camera)


def lip_band(mesh: PosedMesh, model: BodyModel, camera: Camera) -> FloatMask:
    """1 along the inner contour of the lips, 0 elsewhere."""
    landmarks = _landmarks(mesh, model, camera)
    width = float(np.linalg.norm(landmarks[MOUTH_CORNERS[0]] - landmarks[MOUTH_CORNERS[1]]))
    half = LIP_BAND * width
    band = np.zeros((camera.height, camera.width), np.uint8)
    ring = np.round((landmarks[list(LIPS_INNER)] - 0.5) * 16).astype(np.int32)
    cv2.polylines(band, [ring], True, (255,), max(round(2 * half), 1), cv2.LINE_AA, 4)
    return blur(band.astype(np.float32) / 255, half / 2)
