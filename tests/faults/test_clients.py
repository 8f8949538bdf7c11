"""Every fault × every client library × streamed or whole: what Z-Waif gets, read exactly as Z-Waif reads it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama, free_address, guarded
from tests.helpers.fault_server import BEFORE_TEXT, HALF, HEALTHY, IN_THE_MIDDLE, FaultServer
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.specs import hookimpl

ollama = pytest.importorskip("ollama")
__all__ = ["ask", "ask_http", "ask_ollama", "guarded"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", HEALTHY)
def test_a_healthy_reply_comes_from_the_primary(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str, stream: bool
) -> None:
    server.fault = row
    assert ask(server.address, stream) == HEALTHY[row]
    assert guarded.plugin.asked == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", BEFORE_TEXT)
def test_a_failure_before_the_first_word_is_answered_locally(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str, stream: bool
) -> None:
    server.fault = row
    assert ask(server.address, stream) == LOCAL
    (_, failure), *more = guarded.plugin.asked
    assert not more
    assert failure.delivered == ""
    assert failure.cause
    assert len(guarded.plugin.records) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", IN_THE_MIDDLE)
def test_a_failure_in_the_middle_is_continued_from_that_character(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str, stream: bool
) -> None:
    server.fault = row
    assert ask(server.address, stream) == HALF + LOCAL
    ((_, failure),) = guarded.plugin.asked
    assert failure.delivered == HALF


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_refused(guarded: Guarded, ask: Ask, stream: bool) -> None:
    assert ask(free_address(), stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.REFUSED


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_name_that_does_not_resolve(
    guarded: Guarded, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unresolved(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    assert ask("no-such-host.invalid:5000", stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.REFUSED


def test_an_address_whose_port_is_no_port_is_answered_locally(guarded: Guarded, ask_http: Ask) -> None:
    assert ask_http("127.0.0.1:abc", True) == LOCAL


@pytest.mark.parametrize("row", ["silence", "stall_in_the_middle"])
def test_the_servers_slot_becomes_free_when_a_reply_is_given_up(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str
) -> None:
    def once_asked() -> Iterator[str]:
        server.be_asked()
        yield LOCAL

    guarded.plugin.pieces = once_asked
    server.fault = row
    ask(server.address, True)
    assert server.hung_up.wait(20)


def test_switched_off_the_call_passes_untouched(guarded: Guarded, server: FaultServer, ask: Ask) -> None:
    guarded.settings["API_FALLBACK_ENABLED"] = False
    server.fault = "http_500"
    with pytest.raises((KeyError, ollama.ResponseError)):
        ask(server.address, False)
    assert guarded.plugin.asked == []
    assert not server.asked[0].get("stream")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_when_nobody_answers_the_host_sees_the_failure(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    guarded.plugin.pieces = None
    server.fault = "reset_at_once"
    with pytest.raises((requests.ConnectionError, ConnectionError, ollama.ResponseError, Exception)) as caught:
        ask(server.address, stream)
    assert "NobodyAnswered" not in repr(caught.value)


def test_the_first_text_arrives_before_the_answer_is_complete(guarded: Guarded, ask_http: Ask) -> None:
    heard = threading.Event()

    def slowly() -> Iterator[str]:
        yield "One. "
        assert heard.wait(10.0), "the first text waits for the second"
        yield "Two."

    guarded.plugin.pieces = slowly
    body = {"messages": MESSAGES, "stream": True}
    response = requests.post(f"http://{free_address()}/v1/chat/completions", json=body, stream=True)
    events = sseclient.SSEClient(response).events()
    assert '"One. "' in next(events).data
    heard.set()
    assert "Two." in next(events).data


def test_nothing_is_generated_until_somebody_reads(guarded: Guarded, ask_http: Ask) -> None:
    response = requests.post(
        f"http://{free_address()}/v1/chat/completions", json={"messages": MESSAGES, "stream": True}, stream=True
    )
    assert response.status_code == 200
    assert guarded.plugin.asked == []


def test_a_reroll_leaves_the_old_answer_and_stops_its_speaker(guarded: Guarded, ask_http: Ask) -> None:
    closed: list[str] = []

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "word "
        except GeneratorExit:
            closed.append("closed")
            raise

    guarded.plugin.pieces = endless
    address = free_address()
    body = {"messages": MESSAGES, "stream": True}
    abandoned = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=True)
    left_behind = sseclient.SSEClient(abandoned).events()
    next(left_behind)
    guarded.plugin.pieces = ["A new answer."]
    assert ask_http(address, True) == "A new answer."
    assert closed == ["closed"]


def test_a_repeated_reply_is_never_handed_over_as_it_is(
    guarded: Guarded, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zwaif_hooks.guards.request.recent_replies", lambda _: (LOCAL,))
    said = ask(free_address(), True)
    assert said.startswith(LOCAL)
    assert said != LOCAL


@pytest.mark.parametrize("blank", [[], ["", "  "], ["\n"]])
def test_a_blank_answer_is_not_an_answer(guarded: Guarded, ask_http: Ask, blank: list[str]) -> None:
    class Second:
        @hookimpl(trylast=True)
        def on_primary_failure(self) -> list[str]:
            return ["Second speaks."]

    guarded.plugin.pieces = blank
    guarded.runtime.plugins.register(Second(), "second")
    assert ask_http(free_address(), True) == "Second speaks."


def test_a_plugin_that_breaks_in_the_middle_is_followed_by_the_next(guarded: Guarded, ask_http: Ask) -> None:
    def breaking() -> Iterator[str]:
        yield "I begin "
        raise RuntimeError("worker died")

    class Last:
        @hookimpl(trylast=True)
        def on_primary_failure(self, failure: Any) -> list[str]:
            assert failure.delivered == "I begin "
            return ["and I end."]

    guarded.plugin.pieces = breaking
    guarded.runtime.plugins.register(Last(), "last")
    assert ask_http(free_address(), True) == "I begin and I end."
    assert any("Plugin 'scripted' failed in the middle of its answer" in line for line in guarded.lines)
