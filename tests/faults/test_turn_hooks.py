"""The hooks of one turn, whoever answers: ``before_request``, ``sentence_spoken`` and ``turn_finished``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import HALF, REPLY, FaultServer
from zwaif_hooks.messages import ChatRequest, Message, Persona
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import TurnRecord

__all__ = ["ask", "ask_http", "ask_ollama"]


BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
PLUGIN = "changer"


class Listener:
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.requests: list[ChatRequest] = []
        self.records: list[TurnRecord] = []
        self._over = threading.Semaphore(0)

    @hookimpl
    def sentence_spoken(self, text: str, by: str, request: ChatRequest) -> None:
        self.told.append((by, text))
        self.requests.append(request)

    @hookimpl
    def turn_finished(self, record: TurnRecord) -> None:
        self.records.append(record)
        self._over.release()

    def after_the_turn(self) -> Listener:
        assert self._over.acquire(timeout=20)
        return self


@pytest.fixture
def listener(guarded: Guarded) -> Listener:
    made = Listener()
    assert guarded.runtime.plugins.register(made, "listener")
    return made


class Changer:
    def __init__(self, change: Callable[[ChatRequest], Any]) -> None:
        self.change = change

    @hookimpl
    def before_request(self, request: ChatRequest) -> Any:
        return self.change(request)


def let(guarded: Guarded, change: Callable[[ChatRequest], Any]) -> None:
    assert guarded.runtime.plugins.register(Changer(change), PLUGIN, guarded=True)


# --- what is told -----------------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_a_healthy_turn_is_told_once_with_its_sentences(
    guarded: Guarded, server: FaultServer, listener: Listener, ask: Ask, stream: bool
) -> None:
    assert ask(server.address, stream) == REPLY
    assert listener.after_the_turn().told == [("primary", REPLY)]
    (record,) = listener.records
    assert (record.answered_by, record.chars) == ("primary", len(REPLY))
    assert listener.requests[0].messages[-1].content == MESSAGES[-1]["content"]


@BOTH_WAYS
def test_a_sentence_that_a_plugin_ends_is_that_plugins(
    guarded: Guarded, server: FaultServer, listener: Listener, ask: Ask, stream: bool
) -> None:
    server.fault = "reset_in_the_middle"
    guarded.plugin.pieces = ["sentences. And ", "more. Yes!"]
    assert ask(server.address, stream) == HALF + "sentences. And more. Yes!"
    sentences = [HALF + "sentences.", "And more.", "Yes!"]
    assert listener.after_the_turn().told == [("scripted", sentence) for sentence in sentences]
    assert [record.answered_by for record in listener.records] == ["scripted"]


def test_a_plugin_is_told_while_the_reply_is_still_being_read(
    guarded: Guarded, server: FaultServer, listener: Listener, ask_http: Ask
) -> None:
    def pieces() -> Iterator[str]:
        yield "One. "
        for _ in range(2000):
            if listener.told:
                break
            time.sleep(0.005)
        yield "Two."

    server.fault, guarded.plugin.pieces = "http_500", pieces
    ask_http(server.address, True)
    assert listener.told[0] == ("scripted", "One.") and len(listener.after_the_turn().told) == 2


def test_a_turn_that_nobody_answers_is_over_too(
    guarded: Guarded, server: FaultServer, listener: Listener, ask_http: Ask
) -> None:
    server.fault, guarded.plugin.pieces = "http_500", None
    with pytest.raises((KeyError, requests.RequestException)):
        ask_http(server.address, False)
    assert [record.answered_by for record in listener.after_the_turn().records] == [""]
    assert listener.told == []


def test_a_listener_that_fails_is_named_and_the_reply_is_whole(guarded: Guarded, server: FaultServer, ask: Ask) -> None:
    class Bad(Listener):
        @hookimpl
        def sentence_spoken(self) -> None:
            raise RuntimeError("deaf")

    bad = Bad()
    guarded.runtime.plugins.register(bad, "bad")
    assert ask(server.address, True) == REPLY
    assert bad.after_the_turn().records
    assert any("'bad' failed in sentence_spoken" in line for line in guarded.lines)


# --- what is sent -----------------------------------------------------------------------------------------------------


def as_pirate(request: ChatRequest) -> ChatRequest:
    order = Message("system", "Talk like a pirate.")
    return replace(
        request,
        messages=(order, *request.messages),
        max_tokens=77,
        stop=("Arr",),
        sampling=replace(request.sampling, temperature=0.25, repetition_penalty=1.2),
        persona=Persona("Polly"),
    )


def options_of(body: dict[str, Any]) -> dict[str, Any]:
    return dict(body.get("options") or body)


@BOTH_WAYS
def test_the_server_gets_what_the_plugin_wants(guarded: Guarded, server: FaultServer, ask: Ask, stream: bool) -> None:
    let(guarded, as_pirate)
    assert ask(server.address, stream) == REPLY
    (body,) = server.asked
    sent = [(message["role"], message["content"]) for message in body["messages"]]
    assert sent == [("system", "Talk like a pirate."), ("user", MESSAGES[-1]["content"])]
    options = options_of(body)
    assert options.get("max_tokens", options.get("num_predict")) == 77
    assert (options["stop"], options["temperature"]) == (["Arr"], 0.25)
    assert options.get("repetition_penalty", options.get("repeat_penalty")) == 1.2


def test_the_fallback_gets_the_same(guarded: Guarded, server: FaultServer, ask: Ask) -> None:
    let(guarded, as_pirate)
    server.fault = "http_500"
    assert ask(server.address, True) == LOCAL
    ((request, _),) = guarded.plugin.asked
    assert request.messages[0].content == "Talk like a pirate."
    assert (request.max_tokens, request.persona.char_name, request.primary) == (77, "Polly", server.address)


def raises(_: ChatRequest) -> None:
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda request: None, ""),
        (lambda request: request, ""),
        (lambda request: replace(request), ""),
        (lambda request: replace(request, primary="elsewhere:1", stream=False, backend="lmstudio"), ""),
        (raises, "failed in before_request"),
        (lambda request: "Hello", "expected a ChatRequest or None"),
        (lambda request: replace(request, messages=()), "no messages"),
        (lambda request: replace(request, messages=({"role": "user", "content": "Hi"},)), "one of its messages"),
        (lambda request: replace(request, sampling=None), "its sampling is None"),
        (lambda request: replace(request, stop="Arr"), "its stop is"),
        (lambda request: time.sleep(1.0), "did not finish before_request within 0.5 s"),
    ],
)
def test_what_changes_nothing_is_sent_as_it_was(
    guarded: Guarded, server: FaultServer, ask: Ask, change: Callable[[ChatRequest], Any], told: str
) -> None:
    assert ask(server.address, True) == REPLY
    let(guarded, change)
    assert ask(server.address, True) == REPLY
    assert server.asked[0] == server.asked[1]
    lines = [line for line in guarded.lines if PLUGIN in line]
    assert len(lines) == bool(told) and told in "".join(lines)


def test_each_plugin_gets_the_request_as_the_one_before_left_it(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    def adding(word: str) -> Callable[[ChatRequest], ChatRequest]:
        return lambda request: replace(request, messages=(*request.messages, Message("user", word)))

    guarded.runtime.plugins.register(Changer(adding("second")), "second")
    guarded.runtime.plugins.register(Changer(adding("first")), "first")
    ask_http(server.address, True)
    assert [message["content"] for message in server.asked[0]["messages"]][-2:] == ["first", "second"]


def test_a_request_that_the_hook_sends_itself_is_not_guarded(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    """It would call the hook again, and so on."""
    calls: list[ChatRequest] = []

    def asks(request: ChatRequest) -> None:
        calls.append(request)
        body = {"messages": [{"role": "user", "content": "Sum up."}]}
        requests.post(f"http://{server.address}/v1/chat/completions", json=body)

    let(guarded, asks)
    assert ask_http(server.address, True) == REPLY
    assert len(calls) == 1 and len(server.asked) == 2


@pytest.mark.parametrize("content", ["text", "parts"])
def test_a_picture_stays_with_the_last_message(
    guarded: Guarded, server: FaultServer, ask_http: Ask, content: str
) -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": picture}}]
    raw = f'Look.<img src="{picture}">' if content == "text" else parts

    def louder(request: ChatRequest) -> ChatRequest:
        *before, last = request.messages
        return replace(request, messages=(*before, replace(last, content=last.content.upper())))

    let(guarded, louder)
    body = {"messages": [*MESSAGES, {"role": "user", "content": raw}]}
    requests.post(f"http://{server.address}/v1/chat/completions", json=body)
    sent = server.asked[0]["messages"]
    assert sent[0] == MESSAGES[0]
    assert "LOOK." in str(sent[1]["content"]) and picture in str(sent[1]["content"])
