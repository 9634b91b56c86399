"""Which settings of a configuration change a result, and which only how it is made."""

from __future__ import annotations

import dataclasses
from typing import Any

NO_RESULT = {"result": False}
"""Metadata of a dataclass field whose value changes how a result is made, not the result."""


def result_settings(config: Any) -> tuple[str, ...]:
    """Names of the fields of a dataclass (or of an instance) that change the result."""
    return tuple(f.name for f in dataclasses.fields(config) if f.metadata.get("result", True))
