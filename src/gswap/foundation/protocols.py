"""The seams of the system: one small interface per kind of exchangeable part."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.types import BodyShape, BodyTrack, Camera, Masks, PosedMesh, RgbImage, SoftMask


class RestBody(Protocol):
    """A body of given shape in its rest pose, without facial actions."""

    @property
    def vertices(self) -> Float[np.ndarray, "v 3"]:
        """Rest vertices, metres, rest frame (see ``foundation.types``)."""
        ...

    @property
    def joints(self) -> Float[np.ndarray, "j 3"]:
        """Rest joints, metres, ordered as the model's joints."""
        ...


class BodyModel(Protocol):
    """A parametric body (Anny, SMPL-X): topology, shape space, facial actions and skinning."""

    name: str
    faces: Int[np.ndarray, "f 3"]
    face_uv: Float[np.ndarray, "f 3 2"]
    """Texture coordinates of the corners of every face, v up, in [0, 1]."""
    part: Int[np.ndarray, "v"]
    """Connected component of each vertex: 0 skin (with mouth cavity), 1 tongue, 2 left eyeball, 3 right eyeball."""
    head_weight: Float[np.ndarray, "v"]
    neck_weight: Float[np.ndarray, "v"]
    torso_weight: Float[np.ndarray, "v"]
    """Summed skinning weights of the head (with eyes), of the neck joints and of the rest; they add up to 1."""
    action_names: tuple[str, ...]
    """Names of the facial actions (ARKit's 52 for Anny)."""
    landmark_triangles: Int[np.ndarray, "478 3"]
    landmark_barycentric: Float[np.ndarray, "478 3"]
    landmark_spread: Float[np.ndarray, "478"]
    """Metres: how far the landmark wanders over the surface from face to face. Large = trust less."""
    head_joint: int

    def neutral_shape(self) -> BodyShape:
        """The mean person."""
        ...

    def rest(self, shape: BodyShape) -> RestBody:
        """Shape -> rest vertices and joints."""
        ...

    def pose(self, track: BodyTrack, rest: RestBody, t: int) -> PosedMesh:
        """Vertices of image ``t`` in its camera, and the linear part of their skinning."""
        ...


class Rasterizer(Protocol):
    """Splats N-channel Gaussians (eq. 8). Tensors are torch's; see ``gswap.splat.reference`` for the specification."""

    def __call__(
        self, means: Any, quats: Any, scales: Any, opacities: Any, features: Any, camera: Camera, /
    ) -> tuple[Any, Any]:
        """Return ``(feature_image (c, h, w) premultiplied, alpha (h, w))``."""
        ...


class Embedder(Protocol):
    """Face identity."""

    def __call__(self, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> Float[np.ndarray, "d"]:
        """Embedding of the face with these landmarks."""
        ...


class HeadParser(Protocol):
    """Head, neck and person masks of one image."""

    def __call__(self, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> Masks:
        """Soft masks, in the image's size, of the person with these landmarks (pixels of the image)."""
        ...


class PersonMatte(Protocol):
    """Soft matte of every person in an image."""

    def __call__(self, image: RgbImage) -> SoftMask:
        """255 = person."""
        ...


class Inpainter(Protocol):
    """Fills a hole from its surroundings."""

    def __call__(self, image: RgbImage, hole: SoftMask) -> RgbImage:
        """Image with the pixels of ``hole`` (> 0) replaced."""
        ...


class Upscaler(Protocol):
    """Super-resolution."""

    scale: int
    """How many times wider and higher the result is."""

    def __call__(self, image: RgbImage) -> RgbImage:
        """The image at ``scale`` times its size."""
        ...
