"""What the user is told of a failure, and of a reply, that says nothing about itself on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_rows_whole import PROMPT_TOKENS, REPLY_TOKENS
from tests.helpers.fault_server import HALF, REPLY, FaultServer
from zwaif_hooks.guards.empty_reply import MODEL_INFO
from zwaif_hooks.messages import FailureKind, PrimaryFailure

__all__ = ["ask", "ask_http", "ask_ollama"]

PATIENT = 100_000.0
"""Seconds on the quick clock: nothing here is late, and no deadline ends while the test waits for what is learnt."""
WAIT = 20.0
PROMPT = [{"role": "user", "content": "word " * 4000}]


def stream_of(address: str, **body: Any) -> str:
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, **body}
    response = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=True)
    events: Any = sseclient.SSEClient(response)  # type: ignore[arg-type]
    return "".join(json.loads(event.data)["choices"][0]["delta"]["content"] for event in events.events())


def until(holds: Callable[[], Any]) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to pass")


# --- text-generation-webui without a model ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["role_then_abort", "blank_reply"])
def test_a_server_without_a_model_is_told_once_with_the_remedy(
    guarded: Guarded, server: FaultServer, ask_http: Ask, row: str
) -> None:
    server.fault = row
    server.facts[MODEL_INFO] = {"model_name": "None", "lora_names": []}
    assert ask_http(server.address, True) == LOCAL
    until(lambda: guarded.plugin.outages)
    for _ in range(4):
        assert ask_http(server.address, True) == LOCAL
    (outage,) = guarded.plugin.outages
    assert outage.kind is FailureKind.NO_MODEL
    assert "no model is loaded" in outage.cause
    asked = [body for body in server.asked if body.get("stream") and body["messages"] == MESSAGES]
    assert len(asked) == 1, "the outage began with the reason"


def test_a_model_that_was_loaded_ends_the_outage(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "role_then_abort"
    server.facts[MODEL_INFO] = {"model_name": "None"}
    ask_http(server.address, True)
    until(lambda: guarded.plugin.outages)
    server.fault, server.facts[MODEL_INFO] = "healthy", {"model_name": "mine"}
    assert guarded.plugin.recovered.wait(WAIT)
    assert ask_http(server.address, True) == REPLY


# --- a parameter that it does not accept -----------------------------------------------------------------------------


def test_a_refused_parameter_is_told_once_in_the_servers_own_words(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    server.fault = "refuses_a_parameter"
    assert stream_of(server.address, preset="Z-Waif-Mine") == LOCAL
    until(lambda: guarded.plugin.outages)
    for _ in range(4):
        assert stream_of(server.address, preset="Z-Waif-Mine") == LOCAL
    (outage,) = guarded.plugin.outages
    assert outage.kind is FailureKind.MISCONFIGURED
    assert outage.cause.endswith("refuses the request: Preset not found: Z-Waif-Mine")
    assert not guarded.plugin.recovered.is_set(), "the neutral question holds the same preset"


def test_a_server_that_says_nothing_more_is_asked_once_an_outage(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    server.fault = "headers_then_abort"
    for _ in range(4):
        assert ask_http(server.address, True) == LOCAL
    until(lambda: [body for body in server.asked if not body["stream"]])
    assert server.looked_at == [MODEL_INFO]
    assert guarded.plugin.outages[0].kind is FailureKind.CUT


def test_a_cut_in_mid_reply_is_not_asked_about(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "cut_without_end"
    assert ask_http(server.address, True) == HALF + LOCAL
    assert server.looked_at == []


# --- Ollama: a model that its user has unloaded ----------------------------------------------------------------------


@pytest.mark.parametrize("running", [["m:latest"], []], ids=["in memory", "unloaded"])
def test_a_probe_never_loads_what_the_user_has_unloaded(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, running: list[str]
) -> None:
    server.facts["/api/ps"] = {"models": [{"name": name, "model": name} for name in running]}
    server.fault = "http_500"
    assert ask_ollama(server.address, True) == LOCAL
    primary = guarded.runtime.primaries.get(server.address)
    primary._open(PrimaryFailure(FailureKind.HTTP_ERROR, "broken"))
    server.fault = "healthy"
    assert guarded.plugin.recovered.wait(WAIT)
    assert any(body["options"] == {"num_predict": 1} for body in server.asked) == bool(running)
    assert ask_ollama(server.address, True) == REPLY


def test_a_model_that_does_not_exist_is_no_unloaded_one(guarded: Guarded, server: FaultServer, ask_ollama: Ask) -> None:
    """Otherwise the outage would end and begin again, and the user would be told again."""
    server.fault = "http_404"
    server.facts["/api/ps"] = {"models": []}
    assert ask_ollama(server.address, True) == LOCAL
    server.be_asked(1 + 3)
    assert ask_ollama(server.address, True) == LOCAL
    assert len(guarded.plugin.outages) == 1
    assert not guarded.plugin.recovered.is_set()


def test_a_server_that_was_away_has_unloaded_nothing(guarded: Guarded, server: FaultServer, ask_ollama: Ask) -> None:
    """A new process has an empty memory. To load the model now is what the next message would wait for."""
    server.fault = "reset_at_once"
    for _ in range(2):
        assert ask_ollama(server.address, True) == LOCAL
    server.facts["/api/ps"] = {"models": []}
    server.fault = "healthy"
    assert guarded.plugin.recovered.wait(WAIT)
    assert "/api/ps" not in server.looked_at


# --- what the server counted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_the_record_has_the_tokens_that_the_server_counted(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool
) -> None:
    server.fault = "counts_its_tokens"
    assert ask(server.address, stream) == REPLY
    (record,) = guarded.runtime.records.recent()
    assert (record.primary_tokens, record.primary_tokens_estimated) == (REPLY_TOKENS, False)
    assert record.note == "", "a short prompt was read"


def test_a_shortened_prompt_is_told_once(guarded: Guarded, server: FaultServer, ask_ollama: Ask) -> None:
    import ollama

    server.fault = "counts_its_tokens"
    client = ollama.Client(host=f"http://{server.address}")
    for _ in range(3):
        assert client.chat(model="m", messages=PROMPT).message.content == REPLY
    (line,) = guarded.lines
    assert f"read only {PROMPT_TOKENS} of about 4000 tokens" in line
    assert "num_ctx" in line
    assert all(record.note for record in guarded.runtime.records.recent())
    assert guarded.plugin.asked == []
