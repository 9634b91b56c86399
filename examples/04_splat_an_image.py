"""The differentiable splatter alone: Gaussians learn a picture by gradient descent (eq. 8)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gswap.foundation.types import Camera
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.splat import get_rasterizer


def main(folder: Path, count: int = 4000, steps: int = 300, side: int = 192) -> list[float]:
    """Fit Gaussians to a picture; returns the loss of every step."""
    picture = render(make_person(7), Pose(), make_scene(3), side).rgb
    wanted = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    camera = Camera(focal=float(side), cx=side / 2, cy=side / 2, width=side, height=side)
    rasterize = get_rasterizer()

    generator = torch.Generator().manual_seed(0)
    plane = torch.rand(count, 3, generator=generator) - 0.5
    means = torch.stack([plane[:, 0], plane[:, 1], 1 + 0.1 * plane[:, 2]], 1).requires_grad_()
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1).requires_grad_()
    log_scales = torch.full((count, 3), -4.5).requires_grad_()
    opacity_logits = torch.zeros(count).requires_grad_()
    colors = torch.full((count, 3), 0.5).requires_grad_()
    optimizer = torch.optim.Adam(
        [
            {"params": [means], "lr": 5e-4},
            {"params": [quats, log_scales, opacity_logits, colors], "lr": 2e-2},
        ]
    )
    losses = []
    image = torch.zeros_like(wanted)
    for _ in range(steps):
        image, _alpha = rasterize(means, quats, log_scales.exp(), opacity_logits.sigmoid(), colors, camera)
        loss = (image - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    folder.mkdir(parents=True, exist_ok=True)
    learnt = (image.detach().clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(np.concatenate([picture, learnt], axis=1)).save(folder / "splat.png")
    print(f"L1 {losses[0]:.3f} -> {losses[-1]:.3f}")
    return losses


if __name__ == "__main__":
    main(Path(sys.argv[1]))
