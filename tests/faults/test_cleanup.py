"""Nothing is left behind: the primary's slot, our threads, the plugin's generator."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded, hurry
from tests.helpers import fault_server as rows
from tests.helpers.clients import LOCAL, MESSAGES, NO_IDLE_CONNECTIONS, Ask, ask, ask_http, ask_ollama, send_http
from tests.helpers.fault_server import REPLY, FaultServer, Talk
from tests.helpers.waiting import wait_until
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.reader import ReplyReader
from zwaif_hooks.failover.takeover import MOST_PIECES_AHEAD
from zwaif_hooks.failover.turn import Turn

__all__ = ["ask", "ask_http", "ask_ollama"]

ollama = pytest.importorskip("ollama")

WAIT = 10.0
"""Seconds after which a test has failed; nothing takes this long."""
HUNG_UP_WITHIN = 0.1
ATTEMPTS = 3
"""The fastest counts: a busy machine may delay any single thread by more than what is measured."""
TAKEOVERS = 1000
WARM_UP = 100
RSS_GROWTH = 0.08
"""A leak of 6 kB a takeover would exceed it. One resize of Python's table of interned strings alone takes 2 MB."""
QUICK = ("reset_in_the_middle", "polite_end_in_the_middle", "error_in_the_middle", "http_500", "reset_at_once")


def our_threads() -> list[str]:
    """Threads that read a primary or a local answer now."""
    return [thread.name for thread in threading.enumerate() if thread.name == "zwaif-primary"]


# The primary's slot


def error_then_open(talk: Talk) -> None:
    """An error object in mid-stream, after which the server keeps the connection."""
    talk.open_stream()
    talk.say(rows.WORDS[:4])
    talk.event({"error": "Compute error" if talk.ollama else {"message": "Compute error"}})
    talk.be_silent()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", ["stall_in_the_middle", "silence", "headers_then_silence", "error_then_open"])
def test_the_primary_is_hung_up_on_as_soon_as_somebody_else_speaks(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rows.ROWS, "error_then_open", error_then_open)
    hurry(guarded, server)
    server.fault = row
    took: list[float] = []

    def speaks() -> Iterator[str]:
        yield "Local "
        began = time.perf_counter()
        assert server.hung_up.wait(WAIT)
        took.append(time.perf_counter() - began)
        yield "text goes on."

    guarded.plugin.pieces = speaks
    for _ in range(ATTEMPTS):
        server.hung_up.clear()
        assert ask(server.address, stream).endswith(LOCAL)
        guarded.runtime.primaries.get(server.address).succeeded()
        if took[-1] <= HUNG_UP_WITHIN:
            return
    pytest.fail(f"the primary's connection stayed open for {min(took):.3f} s")


@pytest.mark.parametrize("row", [*QUICK, "healthy", "http_401", "html_200", "no_bytes_200", "stall_in_the_middle"])
def test_no_connection_waits_for_the_garbage_collector(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str
) -> None:
    hurry(guarded, server)
    server.fault = row
    ask(server.address, True)
    settle(server)
    gc.collect()
    before = open_files()
    gc.disable()
    try:
        for _ in range(3):
            guarded.runtime.primaries.get(server.address).succeeded()
            ask(server.address, True)
        settle(server)
        assert wait_until(lambda: open_files() <= before), "the neutral question holds one for a moment"
    finally:
        gc.enable()


# A thousand takeovers


def threads() -> int:
    return psutil.Process().num_threads()


def open_files() -> int:
    """Sockets included."""
    process = psutil.Process()
    return int(process.num_fds() if os.name == "posix" else process.num_handles())  # type: ignore[attr-defined,unused-ignore]


class Footprint:
    """What this process holds."""

    def __init__(self) -> None:
        gc.collect()
        self.rss = psutil.Process().memory_info().rss
        self.threads = threads()
        self.files = open_files()
        self.turns = sum(isinstance(thing, (Turn, BackgroundReader, ReplyReader)) for thing in gc.get_objects())


class Clients:
    """Both, as Z-Waif holds them: one of each for the life of the process."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._ollama = ollama.Client(host=f"http://{address}", limits=NO_IDLE_CONNECTIONS)

    def ask(self, number: int) -> str:
        return self._by_ollama(number % 3 != 0) if number % 2 else send_http(self._address, number % 3 != 0)

    def _by_ollama(self, stream: bool) -> str:
        answer = self._ollama.chat(model="m", messages=MESSAGES, stream=stream)
        return "".join(part.message.content for part in (answer if stream else [answer]))


def one_takeover(guarded: Guarded, server: FaultServer, clients: Clients, number: int) -> None:
    server.fault = "stall_in_the_middle" if number % 50 == 0 else QUICK[number % len(QUICK)]
    middle = server.fault.endswith("_in_the_middle")
    text = clients.ask(number)
    assert text.endswith(LOCAL)
    assert text == LOCAL or middle
    guarded.runtime.primaries.get(server.address).succeeded()
    plugin = guarded.plugin
    for seen in (
        server.asked,
        server.asked_at,
        server.headers_seen,
        plugin.asked,
        plugin.records,
        plugin.outages,
        guarded.lines,
    ):
        seen.clear()


def settle(server: FaultServer) -> None:
    assert wait_until(lambda: not our_threads() and not any("process_request" in t.name for t in threading.enumerate()))


def test_a_thousand_takeovers_leave_nothing_behind(
    guarded: Guarded, server: FaultServer, ask_http: Ask, ask_ollama: Ask
) -> None:
    hurry(guarded, server)
    guarded.runtime.records._recent = guarded.runtime.records._recent.__class__(maxlen=WARM_UP)
    clients = Clients(server.address)
    for number in range(WARM_UP):
        one_takeover(guarded, server, clients, number)
    settle(server)
    before = Footprint()
    for number in range(TAKEOVERS):
        one_takeover(guarded, server, clients, number)
    settle(server)
    assert wait_until(lambda: threads() <= before.threads)
    assert wait_until(lambda: open_files() <= before.files), "sockets"
    assert wait_until(lambda: Footprint().turns <= before.turns)
    after = Footprint()
    assert after.rss <= before.rss * (1 + RSS_GROWTH)


# A reader that stops reading


class Endless:
    """A plugin's generator that speaks for ever and says when it was stopped."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = threading.Event()

    def __call__(self) -> Iterator[str]:
        try:
            while True:
                self.made += 1
                yield "word "
        finally:
            self.closed.set()


Ways = tuple[Callable[[], Any], Callable[[], Any]]
"""Take one piece; stop reading politely."""


def reading_http(address: str) -> Ways:
    body = {"messages": MESSAGES, "stream": True}
    response = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=True)
    events = sseclient.SSEClient(response).events()
    return (lambda: next(events)), response.close


def reading_ollama(address: str) -> Ways:
    parts = ollama.Client(host=f"http://{address}", limits=NO_IDLE_CONNECTIONS).chat(
        model="m", messages=MESSAGES, stream=True
    )
    return (lambda: next(parts)), parts.close


@pytest.fixture(params=["requests", "ollama"])
def read(request: pytest.FixtureRequest) -> Callable[[str], Ways]:
    request.getfixturevalue("ask_http" if request.param == "requests" else "ask_ollama")
    return reading_http if request.param == "requests" else reading_ollama


@pytest.fixture(params=["closed", "forgotten"])
def leave(request: pytest.FixtureRequest) -> Callable[[list[Ways]], None]:
    """Stop reading: with ``close``, or by dropping everything, as Z-Waif does."""

    def closed(readers: list[Ways]) -> None:
        readers[0][1]()

    def forgotten(readers: list[Ways]) -> None:
        readers.clear()
        gc.collect()

    return closed if request.param == "closed" else forgotten


Leave = Callable[[list[Ways]], None]
Read = Callable[[str], Ways]


@pytest.mark.parametrize("row", ["http_500", "stall_in_the_middle"])
def test_a_reader_that_stops_stops_the_plugin_at_once(
    guarded: Guarded, server: FaultServer, read: Read, leave: Leave, row: str
) -> None:
    hurry(guarded, server)
    server.fault = row
    guarded.plugin.pieces = endless = Endless()
    readers = [read(server.address)]
    while endless.made < 3:
        readers[0][0]()
    leave(readers)
    assert endless.closed.wait(WAIT)
    assert endless.made <= MOST_PIECES_AHEAD + 3
    assert wait_until(lambda: not our_threads())


def test_a_reader_that_stops_stops_a_plugin_that_speaks_ahead(
    guarded: Guarded, server: FaultServer, read: Read, leave: Leave
) -> None:
    hurry(guarded, server)
    server.fault = "silence"
    guarded.plugin.pieces = endless = Endless()
    readers = [read(server.address)]
    readers[0][0]()
    leave(readers)
    assert endless.closed.wait(WAIT)
    assert wait_until(lambda: not our_threads())


def test_a_reply_dropped_before_its_first_read_is_hung_up_on(
    guarded: Guarded, server: FaultServer, read: Read, leave: Leave
) -> None:
    server.fault = "silence"
    readers = [read(server.address)]
    server.be_asked()
    leave(readers)
    assert server.hung_up.wait(WAIT)
    assert wait_until(lambda: not our_threads())


def test_a_reader_that_stops_frees_a_healthy_primary(
    guarded: Guarded, server: FaultServer, read: Read, leave: Leave
) -> None:
    server.fault = "stall_in_the_middle"
    readers = [read(server.address)]
    readers[0][0]()
    leave(readers)
    assert server.hung_up.wait(WAIT)
    assert wait_until(lambda: not our_threads())
    assert guarded.plugin.asked == []
    assert guarded.runtime.primaries.get(server.address).status().state == "healthy"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_local_answer_that_came_second_is_stopped(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    """The late primary speaks while the local model is about to say its first words."""
    closed, primary_was_heard = threading.Event(), threading.Event()

    def about_to_speak() -> Iterator[str]:
        try:
            server.release.set()
            assert primary_was_heard.wait(WAIT)
            while True:
                yield "too late "
        finally:
            closed.set()

    hurry(guarded, server)
    server.fault = "late_but_alive"
    guarded.plugin.pieces = about_to_speak
    assert ask(server.address, stream) == REPLY
    primary_was_heard.set()
    assert closed.wait(WAIT), "it holds the local model until the next message"
    assert wait_until(lambda: not our_threads())
