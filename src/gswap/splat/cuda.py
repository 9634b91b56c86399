"""The rasteriser on CUDA: gsplat behind our interface. Semantics in ``splat.reference``.

gsplat composites from its own kernels, so results agree to about 2e-3 where a pixel lies at a threshold, and its
gradients are added up in no fixed order.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gswap.foundation.errors import DeviceError, InputError, MissingExtraError
from gswap.foundation.types import Camera
from gswap.splat.inputs import INPUTS, check, not_finite
from gswap.splat.reference import EPS_2D, NEAR

FAR = 1e10
"""Metres: nothing is too far away."""


def require() -> None:
    """Refuse to go on where splatting cannot work.

    Raises:
        DeviceError: There is no CUDA device.
        MissingExtraError: gsplat is not installed.
    """
    if not torch.cuda.is_available():
        raise DeviceError(
            "The rasteriser 'cuda' needs a CUDA device; torch finds none.",
            hint="Use 'cpu', or install the CUDA build of torch on a machine with an NVIDIA GPU.",
        )
    if importlib.util.find_spec("gsplat") is None:
        raise MissingExtraError("The rasteriser 'cuda'", "cuda")


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
    """Splat Gaussians on a CUDA device; see :func:`gswap.splat.reference.rasterize`.

    Raises:
        InputError: Shapes, types or devices do not match (float32 on CUDA is expected), or a value is not finite.
        DeviceError: There is no CUDA device.
        MissingExtraError: gsplat is not installed.
    """
    require()
    check(means, quats, scales, opacities, features, camera)
    images, alphas = rasterize_batch(
        means[None], quats[None], scales[None], opacities[None], features[None], [camera], near=near
    )
    return images[0], alphas[0]


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
    """Splat one set of Gaussians per camera in one call; all images have one size. A leading 1 is broadcast.

    Raises:
        InputError: As :func:`rasterize`, or the batch sizes or image sizes differ.
    """
    require()
    from gsplat import rasterization  # type: ignore[import-not-found]

    count = len(cameras)
    tensors = (means, quats, scales, opacities, features)
    if count == 0 or any(t.shape[0] not in (1, count) for t in tensors):
        raise InputError(f"Rasteriser: a batch of {count} cameras needs tensors with a leading 1 or {count}.")
    if len({(camera.width, camera.height) for camera in cameras}) > 1:
        raise InputError("Rasteriser: the cameras of a batch should have one image size.")
    if means.dtype != torch.float32 or means.device.type != "cuda":
        raise InputError(
            f"The rasteriser 'cuda' takes float32 tensors on a CUDA device, found {means.dtype} on {means.device}."
        )
    for name, tensor in zip(INPUTS, tensors, strict=True):
        if not bool(torch.isfinite(tensor).all()):
            raise not_finite(name)
    height, width = cameras[0].height, cameras[0].width
    if means.shape[1] == 0:
        nothing = sum(tensor.sum() for tensor in tensors)  # an image in which nothing is drawn still has gradients
        plane = means.new_zeros(count, height, width) + nothing
        return means.new_zeros(count, features.shape[-1], height, width) + nothing, plane
    spread = [t.expand(count, *t.shape[1:]) for t in tensors]
    intrinsics = means.new_tensor([[[c.focal, 0, c.cx], [0, c.focal, c.cy], [0, 0, 1]] for c in cameras])
    # Each frame has Gaussians of its own: the batch is gsplat's leading dimension, with one camera in each.
    images, alphas, _ = rasterization(
        *spread[:4],
        spread[4],
        viewmats=torch.eye(4, device=means.device).expand(count, 1, 4, 4).contiguous(),
        Ks=intrinsics[:, None],
        width=width,
        height=height,
        near_plane=near,
        far_plane=FAR,
        radius_clip=0.0,
        eps2d=EPS_2D,
        sh_degree=None,
        packed=False,
        render_mode="RGB",
        rasterize_mode="classic",
    )
    return images[:, 0].permute(0, 3, 1, 2), alphas[:, 0, :, :, 0]
