"""A server that is only late: a local answer is begun beside it, and whoever speaks first is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded, be_patient, hurry
from tests.faults.test_cleanup import wait_until
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import REPLY, FaultServer
from zwaif_hooks.failover import primary_reply
from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.messages import ChatRequest, FailureKind, Message
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.stream import CancelScope, Chunk

__all__ = ["ask", "ask_http", "ask_ollama"]


@pytest.fixture
def guarded(guarded: Guarded, server: FaultServer) -> Guarded:
    hurry(guarded, server)
    return guarded


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_the_late_primary_wins_when_it_speaks_before_the_local_model(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    finished = threading.Event()

    def loading_for_ever() -> Iterator[str]:
        server.release.set()
        finished.wait(20)
        yield "too late"

    server.fault = "late_but_alive"
    guarded.plugin.pieces = loading_for_ever
    assert ask(server.address, stream) == REPLY
    finished.set()
    assert guarded.plugin.records == []
    assert guarded.plugin.outages == []
    assert guarded.runtime.primaries.get(server.address).status().state == "healthy"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_the_local_model_wins_when_it_speaks_first(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    server.fault = "late_but_alive"
    assert ask(server.address, stream) == LOCAL
    ((_, failure),) = guarded.plugin.asked
    assert failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT
    assert ask(server.address, stream) == LOCAL
    assert guarded.plugin.asked[1][1].kind is FailureKind.OPEN, "the next message does not wait again"
    be_patient(guarded, server)
    server.fault = "healthy"
    server.release.set()
    assert guarded.plugin.recovered.wait(20.0), "a word to the probe is enough"
    assert ask(server.address, stream) == REPLY


def test_a_local_answer_that_says_nothing_leaves_the_primary_its_chance(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    def nothing() -> Iterator[str]:
        server.release.set()
        assert server.silence.is_over.wait(20)
        yield from ()

    server.fault = "late_but_alive"
    guarded.plugin.pieces = nothing
    assert ask_http(server.address, True) == REPLY


def test_silence_on_both_sides_is_the_primarys_failure(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "silence"
    guarded.plugin.pieces = None
    with pytest.raises(OSError, match="no text within 15 s"):
        ask_http(server.address, True)


def test_a_rival_is_not_far_ahead_of_its_reader(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    made: list[int] = []

    def endless() -> Iterator[str]:
        for number in range(10_000):
            made.append(number)
            yield f"word{number} "

    server.fault = "silence"
    guarded.plugin.pieces = endless
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    response = requests.post(f"http://{server.address}/v1/chat/completions", json=body, stream=True)
    events = sseclient.SSEClient(response).events()
    next(events)
    assert len(made) < 100
    response.close()


class Watch:
    """Notes what is told of late replies."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    @hookimpl
    def primary_late(self, primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
        self.told.append((primary, describe().messages[-1].content, delivered))


def test_a_server_that_may_fail_in_a_moment_is_told_of_once(
    guarded: Guarded, server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primary_reply, "UNUSUAL", 0.0)  # on the quick clock a hiccup of the machine is a usual silence
    watch = Watch()
    guarded.runtime.plugins.register(watch, "watch")
    assert ask(server.address, True) == REPLY
    assert watch.told == []
    server.fault = "late_but_alive"
    assert ask(server.address, True) == LOCAL
    assert wait_until(lambda: bool(watch.told))
    assert watch.told == [(server.address, MESSAGES[-1]["content"], "")]
    server.release.set()


def test_a_server_of_which_nothing_is_known_may_be_loading_its_model(
    guarded: Guarded, server: FaultServer, ask: Ask
) -> None:
    watch = Watch()
    guarded.runtime.plugins.register(watch, "watch")
    server.fault = "late_but_alive"
    assert ask(server.address, True) == LOCAL
    assert watch.told == []
    server.release.set()


def test_a_reply_that_was_left_in_the_middle_is_told_to_nobody(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    """Though the local answer, which was begun beside the server, has come to its end unheard."""
    server.fault = "silence"
    body = {"messages": MESSAGES, "stream": True}
    response = requests.post(f"http://{server.address}/v1/chat/completions", json=body, stream=True)
    turn = response.raw._turn
    lines = response.iter_lines()
    assert next(lines)
    assert wait_until(lambda: turn._takeover.record is not None)
    turn.abandon()
    assert list(lines)
    assert guarded.plugin.records == []


def test_a_local_answer_that_was_whole_but_unheard_leaves_no_trace(guarded: Guarded, server: FaultServer) -> None:
    """Both in one slice, so that nobody has looked at the local answer yet."""

    def source(scope: CancelScope) -> Iterator[Chunk]:
        with server.silence:
            while turn._race is None:
                scope.after_empty_wait()
        assert wait_until(lambda: turn._takeover is not None and turn._takeover.record is not None)
        yield Chunk("The server ")
        yield Chunk("speaks.", reason="stop")

    call = Call(server.address, source, source, lambda: ChatRequest("oobabooga", (Message("user", "Hi"),)), direct=True)
    turn = Turn(call, guarded.runtime).start(ahead=False)
    assert "".join(chunk.text for chunk in turn.chunks()) == "The server speaks."
    assert guarded.plugin.records == guarded.plugin.outages == []
    (record,) = guarded.runtime.records.recent()
    assert (record.answered_by, record.cause, record.fallback_tokens, record.taken_over_after) == (
        "primary",
        "",
        0,
        0.0,
    )
