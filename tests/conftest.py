"""Which tests share a process where several run them (``pytest -n 2 --dist loadgroup``, see the Makefile)."""

from __future__ import annotations

import pytest

SHARED = ("finished", "fitted")
"""Fixtures that take minutes: all tests that use one of them run in one process, so that it is made once."""


def pytest_configure(config: pytest.Config) -> None:
    """Without pytest-xdist nobody else makes its marker known."""
    config.addinivalue_line("markers", "xdist_group(name): tests that share a process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, for they share its fixtures, and those of a shared fixture."""
    for item in items:
        used = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(used[0] if used else str(item.path)))
