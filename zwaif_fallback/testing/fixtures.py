"""The fixtures of ``zwaif_hooks.testing.pytest_plugin`` that need the fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from zwaif_fallback.testing import StandIn
from zwaif_hooks.testing import FaultServer


@pytest.fixture
def zwaif_standin(tmp_path: Path, zwaif_server: FaultServer) -> Iterator[Callable[..., StandIn]]:
    """Return a function that starts the stand-in for Z-Waif as a process; arguments as of ``StandIn``."""
    with ExitStack() as running:

        def start(plugins: Path | None = None, fallback: bool = False, page: bool = False, **settings: str) -> StandIn:
            standin = StandIn(tmp_path / "standin", zwaif_server.address, plugins, fallback, page, **settings)
            return running.enter_context(standin)

        yield start
