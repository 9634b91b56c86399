"""The rasteriser on the CPU: our native kernel behind autograd. float32; semantics in ``splat.reference``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gswap.foundation.errors import DeviceError, InputError
from gswap.foundation.types import Camera
from gswap.splat.inputs import INPUTS, check, not_finite
from gswap.splat.reference import NEAR

try:
    from gswap.native import _native  # type: ignore[attr-defined]
except ImportError:  # no wheel for this platform and no compiler at install time
    _native = None


def require() -> None:
    """Raise a DeviceError where the native kernel is not built."""
    if _native is None:
        raise DeviceError(
            "The rasteriser 'cpu' needs gswap's native kernel, which is not built.",
            hint="Install a wheel of gswap, or a C++17 compiler and then gswap from source: pip install gswap",
        )


def rasterize(
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    features: Float[Tensor, "n c"],
    camera: Camera,
    *,
    near: float = NEAR,
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "h w"]]:
    """Splat Gaussians on the CPU; see :func:`gswap.splat.reference.rasterize`.

    The result is the same bits for any number of threads. Gradients are exact for all five tensors.

    Raises:
        InputError: Shapes or types do not match (float32 on the CPU is expected), or a value is not finite.
        DeviceError: The native kernel is not built.
    """
    require()
    check(means, quats, scales, opacities, features, camera)
    if means.dtype != torch.float32 or means.device.type != "cpu":
        raise InputError(
            f"The rasteriser 'cpu' takes float32 tensors on the CPU, found {means.dtype} on {means.device}.",
            hint="Use 'reference' for other types and devices.",
        )
    return _Splat.apply(means, quats, scales, opacities, features, camera, near)  # type: ignore[return-value]


def rasterize_batch(
    means: Float[Tensor, "b n 3"],
    quats: Float[Tensor, "b n 4"],
    scales: Float[Tensor, "b n 3"],
    opacities: Float[Tensor, "b n"],
    features: Float[Tensor, "b n c"],
    cameras: Sequence[Camera],
    *,
    near: float = NEAR,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b h w"]]:
    """Splat one set of Gaussians per camera; all images have one size. A leading 1 is broadcast (no copy).

    Raises:
        InputError: As :func:`rasterize`; the batch sizes or image sizes differ; or there is no camera.
    """
    count = len(cameras)
    tensors = (means, quats, scales, opacities, features)
    if count == 0 or any(t.ndim < 2 or t.shape[0] not in (1, count) for t in tensors):
        raise InputError(
            f"Rasteriser: a batch of {count} cameras needs tensors with a leading dimension of 1 or {count}, "
            f"found {[tuple(t.shape) for t in tensors]}."
        )
    if len({(camera.width, camera.height) for camera in cameras}) > 1:
        raise InputError("Rasteriser: the cameras of a batch should have one image size.")
    images, alphas = [], []
    for b, camera in enumerate(cameras):
        m, q, s, o, f = (t[b if t.shape[0] > 1 else 0] for t in tensors)
        image, alpha = rasterize(m, q, s, o, f, camera, near=near)
        images.append(image)
        alphas.append(alpha)
    return torch.stack(images), torch.stack(alphas)


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        *tensors, camera, near = arguments
        keep = any(ctx.needs_input_grad)
        plain = [t.detach().contiguous() for t in tensors]
        view = (camera.focal, camera.cx, camera.cy, camera.width, camera.height)
        try:
            image, alpha, frame = _native.splat_forward(*plain, view, near, keep)  # type: ignore[union-attr]
        except ValueError as error:
            if str(error) in INPUTS:
                raise not_finite(str(error)) from None
            raise InputError(f"Rasteriser: {error}") from None
        ctx.frame = frame
        ctx.save_for_backward(*plain)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # type: ignore[override]
        d_image, d_alpha = (g.contiguous() for g in grad_outputs)
        plain = ctx.saved_tensors
        return (*_native.splat_backward(ctx.frame, *plain, d_image, d_alpha), None, None)  # type: ignore[union-attr]
