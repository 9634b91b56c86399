"""The specification of the rasteriser in plain torch: any device, any floating type, differentiable by autograd.

Projection and compositing are those of 3D Gaussian splatting (arXiv 2308.04079, eq. 4-6 and 3; paper eq. 8) with the
constants of gsplat. The other rasterisers must agree with this one; it is also what runs, slowly, where the native
kernel is not built.

A Gaussian ``i`` with camera-frame mean ``m``, rotation ``R``, scales ``s`` and opacity ``o`` becomes the 2-D Gaussian
with mean ``mu = f (m_x, m_y) / m_z + c`` and covariance ``S = J R diag(s)^2 R^T J^T + EPS_2D I``. In depth order,

    ``alpha_i(p) = min(ALPHA_MAX, o_i exp(-(p - mu_i)^T S_i^-1 (p - mu_i) / 2))``, skipped below ``ALPHA_MIN``;
    ``T_i = prod_{j < i} (1 - alpha_j)``; a pixel stops before the first ``i`` with ``T_{i+1} <= T_MIN``;
    ``image(p) = sum_i T_i alpha_i f_i``; ``alpha(p) = 1 - T_end``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gswap.foundation.types import Camera
from gswap.splat.inputs import check, not_finite

EPS_2D = 0.3
"""Square pixels added to both variances: no Gaussian is thinner than a pixel's footprint."""
ALPHA_MIN = 1.0 / 255.0
ALPHA_MAX = 0.999
T_MIN = 1e-4
FRUSTUM_MARGIN = 0.3
"""The Jacobian is evaluated no farther outside the image than this fraction of its half width."""
NEAR = 0.01
"""Default near plane, metres."""
TILE = 16
"""Side of the square of pixels composited at once; it changes memory and time, not the result."""


class Projected(NamedTuple):
    """Gaussians in the image, those that can touch a pixel only, nearest first."""

    source: Int[Tensor, "k"]
    """Which of the given Gaussians."""
    mean: Float[Tensor, "k 2"]
    """Pixels."""
    conic: Float[Tensor, "k 3"]
    """Upper triangle (xx, xy, yy) of the inverse covariance, 1/pixel^2."""
    reach: Float[Tensor, "k 2"]
    """Half width and height of the box outside which alpha < ALPHA_MIN, pixels."""


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
    """Splat Gaussians that are given in the camera's frame.

    Args:
        means: Centres, metres, OpenCV camera frame.
        quats: Rotations ``wxyz`` of any norm.
        scales: Standard deviations along the rotated axes, metres.
        opacities: In [0, 1].
        features: Any real channels, 1 to 32.
        camera: The image to fill.
        near: Gaussians with a smaller depth (metres) are left out.

    Returns:
        Features premultiplied by alpha, and alpha in [0, 1).

    Raises:
        InputError: Shapes, types or devices do not match, or a value is not finite.
    """
    check(means, quats, scales, opacities, features, camera)
    named = {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "features": features}
    for name, tensor in named.items():
        if not bool(torch.isfinite(tensor).all()):
            raise not_finite(name)
    splats = project(means, quats, scales, opacities, camera, near)
    opacity, feature = opacities[splats.source], features[splats.source]
    tiles_x, tiles_y = -(-camera.width // TILE), -(-camera.height // TILE)
    empty = means.new_zeros(features.shape[1] + 1, TILE, TILE)
    rows = []
    lists = _tile_lists(splats, tiles_x, tiles_y)
    for ty in range(tiles_y):
        row = []
        for tx in range(tiles_x):
            members = lists[ty * tiles_x + tx]
            if len(members) == 0:
                row.append(empty)
                continue
            chosen = Projected(*(field[members] for field in splats))
            image, alpha = composite(chosen, opacity[members], feature[members], (tx * TILE, ty * TILE, TILE, TILE))
            row.append(torch.cat([image, alpha[None]]))
        rows.append(torch.cat(row, 2))
    # A sum over nothing: an image in which nothing is drawn still has (zero) gradients.
    nothing = sum(tensor[:0].sum() for tensor in named.values())
    both = torch.cat(rows, 1)[:, : camera.height, : camera.width] + nothing
    return both[:-1], both[-1]


def rotation_matrices(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Quaternions ``wxyz`` of any norm -> rotation matrices; the zero quaternion is no rotation."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    return torch.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        -1,
    ).reshape(-1, 3, 3)


def project(
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    camera: Camera,
    near: float = NEAR,
) -> Projected:
    """Gaussians -> image Gaussians (EWA splatting: the projection is linearised at the mean), nearest first."""
    index = torch.nonzero((means[:, 2] >= near) & (opacities >= ALPHA_MIN))[:, 0]
    index = index[torch.argsort(means[index, 2].detach(), stable=True)]
    x, y, z = means[index].unbind(-1)
    f = camera.focal
    slope_x, slope_y = x / z, y / z
    mean = torch.stack([f * slope_x + camera.cx, f * slope_y + camera.cy], -1)

    margin_x, margin_y = FRUSTUM_MARGIN * camera.width / (2 * f), FRUSTUM_MARGIN * camera.height / (2 * f)
    slope_x = slope_x.clamp(-camera.cx / f - margin_x, (camera.width - camera.cx) / f + margin_x)
    slope_y = slope_y.clamp(-camera.cy / f - margin_y, (camera.height - camera.cy) / f + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([f / z, zero, -f * slope_x / z, zero, f / z, -f * slope_y / z], -1).reshape(-1, 2, 3)
    row_x, row_y = (jacobian @ (rotation_matrices(quats[index]) * scales[index, None, :])).unbind(1)
    plain_xx, plain_yy = (row_x * row_x).sum(-1), (row_y * row_y).sum(-1)
    xx, xy, yy = plain_xx + EPS_2D, (row_x * row_y).sum(-1), plain_yy + EPS_2D
    # |a|^2 |b|^2 - (a.b)^2 = |a x b|^2: a determinant made of positive terms does not lose thin Gaussians to rounding.
    cross = torch.linalg.cross(row_x, row_y)
    determinant = (cross * cross).sum(-1) + EPS_2D * (plain_xx + plain_yy) + EPS_2D**2
    conic = torch.stack([yy, -xy, xx], -1) / determinant[:, None]

    with torch.no_grad():
        steps = (2 * torch.log(opacities[index] / ALPHA_MIN).clamp_min(0)).sqrt()
        reach = steps[:, None] * torch.stack([xx, yy], -1).sqrt()
        low, high = mean - reach, mean + reach
        size = mean.new_tensor([camera.width, camera.height])
        seen = torch.nonzero(((high > 0) & (low < size)).all(-1))[:, 0]
    return Projected(index[seen], mean[seen], conic[seen], reach[seen])


def composite(
    splats: Projected,
    opacities: Float[Tensor, "k"],
    features: Float[Tensor, "k c"],
    box: tuple[int, int, int, int],
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "h w"]]:
    """Composite ``splats``, nearest first, over the pixels of ``box`` = (x, y, width, height)."""
    x, y, width, height = box
    like = {"dtype": splats.mean.dtype, "device": splats.mean.device}
    dx = (torch.arange(x, x + width, **like) + 0.5)[None] - splats.mean[:, :1]
    dy = (torch.arange(y, y + height, **like) + 0.5)[None] - splats.mean[:, 1:]
    xx, xy, yy = (splats.conic[:, k, None, None] for k in range(3))
    dx, dy = dx[:, None, :], dy[:, :, None]
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = (opacities[:, None, None] * torch.exp(power)).clamp_max(ALPHA_MAX)
    alpha = alpha * (alpha >= ALPHA_MIN)
    # Transmittance only falls, so "the pixel has stopped" is "this or an earlier one passed T_MIN".
    alpha = alpha * (torch.cumprod(1 - alpha.detach(), 0) > T_MIN)
    behind = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(behind[:1]), behind[:-1]])
    return torch.einsum("khw,kc->chw", before * alpha, features), 1 - behind[-1]


def _tile_lists(splats: Projected, tiles_x: int, tiles_y: int) -> tuple[Int[Tensor, "m"], ...]:
    """For each tile, row by row, the positions in ``splats`` of those whose box meets it, nearest first."""
    with torch.no_grad():
        limit = splats.mean.new_tensor([tiles_x, tiles_y])
        first = torch.floor((splats.mean - splats.reach) / TILE).clamp(torch.zeros_like(limit), limit - 1).long()
        last = torch.floor((splats.mean + splats.reach) / TILE).clamp(torch.zeros_like(limit), limit - 1).long()
        width, height = (last - first + 1).unbind(-1)
        count = width * height
        owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        step = torch.arange(len(owner), device=count.device) - (count.cumsum(0) - count)[owner]
        tile = (first[owner, 1] + step // width[owner]) * tiles_x + first[owner, 0] + step % width[owner]
        by_tile = torch.argsort(tile, stable=True)
        sizes = torch.bincount(tile, minlength=tiles_x * tiles_y)
        return torch.split(owner[by_tile], sizes.tolist())
