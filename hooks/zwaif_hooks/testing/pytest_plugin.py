"""Fixtures for the tests of plugins. Switch them on in your ``conftest.py``::

    pytest_plugins = ["zwaif_hooks.testing.pytest_plugin"]

``zwaif_standin``, which starts the stand-in for Z-Waif as a process, comes from ``zwaif_fallback.testing.fixtures``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from zwaif_hooks.testing import FakeClock, FakeHost, FaultServer

pytest_plugins = ["zwaif_fallback.testing.fixtures"]


@pytest.fixture
def zwaif_clock() -> FakeClock:
    """Return a clock that ``advance`` moves forward; ``zwaif_host`` uses it."""
    return FakeClock()


@pytest.fixture
def zwaif_host(tmp_path: Path, zwaif_clock: FakeClock) -> FakeHost:
    """Return a host without plugins; its ``tree`` is a folder of its own, and settings are saved in its ``.env``."""
    tree = tmp_path / "host"
    tree.mkdir()
    return FakeHost(tree=tree, clock=zwaif_clock)


@pytest.fixture
def zwaif_server() -> Iterator[FaultServer]:
    """Return an LLM server on loopback; it answers until ``fault`` names one of its faults, or until ``stop``."""
    with FaultServer() as server:
        yield server
