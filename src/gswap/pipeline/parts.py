"""Opens the parts that a job has chosen; what each needs of weights was checked before any work."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gswap.foundation import weights
from gswap.foundation.errors import MissingExtraError, UsageError
from gswap.pipeline.config import Job, Parts

if TYPE_CHECKING:
    from gswap.body.models.anny import AnnyModel
    from gswap.body.models.smplx import SmplxModel
    from gswap.foundation.protocols import Embedder, HeadParser, Inpainter, Upscaler
    from gswap.portrait.losses import PerceptualLoss


LCM, GARMENT = "lcm-lora-sdv1-5", "stable-diffusion-v1-5-unet"
"""Weights that settings ask for, not parts."""


def required_weights(job: Job) -> tuple[str, ...]:
    """Names of all weights that a job needs."""
    names, diffusion = job.parts.weights(), job.settings.diffusion
    if job.parts.swapper == "diffusion":
        names += (LCM,) * (diffusion.sample.sampler == "lcm") + (GARMENT,) * (diffusion.sources.clothes == "garment")
    return names


PAINTERS = ("reenactor", "controlnet")
"""Parts that only the diffusion swapper has."""


def check_parts(parts: Parts) -> None:
    """Refuse choices that would do nothing.

    Raises:
        UsageError: A part of the diffusion swapper was chosen for another swapper.
    """
    for name in PAINTERS:
        value = getattr(parts, name)
        if parts.swapper != "diffusion" and value != getattr(Parts(), name):
            raise UsageError(f"--{name} {value} is for --swapper diffusion only.", hint="Give that, or leave it out.")


_LIBRARIES = (
    ("diffusion", ("diffusers", "transformers", "peft"), ("arc2face",)),
    ("diffusion", ("transformers",), ("segformer",)),
    ("onnx", ("onnxruntime",), ("lama", "liveportrait", "arcface-")),
)
"""Extra, the packages of it, and (beginnings of) names of the weights that are read with them."""


def check_libraries(job: Job) -> None:
    """Refuse a job whose parts need a package that is not installed, before any work.

    Raises:
        MissingExtraError: Says which extra brings it.
    """
    for name in required_weights(job):
        for extra, packages, parts in _LIBRARIES:
            if name.startswith(parts) and not all(importlib.util.find_spec(package) for package in packages):
                raise MissingExtraError(f"The part {name}", extra)


def digests(names: Iterable[str]) -> dict[str, str]:
    """Part of the catalogue -> what a fingerprint depends on, for the report and the manifest.

    Raises:
        WeightsError: A part was never pulled.
    """
    return {name: weights.digest(name) for name in names}


def named(parts: Parts) -> dict[str, str]:
    """The parts that are not the embedded ones, for people to read: part -> choice."""
    usual = Parts()
    names = [f.name for f in dataclasses.fields(Parts)]
    return {n: getattr(parts, n) for n in names if getattr(parts, n) != getattr(usual, n)}


def chosen(parts: Parts, *names: str) -> dict[str, object]:
    """The choice of some parts with the hashes of their weights, for a step's configuration.

    Empty where all of them are embedded, so that a new part changes no fingerprint of old jobs.
    """
    found: dict[str, object] = {}
    for name in names:
        value = getattr(parts, name)
        if value != getattr(Parts(), name):
            found[name] = [value, digests(Parts(**{name: value}).weights())]
    return found


def body_model(name: str) -> AnnyModel | SmplxModel:
    """The body of this name, as jobs and stored tracks name it."""
    from gswap.body.models import load_body

    return load_body(name, weights.file("smplx", "SMPLX_NEUTRAL.npz") if name == "smplx" else None)


def head_parser(job: Job) -> HeadParser | None:
    """The face parser of a job; ``None`` = the embedded segmentation alone."""
    if job.parts.parser == "farl":
        from gswap.segmentation.adapters.farl import FarlParser

        return FarlParser(weights.file("farl"), device=job.device, threads=job.threads)
    if job.parts.parser == "segformer":
        from gswap.segmentation.adapters.segformer import SegformerParser

        return SegformerParser(weights.path("segformer"), device=job.device)
    return None


def plate_inpainter(job: Job) -> Inpainter | None:
    """What fills the part of the plate that no frame shows; ``None`` = the embedded continuation of texture."""
    if job.parts.inpainter == "lama":
        from gswap.segmentation.adapters.lama import LamaInpainter

        return LamaInpainter(weights.file("lama"), device=job.device, threads=job.threads)
    return None


def identity_embedder(job: Job) -> Embedder:
    """Whose face it is. All embedders' distances compare with dlib's, so that one threshold serves all."""
    if job.parts.identity == "dlib":
        from gswap.perception.identity import embed

        return embed
    from gswap.perception.adapters.arcface import DLIB_LENGTH, ArcFace

    return ArcFace(weights.file(job.parts.identity), length=DLIB_LENGTH, device=job.device, threads=job.threads)


def perceptual_loss(job: Job) -> PerceptualLoss | None:
    """The perceptual loss of the fit; ``None`` = gradients and SSIM of patches stand in for it."""
    if job.parts.perceptual == "lpips-vgg":
        from gswap.metrics.lpips import load_lpips

        distance = load_lpips(weights.path("lpips-vgg"), device=job.device)
        if job.device == "cpu":
            return distance
        return lambda image, reference: distance(image.to(job.device), reference.to(job.device)).cpu()
    return None


def upscaler(job: Job) -> Upscaler | None:
    """Super-resolution that guides the fit; ``None`` = none."""
    if job.parts.upscaler == "none":
        return None
    from gswap.rerender.upscalers import LanczosUpscaler, RrdbUpscaler

    if job.parts.upscaler == "lanczos":
        return LanczosUpscaler()
    return RrdbUpscaler(weights.file(job.parts.upscaler), device=job.device)
