"""A tiny head swap whose every part is known: an Anny head of flat colours over a torso, rendered from its mesh."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch

from gswap.body.models.anny import AnnyModel, load_anny
from gswap.foundation.errors import DeviceError
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import BodyTrack, Camera, SwapSet, TargetSet, Window
from gswap.portrait.config import FitConfig
from gswap.portrait.fit import fit_portrait
from gswap.splat import get_rasterizer

SIDE, FRAMES, FOCAL, OVERSAMPLING = 64, 6, 170.0, 3
COLORS = {"old": (120, 120, 120), "new": (215, 150, 110), "neck": (190, 120, 90), "torso": (40, 60, 160)}
LIPS = (190, 40, 60)


@dataclass(frozen=True)
class Scene:
    model: AnnyModel
    track: BodyTrack
    target: TargetSet
    swap: SwapSet


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def rasterize():
    try:
        return get_rasterizer("cpu")
    except DeviceError:  # no compiler: the specification itself, slower
        return get_rasterizer("reference")


@pytest.fixture(scope="session")
def tiny_config() -> FitConfig:
    return FitConfig(
        coarse_steps=30, fine_steps=10, coarse_side=32, texels=40, checkpoint_every=20, preview_every=20, seed=3
    )


def make_track(model: AnnyModel, frames: int) -> BodyTrack:
    phase = np.linspace(0, 1, frames)
    actions = np.zeros((frames, len(model.action_names)))
    actions[:, model.action_names.index("jawOpen")] = 0.6 * phase
    actions[-1, model.action_names.index("eyeBlinkLeft")] = 1.0
    rotation = np.stack([0 * phase, 0.25 * (phase - 0.5), 0.1 * phase], 1)
    return BodyTrack(
        shape=model.neutral_shape(),
        focal=np.full(frames, FOCAL),
        rotation=rotation,
        translation=np.tile([0.0, 0.02, 0.85], (frames, 1)),
        neck=np.zeros((frames, 3)),
        eyes=np.zeros((frames, 2, 3)),
        actions=actions,
        valid=np.ones(frames, bool),
        confidence=np.ones(frames),
        residual=np.zeros(frames),
        sizes=np.tile([SIDE, SIDE], (frames, 1)),
    )


def render_parts(model: AnnyModel, track: BodyTrack, t: int) -> dict[str, np.ndarray]:
    """Soft coverage of head, neck and torso, and of the lips, by supersampling."""
    n = SIDE * OVERSAMPLING
    camera = Camera(FOCAL * OVERSAMPLING, n / 2, n / 2, n, n)
    mesh = model.pose(track, model.rest(track.shape), t)
    seen = rasterize_mesh(mesh.vertices, model.faces, camera).face
    weights = np.stack([model.head_weight, model.neck_weight, model.torso_weight], 1)[model.faces].mean(1)
    owner = weights.argmax(1)
    lips = model.regions["lips"][model.faces].mean(1) > 0.5
    small = lambda x: cv2.resize(x.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # noqa: E731
    hit = seen >= 0
    parts = {name: small(hit & (owner[seen] == k)) for k, name in enumerate(("head", "neck", "torso"))}
    return parts | {"lips": small(hit & lips[seen])}


def backdrop() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return np.stack([60 + 40 * x, 140 + 60 * y, 90 + 0 * x], -1)


def make_scene(frames: int = FRAMES) -> Scene:
    model = load_anny()
    track = make_track(model, frames)
    stores: dict[str, list[np.ndarray]] = {}

    def keep(name: str, image: np.ndarray) -> None:
        stores.setdefault(name, []).append(np.round(image).clip(0, 255).astype(np.uint8))

    for t in range(frames):
        parts = render_parts(model, track, t)
        cover = {name: part[..., None] for name, part in parts.items()}
        plate = backdrop() * (1 - cover["torso"]) + np.array(COLORS["torso"]) * cover["torso"]
        head = np.array(COLORS["new"]) * (1 - cover["lips"]) + np.array(LIPS) * cover["lips"]
        rest = 1 - cover["head"] - cover["neck"]
        both = plate * rest
        keep("plate", plate)
        keep("old", both + np.array(COLORS["old"]) * cover["head"] + np.array(COLORS["neck"]) * cover["neck"])
        keep("new", both + head * cover["head"] + np.array(COLORS["neck"]) * cover["neck"])
        keep("head", 255 * parts["head"])
        keep("neck", 255 * parts["neck"])
        keep("person", 255 * (parts["head"] + parts["neck"] + parts["torso"]))
        keep("sure", np.full((SIDE, SIDE), 255.0))
    window = Window(np.zeros(frames, int), np.zeros(frames, int), SIDE, SIDE)
    target = TargetSet(window, stores["old"], stores["head"], stores["neck"], stores["person"], stores["plate"])
    swap = SwapSet(stores["new"], stores["head"], stores["neck"], stores["plate"], stores["sure"])
    return Scene(model, track, target, swap)


@pytest.fixture(scope="session")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="session")
def fitted(scene, rasterize):
    """A portrait fitted at full size, and the reconstruction loss of every step."""
    cfg = FitConfig(coarse_steps=0, fine_steps=200, coarse_side=SIDE, texels=40, seed=1)
    notes: list[float] = []
    portrait = fit_portrait(
        scene.target,
        scene.swap,
        scene.track,
        scene.model,
        cfg,
        rasterize=rasterize,
        progress=lambda done, total, note="": notes.append(float(note.split()[-1])),
    )
    return portrait, notes
