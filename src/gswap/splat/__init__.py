"""Differentiable N-channel Gaussian splatting (eq. 8): one specification, one CPU kernel, one CUDA adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gswap.foundation.protocols import Rasterizer


def get_rasterizer(name: str = "auto") -> Rasterizer:
    """Return the rasteriser called ``name``: ``auto``, ``cpu``, ``reference`` or ``cuda``.

    ``auto`` is the native CPU kernel, or the plain-torch reference with one warning where the kernel is not built.

    Raises:
        UsageError: There is no rasteriser of that name.
        DeviceError: The rasteriser needs a device or a native kernel that is not there.
        MissingExtraError: ``cuda`` without gsplat.
    """
    from gswap.splat.registry import get_rasterizer as find

    return find(name)
