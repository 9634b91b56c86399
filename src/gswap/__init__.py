"""gswap: head swapping for video with a dynamic neural Gaussian field.

A whole job from Python::

    from pathlib import Path
    import gswap

    result = gswap.run_job(gswap.Job(sources=(Path("photos"),), target=Path("clip.mp4"), out=Path("out.mp4"),
                                     consent=Path("consent.toml"), work=Path("work")))

The names below are loaded when they are first used: ``import gswap`` loads neither torch nor anything else heavy.
(``gswap.swap`` is the package of the image head swapper, not a function.)
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gswap.foundation.errors import GswapError
    from gswap.output.consent import new_record
    from gswap.output.consent import save as save_record
    from gswap.output.verify import VerifyReport, verify_file
    from gswap.pipeline.check import CheckReport, check_input
    from gswap.pipeline.config import Job, Settings
    from gswap.pipeline.job import SwapResult, run_job
    from gswap.pipeline.observer import StepObserver
    from gswap.pipeline.recipes import recipe_job

__version__ = version("gswap")

__all__ = [
    "CheckReport",
    "GswapError",
    "Job",
    "Settings",
    "StepObserver",
    "SwapResult",
    "VerifyReport",
    "__version__",
    "check_input",
    "new_record",
    "recipe_job",
    "run_job",
    "save_record",
    "verify_file",
]

_HOMES = {
    "CheckReport": ("gswap.pipeline.check", "CheckReport"),
    "GswapError": ("gswap.foundation.errors", "GswapError"),
    "Job": ("gswap.pipeline.config", "Job"),
    "Settings": ("gswap.pipeline.config", "Settings"),
    "StepObserver": ("gswap.pipeline.observer", "StepObserver"),
    "SwapResult": ("gswap.pipeline.job", "SwapResult"),
    "VerifyReport": ("gswap.output.verify", "VerifyReport"),
    "check_input": ("gswap.pipeline.check", "check_input"),
    "new_record": ("gswap.output.consent", "new_record"),
    "recipe_job": ("gswap.pipeline.recipes", "recipe_job"),
    "run_job": ("gswap.pipeline.job", "run_job"),
    "save_record": ("gswap.output.consent", "save"),
    "verify_file": ("gswap.output.verify", "verify_file"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
