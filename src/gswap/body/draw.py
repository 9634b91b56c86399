"""Pictures that show a fit: the shaded mesh over the frame, landmarks, and a confidence bar."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.landmarks import IRIS_LEFT, IRIS_RIGHT
from gswap.foundation.protocols import BodyModel
from gswap.foundation.raster import interpolate, rasterize_mesh
from gswap.foundation.types import Camera, PosedMesh, RgbImage

HEAD_TINT = (120.0, 190.0, 255.0)
TORSO_TINT = (190.0, 170.0, 230.0)
EYE_TINT = (250.0, 250.0, 250.0)
LANDMARK, IRIS = (60, 230, 60), (255, 70, 70)
LIGHT = np.array([0.3, -0.4, -0.866])
"""Direction towards the light, camera frame."""
BAR_HEIGHT = 6


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: np.ndarray) -> Float[np.ndarray, "v 3"]:
    """Unit normals, area-weighted over the faces around each vertex."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def draw_overlay(
    rgb: RgbImage,
    mesh: PosedMesh,
    model: BodyModel,
    camera: Camera,
    landmarks: Float[np.ndarray, "478 3"] | None = None,
    confidence: float | None = None,
    *,
    opacity: float = 0.6,
) -> RgbImage:
    """Half-transparent shaded mesh over a picture.

    Args:
        rgb: The picture.
        mesh: The posed body.
        model: Its topology.
        camera: Camera of the picture.
        landmarks: Detected landmarks to draw as dots, pixels.
        confidence: Shown as a bar along the upper edge, from red (0) to green (1).
        opacity: Of the mesh.
    """
    fragments = rasterize_mesh(mesh.vertices, model.faces, camera)
    seen = fragments.face >= 0
    normal = interpolate(fragments, model.faces, vertex_normals(mesh.vertices, model.faces))
    head = interpolate(fragments, model.faces, model.head_weight)[:, None]
    tint = head * np.array(HEAD_TINT) + (1 - head) * np.array(TORSO_TINT)
    tint[model.part[model.faces[fragments.face[seen], 0]] >= 2] = EYE_TINT
    light = 0.3 + 0.7 * np.clip(normal @ LIGHT, 0, 1)[:, None]
    out = rgb.astype(np.float32)
    out[seen] = (1 - opacity) * out[seen] + opacity * light * tint
    image = np.clip(out, 0, 255).astype(np.uint8)
    if landmarks is not None:
        draw_landmarks(image, landmarks)
    if confidence is not None:
        share = float(np.clip(confidence, 0, 1))
        colour = (int(255 * (1 - share)), int(220 * share), 60)
        image[:BAR_HEIGHT, : round(share * image.shape[1])] = colour
    return image


def draw_landmarks(image: RgbImage, landmarks: Float[np.ndarray, "n 3"]) -> None:
    """Dots at landmarks, irises in red; drawn into ``image``."""
    for i, (x, y) in enumerate(landmarks[:, :2]):
        if np.isfinite(x) and np.isfinite(y):
            colour = IRIS if i in IRIS_RIGHT or i in IRIS_LEFT else LANDMARK
            centre = (round((x - 0.5) * 16), round((y - 0.5) * 16))
            cv2.circle(image, centre, 16, colour, -1, cv2.LINE_AA, 4)
