"""Fit portraits to the frames of their own clips: fidelity on frames that were held out, cost, and novel views.

I_gen is the clip itself, so nothing but the portrait is measured: field, tracking and rerenderer.
"""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gswap.apps.bench.portrait_config import PortraitBenchConfig
from gswap.foundation.errors import InputError, UsageError
from gswap.foundation.types import BodyTrack, ImageStore, SwapSet, TargetSet

if TYPE_CHECKING:
    from gswap.foundation.protocols import BodyModel
    from gswap.pipeline.observer import StepObserver
    from gswap.portrait.config import FitConfig

LANDMARK_SIGMA = 1.0
"""Frames: landmarks are smoothed over time by this much before the surface follows them."""
SOLID = 127
"""Matte above which a pixel belongs to head and neck."""
PERSON, MOTION, FPS = 241, 11, 25
"""Seeds of the synthetic person and of what it does, and its frames a second."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What one clip gave."""

    gaussians: int
    steps: int
    cpu_minutes: float
    """Processor time of the fit."""
    peak_megabytes: float
    """Largest memory of the process so far, tracking and segmentation included where they ran."""
    psnr_held_out: float
    """dB inside head and neck, over the frames that the fit did not see."""
    ssim_held_out: float
    psnr_seen: float
    """The same over as many frames that it saw."""
    ssim_seen: float
    holes: float
    """See :mod:`gswap.portrait.soundness`; percent, views to 30 degrees."""
    floaters: float
    ragged: float


def run(cfg: PortraitBenchConfig, observer: StepObserver) -> dict[str, Any]:
    """Fit and score every clip.

    Args:
        cfg: Which clips, and how.
        observer: Told of the progress.

    Returns:
        File name of a clip -> its :class:`Figures`.

    Raises:
        UsageError: A number is out of range.
        GswapError: A clip cannot be read, or shows nobody.
    """
    from gswap.body.models import load_body
    from gswap.portrait.config import FitConfig

    if cfg.size < 0 or cfg.hold_out < 2 or min(cfg.frames, cfg.threads, cfg.coarse_steps + cfg.fine_steps) < 1:
        raise UsageError("bench portrait: expected a hold-out of 2 or more and positive numbers of frames and steps.")
    fit = FitConfig(coarse_steps=cfg.coarse_steps, fine_steps=cfg.fine_steps, hold_out=cfg.hold_out)
    model = load_body("anny")
    found: dict[str, Any] = {}
    for clip in cfg.clips or (_film(cfg),):
        target, track = _understand(clip, cfg, observer)
        figures = reconstruct(resized(target, cfg.size), track, model, fit, observer)
        found[clip.name] = dataclasses.asdict(figures)
    return {"config": dataclasses.asdict(cfg), "clips": found}


def reconstruct(
    target: TargetSet, track: BodyTrack, model: BodyModel, cfg: FitConfig, observer: StepObserver
) -> Figures:
    """Fit a portrait to a clip's own frames and compare it with those that were held out.

    Args:
        target: The clip.
        track: Its person; frames that are held out are tracked, too.
        model: The body.
        cfg: How it is fitted; ``hold_out`` is not 0.
        observer: Told of the progress.

    Raises:
        InputError: No frame with the person is held out.
    """
    from gswap.portrait.fit import fit_portrait
    from gswap.portrait.soundness import soundness
    from gswap.splat import get_rasterizer

    rasterize = get_rasterizer("auto")
    started = time.process_time()
    portrait = fit_portrait(
        target,
        own_frames(target),
        track,
        model,
        cfg,
        rasterize=rasterize,
        progress=lambda done, total, note="": observer.progress("fit", done, total, note),
    )
    cpu = time.process_time() - started
    visited = portrait.visits > 0
    held_out = np.flatnonzero(track.valid & ~visited)
    if not len(held_out):
        raise InputError("Expected frames with the person among those held out, found none.")
    every = np.flatnonzero(visited)
    seen = every[np.linspace(0, len(every) - 1, min(len(held_out), len(every))).astype(int)]
    scores = [fidelity(portrait, target, track, model, frames.tolist(), rasterize) for frames in (held_out, seen)]
    start = int(np.where(track.valid, track.residual, np.inf).argmin())
    sound = soundness(portrait, track, start, model, rasterize=rasterize)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(
        len(portrait.binding), cfg.coarse_steps + cfg.fine_steps, cpu / 60, peak, *scores[0], *scores[1], *sound
    )


def fidelity(
    portrait: Any, target: TargetSet, track: BodyTrack, model: BodyModel, frames: Sequence[int], rasterize: Any
) -> tuple[float, float]:
    """PSNR (dB) and SSIM inside head and neck of some frames, driven by the track alone."""
    from gswap.metrics.regions import masked_ssim, squared_error, to_psnr
    from gswap.portrait.drive import render_portrait

    errors, similarities = [], []
    renders = render_portrait(portrait, target, None, track, model, rasterize=rasterize, detail=False, frames=frames)
    for t, render in renders:
        inside = np.maximum(target.head[t], target.neck[t]) > SOLID
        errors.append((squared_error(render.rgb, target.rgb[t], inside), int(inside.sum())))
        similarities.append(masked_ssim(render.rgb, target.rgb[t], inside))
    values, areas = np.array(errors).T
    return to_psnr(float((values * areas).sum() / areas.sum())), float(np.mean(similarities))


def own_frames(target: TargetSet) -> SwapSet:
    """A clip as its own I_gen, trusted everywhere."""
    return SwapSet(target.rgb, target.head, target.neck, target.plate, _Trusted(target.head))


def resized(target: TargetSet, side: int) -> TargetSet:
    """A clip whose longer side has ``side`` pixels; 0, or one that is smaller = as it is."""
    width, height = target.window.size
    scale = side / max(width, height)
    if not side or scale >= 1:
        return target
    size = (round(width * scale), round(height * scale))
    window = dataclasses.replace(target.window, scale=target.window.scale * scale)
    if window.size != size:
        raise InputError(f"Expected a window of {size} pixels at that scale, found {window.size}.")
    small = lambda store: _Small(store, size)  # noqa: E731
    return dataclasses.replace(
        target,
        window=window,
        rgb=small(target.rgb),
        head=small(target.head),
        neck=small(target.neck),
        person=small(target.person),
        plate=small(target.plate),
    )


class _Small(ImageStore):
    """A store of images, smaller."""

    def __init__(self, store: ImageStore, size: tuple[int, int]) -> None:
        self._store, self._size = store, size

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return np.asarray(cv2.resize(self._store[index], self._size, interpolation=cv2.INTER_AREA))


class _Trusted(ImageStore):
    """Full confidence in every pixel."""

    def __init__(self, like: ImageStore) -> None:
        self._like = like

    def __len__(self) -> int:
        return len(self._like)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return np.full_like(self._like[index], 255)


def _understand(clip: Path, cfg: PortraitBenchConfig, observer: StepObserver) -> tuple[TargetSet, BodyTrack]:
    """Track and segment a clip by our own stages."""
    from gswap.apps.evaluate.analysis import analyse
    from gswap.body.models import load_body
    from gswap.body.moves import follow_landmarks
    from gswap.foundation.store import read_body_track
    from gswap.pipeline.config import Job
    from gswap.pipeline.steps import segment

    work = cfg.work / clip.stem
    job = Job(
        sources=(clip,), target=clip, out=work / "unused.mkv", consent=work / "unused.toml", work=work,
        threads=cfg.threads,
    )  # fmt: skip
    analysis = analyse(job, observer)
    track = read_body_track(analysis.folders["track"] / "body.safetensors")
    faces, model = analysis.faces, load_body("anny")
    seen = faces.valid & ~faces.bridged
    return analysis.target, follow_landmarks(
        segment.restrict(track, faces),
        faces.landmarks[..., :2],
        seen,
        model,
        duplicate=faces.duplicate,
        shots=analysis.clip.shots,
        sigma=LANDMARK_SIGMA,
    )


def _film(cfg: PortraitBenchConfig) -> Path:
    """A clip of a synthetic person, without loss."""
    from gswap.media.write import encode_rgb
    from gswap.people.clips import render_motion
    from gswap.people.motion import MotionConfig, make_motion
    from gswap.people.person import make_person
    from gswap.people.scene import make_scene

    side = cfg.size or 256
    path = cfg.work / f"person-{side}x{cfg.frames}.mkv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        motion = make_motion(MOTION, cfg.frames, FPS, MotionConfig())
        frames = render_motion(make_person(PERSON), motion, make_scene(PERSON, "studio", head_fraction=0.5), side)
        encode_rgb(path, (frame.rgb for frame in frames), (FPS, 1))
    return path
