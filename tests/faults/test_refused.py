"""Nobody listens, where the system does not say so for two seconds (Windows): what each client's guard makes of it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama
from zwaif_hooks.failover.deadlines import LOOPBACK_CONNECT_SECONDS
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import loopback

__all__ = ["ask", "ask_http", "ask_ollama"]

ATTEMPTS = 3
"""A busy machine may pause one of them."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where a queue is full")


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full, so that connections hang."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        time.sleep(0.05)
        yield int(server.getsockname()[1])
        for client in clients:
            client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_dead_server_is_refused_at_once(
    guarded: Guarded, full: int, ask: Ask, stream: bool, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "somebody_listens", lambda address, port: False)
    for _ in range(ATTEMPTS):
        assert ask(f"{host}:{full}", stream) == LOCAL
        guarded.runtime.primaries.get(f"{host}:{full}").succeeded()
    outages = guarded.plugin.outages
    assert [outage.kind for outage in outages] == [FailureKind.REFUSED] * ATTEMPTS
    assert min(outage.elapsed for outage in outages) / guarded.clock.speed < LOOPBACK_CONNECT_SECONDS


def test_a_server_that_does_not_accept_is_late_and_not_refused(guarded: Guarded, full: int, ask: Ask) -> None:
    assert ask(f"127.0.0.1:{full}", True) == LOCAL
    (outage,) = guarded.plugin.outages
    assert outage.kind is FailureKind.CONNECT_TIMEOUT
