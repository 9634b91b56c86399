"""Rasterisers by name."""

from __future__ import annotations

import difflib
import importlib
import warnings

from gswap.foundation.errors import DeviceError, UsageError
from gswap.foundation.protocols import Rasterizer

RASTERIZERS = {
    "cpu": "gswap.splat.cpu",
    "reference": "gswap.splat.reference",
    "cuda": "gswap.splat.cuda",
}
"""Name -> module with a function ``rasterize``; a module that cannot run here raises from ``require()``."""

REFERENCE_SLOWDOWN = 100
"""How many times slower the reference is than the native kernel, forward and backward (docs/benchmarks.md)."""

_warned = False


def get_rasterizer(name: str = "auto") -> Rasterizer:
    """See :func:`gswap.splat.get_rasterizer`."""
    if name == "auto":
        return _auto()
    if name not in RASTERIZERS:
        known = ", ".join(["auto", *RASTERIZERS])
        near = difflib.get_close_matches(name, RASTERIZERS, 1)
        raise UsageError(
            f"There is no rasteriser called {name!r}.",
            hint=(f"Did you mean {near[0]!r}? " if near else "") + f"Known: {known}.",
        )
    module = importlib.import_module(RASTERIZERS[name])
    if name != "reference":
        module.require()
    return module.rasterize


def _auto() -> Rasterizer:
    global _warned  # noqa: PLW0603 - the warning is for the process, not for the caller
    try:
        return get_rasterizer("cpu")
    except DeviceError as error:
        if not _warned:
            _warned = True
            warnings.warn(
                f"The native kernel is not built, so splatting runs in plain torch, about {REFERENCE_SLOWDOWN} times "
                f"slower. {error.hint}",
                RuntimeWarning,
                stacklevel=3,
            )
        return get_rasterizer("reference")
