"""Z-Waif's two HTTP clients as fixtures: each asks a server exactly as Z-Waif does, and reads the reply."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded, hurry
from zwaif_hooks.guards import http, swap

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
    yield send_http
    swap.restore(requests.Session, "request")


def send_http(address: str, stream: bool) -> str:
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
    yield send_ollama
    swap.restore(ollama.Client, "chat")


def send_ollama(address: str, stream: bool) -> str:
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


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
