"""Equal fingerprints mean equal results, so they must see every difference."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

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


def test_every_setting_counts():
    settings = Settings()
    base = fingerprint(settings)
    for stage in dataclasses.fields(settings):
        value = getattr(settings, stage.name)
        for entry in dataclasses.fields(value):
            old = getattr(value, entry.name)
            if isinstance(old, bool):
                new = not old
            elif isinstance(old, int | float):
                new = old + 1
            else:
                continue
            changed = dataclasses.replace(settings, **{stage.name: dataclasses.replace(value, **{entry.name: new})})
            counts = entry.name not in ONLY_HOW
            assert (fingerprint(changed) != base) == counts, f"{stage.name}.{entry.name}"


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
