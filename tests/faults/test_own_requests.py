"""Requests of ours and of plugins pass the guard: a fallback host is no primary of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, Ask, ask_http
from tests.helpers.fault_server import REPLY, FaultServer
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.second_server import SecondServerClient
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_fallback.errors import EngineError
from zwaif_hooks.guards import http, swap
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, PrimaryFailure

__all__ = ["ask_http"]

HELLO = ChatRequest("oobabooga", (Message("user", "Hello"),))


def remote(address: str) -> Iterator[str]:
    return SecondServerClient(address, "m").stream([Message("user", "Hello")], max_tokens=20)


def test_a_fallback_host_answers_without_a_turn_of_its_own(guarded: Guarded, ask_http: Ask) -> None:
    with FaultServer() as host, FaultServer() as primary:
        primary.fault = "http_500"
        guarded.plugin.pieces = lambda: remote(host.address)
        assert ask_http(primary.address, True) == REPLY
        assert [status.name for status in guarded.runtime.primaries.statuses()] == [primary.address]
        assert len(guarded.runtime.records.recent()) == 1
        assert len(host.asked) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_with_both_servers_dead_the_next_plugin_is_asked_once(guarded: Guarded, ask_http: Ask, stream: bool) -> None:
    asked: list[str] = []

    def host_then_local() -> Iterator[str]:
        try:
            yield from remote(host.address)
        except EngineError as error:
            asked.append(str(error))
            yield LOCAL

    with FaultServer() as host, FaultServer() as primary:
        primary.fault = host.fault = "http_500"
        guarded.plugin.pieces = host_then_local
        assert ask_http(primary.address, stream) == LOCAL
        assert len(asked) == len(guarded.plugin.asked) == 1


def test_a_reader_that_leaves_hangs_up_on_a_fallback_host_that_reads_the_prompt(guarded: Guarded) -> None:
    """Through all that lies between: the turn, the plugin's thread, the chain and its tier."""
    http.install(requests.sessions, guarded.runtime)
    try:
        with FaultServer() as host, FaultServer() as primary:
            primary.fault, host.fault = "http_500", "silence"
            tier = SecondServerTier(host.address, lambda: SecondServerClient(host.address, "m"))
            failure = PrimaryFailure(FailureKind.HTTP_ERROR, "broken")
            guarded.plugin.pieces = Chain(lambda _: [tier], guarded.lines.append).answer(HELLO, failure).pieces
            body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
            reply = requests.post(f"http://{primary.address}/v1/chat/completions", json=body, stream=True)
            reader = threading.Thread(target=lambda: list(reply.iter_lines()), daemon=True)
            reader.start()
            host.be_asked()
            reply.close()
            assert host.hung_up.wait(20)
            reader.join(20)
            assert not reader.is_alive()
            assert guarded.lines == []
    finally:
        swap.restore(requests.Session, "request")
