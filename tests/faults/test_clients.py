"""Every fault × every client library × streamed or whole: what Z-Waif gets, read exactly as Z-Waif reads it."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded, hurry
from tests.faults.server import BEFORE_TEXT, HALF, HEALTHY, IN_THE_MIDDLE, FaultServer
from zwaif_hooks.guards import http, swap
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.specs import hookimpl

ollama = pytest.importorskip("ollama")

NO_IDLE_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)
"""So that what is still open is not the client's own, which keeps a connection for its next request."""
MESSAGES = [{"role": "user", "content": "Hello"}]
LOCAL = "Local text goes on."
Ask = Callable[[str, bool], str]


SILENT = ("silence", "headers_then_silence", "comments_only", "role_then_silence")
"""Rows that are over when the first-token deadline is."""


@pytest.fixture
def guarded(guarded: Guarded, request: pytest.FixtureRequest) -> Guarded:
    """Nothing is late but in a row that hangs."""
    row = getattr(request.node, "callspec", None)
    name = row.params.get("row", "") if row is not None else ""
    if name in SILENT or name == "stall_in_the_middle":
        hurry(guarded, request.getfixturevalue("server"))
    return guarded


@pytest.fixture
def ask_http(guarded: Guarded) -> Iterator[Ask]:
    http.install(requests.sessions, guarded.runtime)
    yield _ask_http
    swap.restore(requests.Session, "request")


def _ask_http(address: str, stream: bool) -> str:
    body: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 50, "mode": "chat", "character": "Waif", "stop": ["#"]}
    if not stream:
        reply = requests.post(f"http://{address}/v1/chat/completions", json=body, verify=False)
        return str(reply.json()["choices"][0]["message"]["content"])
    body["stream"] = True
    response = requests.post(f"http://{address}/v1/chat/completions", json=body, verify=False, stream=True)
    text = ""
    for event in sseclient.SSEClient(response).events():
        text += json.loads(event.data)["choices"][0]["delta"]["content"]
    return text


@pytest.fixture
def ask_ollama(guarded: Guarded) -> Iterator[Ask]:
    from zwaif_hooks.guards import ollama as guard

    guard.install(sys.modules["ollama._client"], guarded.runtime)
    yield _ask_ollama
    swap.restore(ollama.Client, "chat")


def _ask_ollama(address: str, stream: bool) -> str:
    client = ollama.Client(host=f"http://{address}", limits=NO_IDLE_CONNECTIONS)
    options = {"num_predict": 50, "stop": ["#"], "temperature": 0.7}
    if not stream:
        return str(client.chat(model="m", messages=MESSAGES, keep_alive="25h", options=options).message.content)
    parts = client.chat(model="m", messages=MESSAGES, stream=True, keep_alive="25h", options=options)
    return "".join(part["message"]["content"] for part in parts)


@pytest.fixture(params=["requests", "ollama"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.getfixturevalue("ask_http" if request.param == "requests" else "ask_ollama")
    return chosen


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
    assert ask(_free_address(), stream) == LOCAL
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
    response = requests.post(f"http://{_free_address()}/v1/chat/completions", json=body, stream=True)
    events = sseclient.SSEClient(response).events()
    assert '"One. "' in next(events).data
    heard.set()
    assert "Two." in next(events).data


def test_nothing_is_generated_until_somebody_reads(guarded: Guarded, ask_http: Ask) -> None:
    response = requests.post(
        f"http://{_free_address()}/v1/chat/completions", json={"messages": MESSAGES, "stream": True}, stream=True
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
    address = _free_address()
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
    said = ask(_free_address(), True)
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
    assert ask_http(_free_address(), True) == "Second speaks."


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
    assert ask_http(_free_address(), True) == "I begin and I end."
    assert "Plugin 'scripted' failed in the middle of its answer" in guarded.lines


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
