"""Over real sockets, read by the thread that waits: who is away misses nothing, who gives up is let go at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import sseclient

from tests.faults.conftest import PATIENT, Guarded
from tests.helpers import fault_server as rows
from tests.helpers.clients import MESSAGES, NO_IDLE_CONNECTIONS, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import REPLY, WORDS, FaultServer, Talk

__all__ = ["ask", "ask_http", "ask_ollama"]

ollama = pytest.importorskip("ollama")

WAIT = 20.0
LET_GO_WITHIN = 0.1
ATTEMPTS = 3
"""The fastest counts: a busy machine may delay any single thread by more than what is measured."""


Reader = tuple[Iterator[Any], Callable[[], None]]
"""The pieces of a reply; how to close it from any thread."""


def by_requests(address: str) -> Reader:
    body = {"messages": MESSAGES, "stream": True}
    response = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=True)
    return iter(sseclient.SSEClient(response).events()), response.close  # type: ignore[arg-type, unused-ignore]


def by_ollama(address: str) -> Reader:
    client = ollama.Client(host=f"http://{address}", limits=NO_IDLE_CONNECTIONS)
    return client.chat(model="m", messages=MESSAGES, stream=True), lambda: None


@pytest.mark.parametrize("read", [by_requests, by_ollama])
def test_who_speaks_a_sentence_for_long_is_not_taken_for_a_silent_server(
    guarded: Guarded,
    server: FaultServer,
    ask_http: Ask,
    ask_ollama: Ask,
    read: Callable[[str], Reader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces, _ = read(server.address)
    next(pieces)
    now = guarded.clock.now
    monkeypatch.setattr(guarded.clock, "now", lambda: now() + 10 * PATIENT)
    assert len(list(pieces)) >= len(WORDS) - 1
    assert guarded.plugin.asked == []


def test_a_read_is_let_go_from_another_thread(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "stall_in_the_middle"
    took: list[float] = []
    for _ in range(ATTEMPTS):
        server.hung_up.clear()
        pieces, close = by_requests(server.address)
        ended = threading.Event()

        def read(pieces: Iterator[Any] = pieces, ended: threading.Event = ended) -> None:
            list(pieces)
            ended.set()

        reader = threading.Thread(target=read)
        next(pieces)
        reader.start()
        began = time.perf_counter()
        close()
        assert ended.wait(WAIT)
        took.append(time.perf_counter() - began)
        assert server.hung_up.wait(WAIT)
        reader.join(WAIT)
    assert guarded.plugin.asked == []
    assert min(took) < LET_GO_WITHIN


def test_an_ollama_client_keeps_its_connection_for_the_next_message(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: list[Any] = []

    def row(talk: Talk) -> None:
        callers.append(talk.client_address)
        rows.ROWS["healthy" if len(callers) != 2 else "stall_in_the_middle"](talk)

    monkeypatch.setitem(rows.ROWS, "healthy_but_once", row)
    server.fault = "healthy_but_once"
    client = ollama.Client(host=f"http://{server.address}")

    def talk() -> str:
        return "".join(part.message.content for part in client.chat(model="m", messages=MESSAGES, stream=True))

    assert talk() == REPLY
    stalled = client.chat(model="m", messages=MESSAGES, stream=True)
    next(stalled)
    stalled.close()
    assert server.hung_up.wait(WAIT), "the second message came over the first one's connection"
    assert [talk(), talk()] == [REPLY] * 2
    assert callers[0] == callers[1] != callers[2] == callers[3]
    client._client.close()


def test_the_libraries_other_questions_are_not_hurried(guarded: Guarded, server: FaultServer, ask_ollama: Ask) -> None:
    """A connection that served for a reply of ours may serve for a call that we have nothing to do with."""
    server.facts["/api/tags"] = {"models": []}
    client = ollama.Client(host=f"http://{server.address}")
    for _ in range(2):
        assert "".join(p.message.content for p in client.chat(model="m", messages=MESSAGES, stream=True)) == REPLY
        assert client.list().models == []
    client._client.close()
