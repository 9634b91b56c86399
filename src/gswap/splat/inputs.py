"""What every rasteriser asks of its inputs, checked once at the door."""

from __future__ import annotations

from typing import Any

from gswap.foundation.errors import InputError
from gswap.foundation.types import Camera

INPUTS = ("means", "quats", "scales", "opacities", "features")
MAX_CHANNELS = 32
MAX_SIDE = 16384
"""Largest image width or height in pixels: tile indices are kept in 16 bits."""


def check(means: Any, quats: Any, scales: Any, opacities: Any, features: Any, camera: Camera) -> None:
    """Refuse tensors whose shapes, types or devices do not belong together.

    Raises:
        InputError: With the name of the tensor, what was expected and what was found.
    """
    n = means.shape[0] if means.ndim == 2 else -1
    expected = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,)}
    tensors = {"means": means, "quats": quats, "scales": scales, "opacities": opacities}
    for name, shape in expected.items():
        found = tuple(tensors[name].shape)
        if found != shape:
            wanted = tuple("n" if s < 0 else s for s in shape)
            raise InputError(f"Rasteriser: {name} should have the shape {wanted}, found {found}.")
    if features.ndim != 2 or features.shape[0] != n or not 1 <= features.shape[1] <= MAX_CHANNELS:
        raise InputError(
            f"Rasteriser: features should have the shape ({n}, 1 to {MAX_CHANNELS}), found {tuple(features.shape)}."
        )
    for name, tensor in {**tensors, "features": features}.items():
        if tensor.dtype != means.dtype or tensor.device != means.device or not tensor.is_floating_point():
            raise InputError(
                f"Rasteriser: {name} should be floating point, of one type and on one device with means "
                f"({means.dtype}, {means.device}), found {tensor.dtype}, {tensor.device}."
            )
    check_camera(camera)


def check_camera(camera: Camera) -> None:
    """Refuse a camera that has no image or no focal length.

    Raises:
        InputError: With what was expected and what was found.
    """
    if not (0 < camera.width <= MAX_SIDE and 0 < camera.height <= MAX_SIDE):
        raise InputError(
            f"Rasteriser: the image should be 1 to {MAX_SIDE} pixels wide and high, "
            f"found {camera.width} x {camera.height}."
        )
    if not (0 < camera.focal < float("inf") and abs(camera.cx) < float("inf") and abs(camera.cy) < float("inf")):
        raise InputError(
            f"Rasteriser: the camera should have a positive focal length and a finite principal point, "
            f"found f = {camera.focal}, c = ({camera.cx}, {camera.cy})."
        )


def not_finite(name: str) -> InputError:
    """The error for NaN or infinity in the tensor called ``name``."""
    return InputError(
        f"Rasteriser: {name} should be finite, found NaN or infinity.",
        hint="An optimisation that diverged is the usual cause: lower its learning rates.",
    )
