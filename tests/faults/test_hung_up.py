"""Whoever is given up is hung up on at once, and the thread that read goes. With ``-s`` it prints how soon."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.faults.conftest import Guarded, QuickClock
from tests.faults.test_cleanup import our_threads, reading_http, reading_ollama, settle, wait_until
from tests.helpers.clients import MESSAGES, Ask, ask_http, ask_ollama
from tests.helpers.fault_server import FaultServer
from tests.helpers.lmstudio_client import CONFIG, HISTORY, ask_lmstudio, installed, lms, studio
from tests.helpers.lmstudio_server import LMStudioServer
from zwaif_fallback.answering.second_server import Deadlines, SecondServerClient
from zwaif_fallback.errors import EngineError
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.messages import Message
from zwaif_hooks.network.openai_client import read_reply
from zwaif_hooks.network.requests_adapter import watched_session
from zwaif_hooks.stream import CancelScope, PrimaryError

__all__ = ["ask_http", "ask_lmstudio", "ask_ollama", "installed", "studio"]

GOAL = 0.1
"""Seconds, as is met on a machine that does nothing else; printed beside what was measured."""
BOUND = 2.0
"""Seconds: so late is a fault, and no busy machine."""
TIMES = 5
NEVER = 1e7
"""Seconds on the quick clock, as are the next two."""
FIRST, STALL = 15.0, 10.0
Begin = Callable[[], Callable[[], object]]
"""Ask, and return what gives the reply up."""


class Watch:
    """How long it takes from giving up until the server knows, and until no thread of ours reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed_at = 0.0
        """When a reply was given up first, where that is not done by hand but by a deadline."""
        close = CancelScope.cancel

        def noted(scope: CancelScope) -> None:
            self.closed_at = self.closed_at or time.perf_counter()
            close(scope)

        monkeypatch.setattr(CancelScope, "cancel", noted)

    def measure(self, name: str, begin: Begin, server: FaultServer | LMStudioServer, by_hand: bool = True) -> None:
        """``by_hand``: what ``begin`` returns gives up at once, and does not wait for a deadline."""
        noticed = server.hung_up if isinstance(server, FaultServer) else server.cancelled
        heard, gone = [], []
        for _ in range(TIMES):
            if isinstance(server, FaultServer):
                settle(server)
            noticed.clear()
            give_up = begin()
            assert not by_hand or not noticed.is_set(), "given up before"
            self.closed_at = 0.0
            began = time.perf_counter()
            give_up()
            assert noticed.wait(20), "nobody hung up"
            began = began if by_hand else self.closed_at
            heard.append(time.perf_counter() - began)
            assert wait_until(lambda: not our_threads()), "somebody still reads"
            gone.append(time.perf_counter() - began)
        print(f"\n{name}: hung up on after {_in_ms(heard)} ms, threads gone after {_in_ms(gone)} ms (goal {GOAL:g} s)")
        assert statistics.median(heard) < BOUND
        assert statistics.median(gone) < BOUND


def _in_ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} (most {max(seconds) * 1e3:.1f})"


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


@pytest.fixture
def guarded(guarded: Guarded) -> Guarded:
    guarded.settings.update(API_FALLBACK_FIRST_TOKEN_TIMEOUT=NEVER, API_FALLBACK_STALL_TIMEOUT=NEVER)
    return guarded


def in_a_thread(read: Callable[[], object]) -> None:
    """Whatever becomes of it: it is given up."""

    def run() -> None:
        try:
            read()
        except (StopIteration, EngineError):
            return

    threading.Thread(target=run, daemon=True).start()


# --- streamed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [reading_http, reading_ollama], ids=["requests", "ollama"])
@pytest.mark.parametrize("row", ["silence", "headers_then_silence"])
def test_dropped_before_its_first_read(
    guarded: Guarded, server: FaultServer, ask_http: Ask, ask_ollama: Ask, watch: Watch, reading: Any, row: str
) -> None:
    server.fault = row

    def begin() -> Callable[[], object]:
        readers = [reading(server.address)]
        server.be_asked()

        return readers.clear

    watch.measure(f"{reading.__name__}, dropped before its first read, {row}", begin, server)


@pytest.mark.parametrize("reading", [reading_http, reading_ollama], ids=["requests", "ollama"])
def test_closed_in_mid_reply(
    guarded: Guarded, server: FaultServer, ask_http: Ask, ask_ollama: Ask, watch: Watch, reading: Any
) -> None:
    server.fault = "stall_in_the_middle"

    def begin() -> Callable[[], object]:
        ways = reading(server.address)
        ways[0]()
        return lambda: ways[1]()  # the iterator lives as long as this: to drop it gives up, too

    watch.measure(f"{reading.__name__}, closed in mid-reply", begin, server)


@pytest.mark.parametrize("row", ["silence", "headers_then_silence", "stall_in_the_middle"])
def test_closed_while_another_thread_waits(
    guarded: Guarded, server: FaultServer, ask_http: Ask, watch: Watch, row: str
) -> None:
    server.fault = row

    def begin() -> Callable[[], object]:
        take, close = reading_http(server.address)
        in_a_thread(lambda: [take() for _ in range(9)])
        server.be_asked()
        return close

    watch.measure(f"reading_http, closed while another thread waits, {row}", begin, server)


# --- whole, and streamed, at a deadline ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("client", ["ask_http", "ask_ollama"])
@pytest.mark.parametrize("row", ["silence", "headers_then_silence", "stall_in_the_middle"])
def test_given_up_at_a_deadline(
    guarded: Guarded,
    server: FaultServer,
    request: pytest.FixtureRequest,
    watch: Watch,
    client: str,
    row: str,
    stream: bool,
) -> None:
    ask = request.getfixturevalue(client)
    server.fault = row
    guarded.settings.update(API_FALLBACK_FIRST_TOKEN_TIMEOUT=FIRST, API_FALLBACK_STALL_TIMEOUT=STALL)

    guarded.runtime.primaries.get(server.address).shut_down()  # a probe would be one more to be hung up on

    def begin() -> Callable[[], object]:
        return lambda: ask(server.address, stream)

    name = f"{client}, {'streamed' if stream else 'whole'}, at a deadline, {row}"
    watch.measure(name, begin, server, by_hand=False)


# --- LM Studio -------------------------------------------------------------------------------------------------------


def stream_of_studio() -> Any:
    return lms.llm("m").respond_stream(lms.Chat.from_history(HISTORY), config=CONFIG)


@pytest.mark.parametrize("how", ["dropped before its first read", "closed while another thread waits", "in mid-reply"])
def test_lm_studio(guarded: Guarded, studio: LMStudioServer, installed: None, watch: Watch, how: str) -> None:
    studio.fault = "stall_in_the_middle"

    def begin() -> Callable[[], object]:
        streams = [stream_of_studio()]
        studio.be_asked()
        if how == "in mid-reply":
            assert next(iter(streams[0])).content
        if how == "closed while another thread waits":
            in_a_thread(streams[0].result)
        return streams.clear if how.startswith("dropped") else streams[0].close  # type: ignore[no-any-return]

    watch.measure(f"lmstudio, {how}", begin, studio)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_lm_studio_at_a_deadline(
    guarded: Guarded, studio: LMStudioServer, ask_lmstudio: Ask, watch: Watch, stream: bool
) -> None:
    studio.fault = "stall_in_the_middle"
    guarded.settings["API_FALLBACK_STALL_TIMEOUT"] = STALL

    guarded.runtime.primaries.get(studio.address).shut_down()

    def begin() -> Callable[[], object]:
        return lambda: ask_lmstudio(studio.address, stream)

    name = f"lmstudio, {'streamed' if stream else 'whole'}, at a deadline"
    watch.measure(name, begin, studio, by_hand=False)


# --- the second server, and probes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["silence", "headers_then_silence", "stall_in_the_middle"])
@pytest.mark.parametrize("at_a_deadline", [True, False], ids=["at a deadline", "closed"])
def test_the_second_server(server: FaultServer, watch: Watch, row: str, at_a_deadline: bool) -> None:
    server.fault = row
    deadlines = Deadlines(5.0, FIRST, STALL) if at_a_deadline else Deadlines(5.0, NEVER, NEVER)

    def begin() -> Callable[[], object]:
        pieces = SecondServerClient(server.address, "m", deadlines=deadlines, clock=QuickClock()).stream(
            [Message("user", "Hello")]
        )
        in_a_thread(lambda: list(pieces))
        server.be_asked()
        return (lambda: None) if at_a_deadline else pieces.close

    name = f"second server, {'at a deadline' if at_a_deadline else 'closed'}, {row}"
    watch.measure(name, begin, server, by_hand=not at_a_deadline)


@pytest.mark.parametrize("row", ["silence", "headers_then_silence"])
def test_a_probe(server: FaultServer, watch: Watch, row: str) -> None:
    server.fault = row
    session = watched_session(requests.Session())
    url = f"http://{server.address}/v1/chat/completions"

    def probe(scope: CancelScope) -> Any:
        body = {"messages": MESSAGES, "stream": True}
        return read_reply(lambda: session.post(url, json=body, stream=True), server.address, scope)

    primary = Primary(server.address, lambda *_: None, QuickClock())

    def begin() -> Callable[[], object]:
        def ask() -> None:
            with pytest.raises(PrimaryError):
                primary._probe.first_word(probe, FIRST)

        return ask

    watch.measure(f"probe, {row}", begin, server, by_hand=False)
