"""Behind an HTTP proxy, as the environment sets one: the fault server plays proxy and primary at once."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Guarded, hurry, outage_begun
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import HALF, REPLY, FaultServer
from zwaif_hooks.messages import FailureKind

__all__ = ["ask", "ask_http", "ask_ollama"]

PRIMARY = "192.0.2.1:5000"
"""Of a network that exists in examples only."""


@pytest.fixture(autouse=True)
def proxy(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://{server.address}")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_healthy_reply_comes_through(guarded: Guarded, server: FaultServer, ask: Ask, stream: bool) -> None:
    assert ask(PRIMARY, stream) == REPLY
    assert server.headers_seen[0]["Host"] == PRIMARY


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", ["silence", "headers_then_silence", "comments_for_ever"])
def test_silence_meets_the_first_token_deadline(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str, stream: bool
) -> None:
    hurry(guarded, server, PRIMARY)
    server.fault = row
    assert ask(PRIMARY, stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.FIRST_TOKEN_TIMEOUT
    assert server.hung_up.wait(20)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_stall_in_the_middle_is_continued(guarded: Guarded, server: FaultServer, ask: Ask, stream: bool) -> None:
    hurry(guarded, server, PRIMARY)
    server.fault = "stall_in_the_middle"
    assert ask(PRIMARY, stream) == HALF + LOCAL
    assert server.hung_up.wait(20)


def test_what_only_the_proxy_can_reach_is_seen_to_be_back(
    guarded: Guarded, server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zwaif_hooks.failover.probe.listens", lambda *_: False)
    server.fault = "http_401"
    assert ask(PRIMARY, True) == LOCAL
    assert outage_begun(guarded)
    server.fault = "healthy"
    assert guarded.plugin.recovered.wait(20)
    assert ask(PRIMARY, True) == REPLY
