"""The hook ``primary_answered``: after a whole reply of the primary's own, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import REPLY, FaultServer
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.specs import hookimpl

__all__ = ["ask", "ask_http", "ask_ollama"]


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Callable[[], ChatRequest], str]] = []

    @hookimpl
    def primary_answered(self, primary: str, describe: Callable[[], ChatRequest], reply: str) -> None:
        self.heard.append((primary, describe, reply))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_healthy_reply_is_told_with_a_request_that_is_described_later(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    listener = Listener()
    guarded.runtime.plugins.register(listener, "listener")
    assert ask(server.address, stream) == REPLY
    ((primary, describe, reply),) = listener.heard
    assert (primary, reply) == (server.address, REPLY)
    assert [m.content for m in describe().messages] == [m["content"] for m in MESSAGES]


def test_a_reply_of_the_fallback_is_not_the_primary_s(guarded: Guarded, server: FaultServer, ask: Ask) -> None:
    listener = Listener()
    guarded.runtime.plugins.register(listener, "listener")
    server.fault = "http_500"
    assert LOCAL in ask(server.address, True)
    assert listener.heard == []


def test_a_listener_that_fails_is_named_and_the_reply_is_whole(guarded: Guarded, server: FaultServer, ask: Ask) -> None:
    class Bad:
        @hookimpl
        def primary_answered(self, reply: str) -> None:
            raise RuntimeError("too slow")

    guarded.runtime.plugins.register(Bad(), "bad")
    assert ask(server.address, True) == REPLY
    assert any("'bad' failed in primary_answered" in line for line in guarded.lines)
