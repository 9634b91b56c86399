"""Equal fingerprints mean equal results, so they must see every difference."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gswap.foundation.store import hash_file
from gswap.pipeline.config import Settings
from gswap.pipeline.fingerprint import canonical, fingerprint

ONLY_HOW = {"cache_megabytes", "checkpoint_every", "preview_every"}
"""Settings that change how a result is made, not the result."""


@dataclass(frozen=True)
class A:
    x: int = 1


@dataclass(frozen=True)
class B:
    x: int = 1


def test_types_values_and_order_count():
    prints = [fingerprint(v) for v in (A(), B(), A(2), [1, 2], [2, 1], {"a": 1}, {"a": 2}, None, "None", 1, 1.5)]
    assert len(set(prints)) == len(prints)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def changed(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting, also of settings within settings: its path, and the settings with another value of it."""
    for entry in dataclasses.fields(settings):
        old, name = getattr(settings, entry.name), f"{path}{entry.name}"
        if dataclasses.is_dataclass(old):
            values = changed(old, f"{name}.")
        elif isinstance(old, bool):
            values = iter([(name, not old)])
        elif isinstance(old, int | float):
            values = iter([(name, old + 1)])
        else:
            continue
        for inner, new in values:
            yield inner, dataclasses.replace(settings, **{entry.name: new})


def test_every_setting_counts():
    base = fingerprint(Settings())
    for path, settings in changed(Settings()):
        counts = path.rsplit(".", 1)[-1] not in ONLY_HOW
        assert (fingerprint(settings) != base) == counts, path


def test_what_changes_no_result_does_not_count():
    @dataclass(frozen=True)
    class C:
        x: int = 1
        memory: int = dataclasses.field(default=1, metadata={"result": False})

    assert canonical(C(memory=2)) == {"type": "C", "x": 1}
    assert fingerprint([C(memory=2)]) == fingerprint([C()]) != fingerprint([C(2)])


def test_what_has_no_canonical_form_is_refused():
    with pytest.raises(TypeError):
        canonical(object())
    assert canonical(Path("a/b")) == "a/b"


def test_hash_file_is_sha256(tmp_path):
    data = bytes(range(256)) * 9000
    path = tmp_path / "f"
    path.write_bytes(data)
    assert hash_file(path) == hashlib.sha256(data).hexdigest()
