"""Fingerprints: what a result depends on, as a hash. Equal fingerprint = equal bytes, so a finished step is reused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gswap.foundation.settings import result_settings

LENGTH = 16
"""Hexadecimal digits kept: 64 bits, plenty for the handful of results in one workspace."""


def canonical(value: Any) -> Any:
    """Reduce configuration values to JSON: dataclasses with their type's name, tuples, paths and numbers as they are.

    Settings that do not change the result (``foundation.settings``) do not count.

    Raises:
        TypeError: A value has no canonical form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {name: canonical(getattr(value, name)) for name in result_settings(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence):
        return [canonical(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def fingerprint(*parts: Any) -> str:
    """Hash of any canonical values."""
    text = json.dumps([canonical(p) for p in parts], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
