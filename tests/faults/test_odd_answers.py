"""Answers in a form that is unusual: an error without its explanation, or a good reply under a wrong name."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import REPLY, WORDS, FaultServer, Talk
from zwaif_hooks.messages import FailureKind

__all__ = ["ask", "ask_http", "ask_ollama"]
STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def cut_status(status: int) -> Callable[[Talk], None]:
    def play(talk: Talk) -> None:
        talk.send_response(status)
        for name, value in {"Content-Length": "400", "Retry-After": "30"}.items():
            talk.send_header(name, value)
        talk.end_headers()
        talk.wfile.write(b'{"error": ')
        talk.close_connection = True

    return play


@STREAM
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, FailureKind.MISCONFIGURED), (429, FailureKind.RATE_LIMITED), (500, FailureKind.HTTP_ERROR)],
)
def test_a_status_counts_though_its_explanation_breaks_off(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    status: int,
    kind: FailureKind,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "play", cut_status(status))
    assert ask(server.address, stream) == LOCAL
    failure = guarded.plugin.asked[0][1]
    assert (failure.kind, failure.status) == (kind, status)
    assert failure.retry_after == (30 if status == 429 else None)


@STREAM
@pytest.mark.parametrize("endless", [False, True])
def test_an_explanation_that_does_not_end_is_not_waited_for(
    guarded: Guarded,
    server: FaultServer,
    ask_http: Ask,
    endless: bool,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play(talk: Talk) -> None:
        talk.send_response(503)
        talk.end_headers()
        while endless:
            talk.wfile.write(b"busy " * 100)
        talk.wfile.flush()
        talk.be_silent()

    monkeypatch.setattr(server, "play", play)
    began = time.monotonic()
    assert ask_http(server.address, stream) == LOCAL
    assert time.monotonic() - began < 10
    assert guarded.plugin.asked[0][1].status == 503


@STREAM
def test_a_stream_that_is_called_json_is_a_stream(
    guarded: Guarded, server: FaultServer, ask_http: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.send_response(200)
        talk.send_header("Content-Type", "application/json")
        talk.send_header("Transfer-Encoding", "chunked")
        talk.end_headers()
        talk.say(WORDS)
        talk.complete()

    monkeypatch.setattr(server, "play", play)
    assert ask_http(server.address, stream) == REPLY
    assert guarded.plugin.asked == []


@STREAM
def test_a_prompt_whose_length_cannot_be_told_is_sent_all_the_same(
    guarded: Guarded, server: FaultServer, ask_http: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.clients.MESSAGES", [{"role": "user", "content": [{"text": 5}]}])
    assert ask_http(server.address, stream) == REPLY
    assert guarded.lines and all(
        line.startswith("The length of the prompt could not be measured") for line in guarded.lines
    )
    assert guarded.plugin.asked == []
