"""Frames a second of a driven portrait, from a stored track to finished pictures in memory, and where the time goes."""

from __future__ import annotations

import dataclasses
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gswap.apps.bench.render_config import RenderBenchConfig
from gswap.foundation.errors import InputError, UsageError

if TYPE_CHECKING:
    from gswap.foundation.protocols import BodyModel
    from gswap.foundation.types import BodyTrack
    from gswap.portrait.model import Portrait, View

PERSON, SCENE, MOTION = 241, 5, 11
"""Seeds of the synthetic person, of where it stands and of what it does."""
FIT_PICTURES, FIT_SHARE = 8, 2
"""Pictures that a synthetic portrait is fitted to, and how much smaller than the benchmark's they are."""
VISIBLE = 1 / 255
"""Alpha from which a pixel counts as covered."""
WARM_UP = 5
"""Frames before the clock starts."""
PARTS = ("pose", "bind", "splat", "networks")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A portrait and everything that moves it."""

    portrait: Portrait
    track: BodyTrack
    views: Sequence[View]
    model: BodyModel


def run(cfg: RenderBenchConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Time the candidates.

    Args:
        cfg: What to time.
        say: Told what is going on.

    Returns:
        Per portrait the number of Gaussians, how many a frame shows, the share of the picture they cover, and per
        number of threads frames a second, wall and CPU milliseconds a frame, and milliseconds of each part.

    Raises:
        InputError: The workspace holds no finished swap.
        UsageError: A number is not positive, or ``portrait`` comes without ``work``.
        DeviceError: The native kernels are not built.
    """
    if min(cfg.size, cfg.frames, cfg.repeats, *cfg.texels, *cfg.threads) < 1 or cfg.steps < 0:
        raise UsageError("bench render: size, texels, frames, repeats and threads should be positive.")
    if cfg.portrait is not None and cfg.work is None:
        raise UsageError("bench render: a portrait needs the workspace of its swap.", hint="Add --work DIR.")
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    from gswap.splat import cpu

    cpu.require()
    from gswap.native import _native  # type: ignore[attr-defined]

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    results: dict[str, Any] = {}
    try:
        with threadpool_limits(1, "blas"):  # as in a swap
            for name, make in _subjects(cfg, say).items():
                subject = make()
                say(f"Driving {len(subject.portrait.binding)} Gaussians.")
                results[name] = measure(subject, cfg)
    finally:
        _native.set_num_threads(0)
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "kernels": _native.get_instruction_set()},
        "config": dataclasses.asdict(cfg),
        "portraits": results,
    }


def measure(subject: Subject, cfg: RenderBenchConfig) -> dict[str, Any]:
    """Drive one portrait with every number of threads."""
    from gswap.native import _native  # type: ignore[attr-defined]

    found: dict[str, Any] = {"gaussians": len(subject.portrait.binding), "frames": len(subject.track)}
    for threads in cfg.threads:
        _native.set_num_threads(threads)
        _play(subject, WARM_UP)
        runs = [_play(subject, len(subject.track)) for _ in range(cfg.repeats)]
        best = min(runs, key=lambda run: run["wall"])
        found[f"{threads} threads"] = {
            "frames_a_second": 1e3 / best["wall"],
            "milliseconds": {key: best[key] for key in ("wall", "cpu", *PARTS)},
            "networks_milliseconds_of_all_threads": _network_parts(subject),
        }
        found |= {key: best[key] for key in ("shown", "covered")}
    return found


def _play(subject: Subject, frames: int) -> dict[str, float]:
    """Milliseconds a frame of one run: wall, CPU of the process, and the medians of the parts."""
    from gswap.portrait.live import play
    from gswap.splat import get_rasterizer

    taken: dict[str, list[float]] = {part: [] for part in PARTS}
    mark = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal mark
        now = time.perf_counter()
        taken[part].append(now - mark)
        mark = now

    shown: list[int] = []
    rasterize = get_rasterizer("cpu")

    def counted(*arguments: Any) -> Any:
        shown.append(len(arguments[0]))
        return rasterize(*arguments)

    driven = play(subject.portrait, subject.track, subject.model, subject.views, rasterize=counted, lap=lap)
    alphas = []
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(frames):
        mark = time.perf_counter()
        alphas = [next(driven).alpha]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    covered = (alphas[-1] > VISIBLE).double().mean().item()
    parts = {part: 1e3 * statistics.median(values) for part, values in taken.items()}
    shares = {"wall": 1e3 * wall / frames, "cpu": 1e3 * cpu / frames}
    return shares | parts | {"shown": statistics.fmean(shown), "covered": covered}


def _network_parts(subject: Subject) -> dict[str, float]:
    """Milliseconds that all threads together spend in the encoder, the fusion and the rerenderer, first frame."""
    import torch

    from gswap.portrait.live import play
    from gswap.rerender.fused import rerender
    from gswap.splat import get_rasterizer

    network = subject.portrait.network
    if network.encoder is None or network.rerenderer is None:
        return {}
    view = subject.views[0]
    first = next(play(subject.portrait, subject.track, subject.model, subject.views, rasterize=get_rasterizer("cpu")))
    shares: dict[str, float] = {}
    with torch.inference_mode():
        rerender(network.encoder, network.rerenderer, first.features, first.alpha, view.plate, view.gate, shares=shares)
    return {name: 1e3 * seconds for name, seconds in shares.items()}


# ---------------------------------------------------------------- what is driven
def _subjects(cfg: RenderBenchConfig, say: Callable[[str], None]) -> dict[str, Callable[[], Subject]]:
    if cfg.work is not None:
        work = cfg.work
        return {"given": lambda: _from_workspace(work, cfg)}
    clip = _Synthetic(cfg, say)
    return {f"synthetic, {texels} texels": lambda texels=texels: clip.subject(texels) for texels in cfg.texels}


def _from_workspace(work: Path, cfg: RenderBenchConfig) -> Subject:
    import cv2
    import torch

    from gswap.body.models import load_body
    from gswap.foundation.store import read_body_track
    from gswap.pipeline.steps import fit, segment
    from gswap.pipeline.steps.track import BODY
    from gswap.pipeline.workspace import STEP_NAMES, states
    from gswap.portrait.frames import window_camera
    from gswap.portrait.io import load_portrait
    from gswap.portrait.model import View

    folders = {s.step: work / s.step / s.fingerprint for s in states(work, STEP_NAMES) if s.done}
    for step in ("segment", "retrack", "fit"):
        if step not in folders:
            raise InputError(f"The workspace holds no finished step {step!r}.", hint="Run gswap swap first.", path=work)
    model = load_body(BODY)
    portrait = load_portrait(cfg.portrait or folders["fit"] / fit.PORTRAIT, model)
    track = read_body_track(folders["retrack"] / "drive.safetensors")
    target = segment.load_target(folders, len(track))
    count = min(cfg.frames, len(track))
    gate = torch.ones(cfg.size, cfg.size)
    views = []
    for t in range(count):
        camera = window_camera(target, track, t)
        scale = cfg.size / max(camera.width, camera.height)
        plate = cv2.resize(target.plate[t], (cfg.size, cfg.size), interpolation=cv2.INTER_LINEAR)
        large = dataclasses.replace(
            camera,
            focal=camera.focal * scale,
            cx=camera.cx * scale,
            cy=camera.cy * scale,
            width=cfg.size,
            height=cfg.size,
        )
        views.append(View(torch.from_numpy(plate).permute(2, 0, 1)[None].float().div(255).contiguous(), gate, large))
    return Subject(portrait, _first(track, count), views, model)


def _first(track: BodyTrack, count: int) -> BodyTrack:
    """The first ``count`` frames."""
    fields = [f.name for f in dataclasses.fields(track) if f.name != "shape" and getattr(track, f.name) is not None]
    return dataclasses.replace(track, **{name: getattr(track, name)[:count] for name in fields})


class _Synthetic:
    """A synthetic person who moves; its portraits have seen a few pictures for a few steps."""

    def __init__(self, cfg: RenderBenchConfig, say: Callable[[str], None]) -> None:
        from gswap.people.motion import make_motion
        from gswap.people.person import make_person
        from gswap.people.scene import make_scene

        self._cfg, self._say = cfg, say
        self._person, self._scene = make_person(PERSON), make_scene(SCENE)
        self._motion = make_motion(MOTION, max(cfg.frames, FIT_PICTURES))
        self._sets: Any = None

    def subject(self, texels: int) -> Subject:
        """A portrait with that UV map, and the motion that drives it."""
        import torch

        from gswap.people.render import true_track
        from gswap.people.scene import clean_plate
        from gswap.portrait.config import FitConfig
        from gswap.portrait.fit import fit_portrait
        from gswap.portrait.model import View
        from gswap.splat import get_rasterizer

        cfg, size, person = self._cfg, self._cfg.size, self._person
        if self._sets is None:
            self._say(f"Rendering {FIT_PICTURES} pictures of a synthetic person.")
            self._sets = self._pictures(size // FIT_SHARE)
        target, swap, seen = self._sets
        self._say(f"Fitting a portrait with a UV map of {texels} x {texels} for {cfg.steps} steps.")
        fit = FitConfig(coarse_steps=0, fine_steps=cfg.steps, texels=texels)
        portrait = fit_portrait(target, swap, seen, person.model, fit, rasterize=get_rasterizer("cpu"))
        track = _join([true_track(person, pose, self._scene, size, size) for pose in self._motion.poses[: cfg.frames]])
        plate = torch.tensor(clean_plate(self._scene, size, size)).permute(2, 0, 1)[None].float().clamp(0, 1)
        view = View(plate.contiguous(), torch.ones(size, size), self._scene.camera(size, size))
        return Subject(portrait, track, [view], person.model)

    def _pictures(self, size: int) -> tuple[Any, Any, BodyTrack]:
        import numpy as np

        from gswap.foundation.types import SwapSet, TargetSet, Window
        from gswap.people.render import render

        step = max(len(self._motion) // FIT_PICTURES, 1)
        poses = self._motion.poses[::step][:FIT_PICTURES]
        frames = [render(self._person, pose, self._scene, size, frame=i) for i, pose in enumerate(poses)]
        rgb, plate = [f.rgb for f in frames], [f.plate for f in frames]
        head, neck = [f.masks.head for f in frames], [f.masks.neck for f in frames]
        window = Window(np.zeros(len(frames), int), np.zeros(len(frames), int), size, size)
        sure = [np.full((size, size), 255, np.uint8)] * len(frames)
        target = TargetSet(window, rgb, head, neck, [f.masks.person for f in frames], plate)
        return target, SwapSet(rgb, head, neck, plate, sure), _join([f.track for f in frames])


def _join(tracks: list[BodyTrack]) -> BodyTrack:
    import numpy as np

    first = tracks[0]
    names = [f.name for f in dataclasses.fields(first) if f.name != "shape" and getattr(first, f.name) is not None]
    return dataclasses.replace(first, **{n: np.concatenate([getattr(t, n) for t in tracks]) for n in names})
