"""Images of an unsteady generator, made from I_gen: what diffusion does and our swapper does not (Fig. 10).

Every frame's head is turned, shifted and scaled a little about its own place, and tinted, independently of the frame
before: misaligned poses and inconsistent colours, with a known steady original to compare with.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.store import PngStore, read_face_track, write_json
from gswap.foundation.types import SwapFrame, SwapSet
from gswap.pipeline.runner import Step, StepContext
from gswap.pipeline.steps import swap

TURN, SHIFT, SCALE = 2.0, 0.012, 0.015
"""Standard deviations: degrees, shares of the window's width, and of the size."""
GAIN, TINT = 0.06, 0.03
"""Standard deviations of a frame's brightness, and of its channels."""


def unsteady_step(made: dict[str, Path], seed: int) -> Step:
    """A step that takes the swapper's place: I_gen of a finished job, made unsteady.

    Args:
        made: Folders of that job.
        seed: Of the unsteadiness.
    """

    def run(context: StepContext) -> None:
        count = len(read_face_track(made["perceive"] / "faces.safetensors"))
        images = swap.load_swap(made, count)
        stores = {name: PngStore(context.folder / name, count) for name in swap.STORES}
        rgb = PngStore(made["swap"] / "rgb", count)
        for t in range(count):
            if t in rgb and not all(t in store for store in stores.values()):
                frame = disturbed(images, t, seed)
                for name, store in stores.items():
                    store.write(t, getattr(frame, name))
            context.progress(t + 1, count, "unsteady I_gen")
        write_json(context.folder / "swap.json", {"advice": []})
        write_json(context.folder / "choices.json", {})
        context.notes |= {"advice": [], "generated": True}

    settings = {"seed": seed, "amounts": [TURN, SHIFT, SCALE, GAIN, TINT], "of": made["swap"].name}
    return dataclasses.replace(swap.STEP, config=lambda job: settings, run=run)


def disturbed(images: SwapSet, t: int, seed: int) -> SwapFrame:
    """Frame ``t`` as an unsteady generator would have made it, over the same plate."""
    random = np.random.default_rng((seed, t))
    rgb, head, neck, plate = images.rgb[t], images.head[t], images.neck[t], images.plate[t]
    height, width = head.shape
    ys, xs = np.nonzero(head > 127)
    centre = (float(xs.mean()), float(ys.mean())) if len(xs) else (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(centre, TURN * random.normal(), float(np.exp(SCALE * random.normal())))
    matrix[:, 2] += SHIFT * width * random.normal(size=2)
    colour = np.exp(GAIN * random.normal() + TINT * random.normal(size=3))

    def moved(image: np.ndarray, border: int) -> np.ndarray:
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border))

    painted = (moved(rgb, cv2.BORDER_REPLICATE) * colour).clip(0, 255)
    mattes = [moved(mask, cv2.BORDER_CONSTANT) for mask in (head, neck)]
    cover = np.maximum(*mattes)[..., None] / 255
    mixed = np.round(painted * cover + plate * (1 - cover)).astype(np.uint8)
    return SwapFrame(mixed, mattes[0], mattes[1], plate, images.confidence[t])
