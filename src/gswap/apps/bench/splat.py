"""Time of the splatter against the plain-torch tile loop, and of the fused networks against torch, on this machine."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gswap.foundation.errors import UsageError
from gswap.foundation.types import Camera

CAMERA_DISTANCE = 5.0
"""Metres from the camera to the test ellipsoid."""
COVERED_RADIUS = 0.412
"""Vertical radius of the ellipsoid as a share of the image's height: it covers about 40 % of it."""


@dataclass(frozen=True)
class SplatBenchConfig:
    """What to time."""

    size: int = 256
    """Width and height of the image, pixels."""
    gaussians: int = 16384
    """Number of Gaussians on the test ellipsoid."""
    channels: int = 8
    """Feature channels, 1 to 32."""
    repeats: int = 7
    """Timed runs of each candidate, interleaved: medians, and the fastest for what several threads gain."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads for the native kernel. The torch loop always has one."""
    reference: bool = True
    """Time the plain-torch tile loop as well (seconds)."""
    networks: bool = True
    """Time the background encoder, fusion and rerenderer as well."""


def run(cfg: SplatBenchConfig) -> dict[str, Any]:
    """Time the candidates in turns.

    Returns:
        ``machine``; ``milliseconds`` per candidate (:func:`measure`); ``ratios``: of median CPU times, and for what
        threads gain of the fastest wall times; ``stages`` of the native kernel for every number of threads, wall
        milliseconds of the fastest of ``repeats`` steps; ``memory`` of one step in bytes, as a multiple of its inputs,
        outputs and gradients.

    Raises:
        UsageError: A number is not positive.
        DeviceError: The native kernel is not built.
    """
    if min(cfg.size, cfg.gaussians, cfg.channels, cfg.repeats, *cfg.threads) < 1:
        raise UsageError("bench splat: size, gaussians, channels, repeats and threads should be positive.")
    import torch

    from gswap.splat import cpu, reference

    cpu.require()
    from gswap.native import _native  # type: ignore[attr-defined]

    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tensors, camera = scene(cfg)
        leaves = [t.clone().requires_grad_() for t in tensors]
        generator = torch.Generator().manual_seed(1)
        weights = [
            torch.randn(cfg.channels, cfg.size, cfg.size, generator=generator),
            torch.randn(cfg.size, cfg.size, generator=generator),
        ]

        def forward(rasterize: Callable, threads: int) -> None:
            _native.set_num_threads(threads)
            with torch.no_grad():
                rasterize(*tensors, camera)

        def step(rasterize: Callable, threads: int) -> None:
            _native.set_num_threads(threads)
            torch.autograd.backward(rasterize(*leaves, camera), weights)
            for leaf in leaves:
                leaf.grad = None

        candidates: dict[str, Callable[[], None]] = {}
        for n in cfg.threads:
            candidates[f"forward, {n} threads"] = lambda n=n: forward(cpu.rasterize, n)
            candidates[f"forward+backward, {n} threads"] = lambda n=n: step(cpu.rasterize, n)
        if cfg.reference:
            candidates["torch forward"] = lambda: forward(reference.rasterize, 1)
            candidates["torch forward+backward"] = lambda: step(reference.rasterize, 1)
        if cfg.networks:
            candidates.update(_networks(cfg))
        times = measure(candidates, cfg.repeats)

        stages = {
            f"{n} threads": _stages(_native, lambda n=n: step(cpu.rasterize, n), cfg.repeats) for n in cfg.threads
        }
        memory = _memory(_native, lambda: step(cpu.rasterize, cfg.threads[0]), [*tensors, *tensors, *weights, *weights])
    finally:
        _native.set_num_threads(0)
        torch.set_num_threads(torch_threads)
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "kernels": _native.get_instruction_set()},
        "config": cfg,
        "milliseconds": times,
        "ratios": _ratios(times, cfg),
        "stages": stages,
        "memory": memory,
    }


def scene(cfg: SplatBenchConfig) -> tuple[list, Camera]:
    """An ellipsoid of flat Gaussians of 1-2 pixels, in the order of a UV map, and the camera that sees it."""
    import torch

    n, size = cfg.gaussians, cfg.size
    generator = torch.Generator().manual_seed(0)
    focal = 2.0 * size
    pixel = CAMERA_DISTANCE / focal
    i = torch.arange(n, dtype=torch.float64) + 0.5
    polar, azimuth = torch.acos(1 - 2 * i / n), math.pi * (1 + 5**0.5) * i
    normal = torch.stack([azimuth.cos() * polar.sin(), polar.cos(), azimuth.sin() * polar.sin()], -1)
    row = (polar / math.pi * math.isqrt(n)).floor()
    normal = normal[torch.argsort(row * 8 + torch.remainder(azimuth, 2 * math.pi))]
    height = COVERED_RADIUS * size * pixel
    means = normal * torch.tensor([0.75 * height, height, 0.9 * height], dtype=torch.float64)
    means[:, 2] += CAMERA_DISTANCE
    # The rotation that takes +z to the normal.
    half = torch.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], torch.zeros(n, dtype=torch.float64)], -1)
    scales = (1 + torch.rand(n, 3, generator=generator, dtype=torch.float64)) * pixel
    scales[:, 2] = 0.3 * pixel
    opacities = 0.8 + 0.19 * torch.rand(n, generator=generator, dtype=torch.float64)
    features = torch.rand(n, cfg.channels, generator=generator, dtype=torch.float64)
    tensors = [t.float().contiguous() for t in (means, half, scales, opacities, features)]
    return tensors, Camera(focal, size / 2, size / 2, size, size)


def measure(candidates: dict[str, Callable[[], None]], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each candidate, run in turns: medians ``cpu`` and ``wall``, and the least ``fastest_wall``.

    Other work on the machine only ever adds to wall time, and to that of two threads more than to that of one, so the
    fastest runs are those in which every thread had a core: threads are compared by them.

    Each timed run follows one of the same candidate that is not counted: what is compared is work, not whose data the
    candidate before left in the caches.
    """
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            candidate()
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            candidate()
            samples[name].append((time.process_time() - cpu_start, time.perf_counter() - wall_start))
    return {
        name: {
            "cpu": 1e3 * statistics.median(cpu for cpu, _ in found),
            "wall": 1e3 * statistics.median(wall for _, wall in found),
            "fastest_wall": 1e3 * min(wall for _, wall in found),
        }
        for name, found in samples.items()
    }


def _networks(cfg: SplatBenchConfig) -> dict[str, Callable[[], None]]:
    import torch

    from gswap.native import _native  # type: ignore[attr-defined]
    from gswap.rerender.fusion import fuse
    from gswap.rerender.networks import BackgroundEncoder, Rerenderer

    generator = torch.Generator().manual_seed(2)
    encoder, rerenderer = BackgroundEncoder(), Rerenderer(generator=generator)
    plate = torch.rand(1, 3, cfg.size, cfg.size, generator=generator)
    features = torch.rand(8, cfg.size, cfg.size, generator=generator)
    alpha, head = torch.rand(2, cfg.size, cfg.size, generator=generator)
    layers = [encoder.first, encoder.second, *rerenderer.layers]
    weights = [layer.weight.detach().contiguous() for layer in layers]  # type: ignore[union-attr]
    biases = [layer.bias.detach() for layer in layers]  # type: ignore[union-attr]

    def in_torch() -> None:
        with torch.inference_mode():
            fused = fuse(features[None], alpha, encoder(plate), head)
            rerenderer(fused.contiguous(memory_format=torch.channels_last))

    def fused() -> None:
        _native.set_num_threads(1)
        _native.fuse_and_rerender(plate[0], features, alpha, head, weights, biases, False)

    return {"networks in torch": in_torch, "networks fused": fused}


def _stages(native: Any, step: Callable[[], None], repeats: int) -> dict[str, float]:
    """Each stage's wall milliseconds in its fastest of ``repeats`` runs."""
    runs = []
    for _ in range(repeats):
        step()
        runs.append(native.splat_times())
    return {stage: min(run[stage] for run in runs) for stage in runs[0]}


def _memory(native: Any, step: Callable[[], None], tensors: list) -> dict[str, float]:
    """Peak bytes of the kernels in one step, and as a multiple of inputs, outputs and gradients."""
    native.reset_peak_memory()
    before = native.memory_use()[0]
    step()
    kernels = native.memory_use()[1] - before
    given = sum(t.numel() * t.element_size() for t in tensors)
    # The kernels' own peak holds image, alpha and the gradients of the inputs; inputs and d(image) come on top.
    return {"kernels": kernels, "inputs_outputs_gradients": given, "multiple": (kernels + given / 2) / given}


def _ratios(times: dict[str, dict[str, float]], cfg: SplatBenchConfig) -> dict[str, float]:
    ratios: dict[str, float] = {}
    first = cfg.threads[0]
    for what in ("forward", "forward+backward"):
        mine = f"{what}, {first} threads"
        if f"torch {what}" in times:
            ratios[f"{what}: torch / native"] = times[f"torch {what}"]["cpu"] / times[mine]["cpu"]
        for n in cfg.threads[1:]:
            ratios[f"{what}: {first} / {n} threads (fastest wall)"] = (
                times[mine]["fastest_wall"] / times[f"{what}, {n} threads"]["fastest_wall"]
            )
    if "networks fused" in times:
        ratios["networks: torch / fused"] = times["networks in torch"]["cpu"] / times["networks fused"]["cpu"]
    return ratios
