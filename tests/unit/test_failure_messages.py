"""Whatever goes wrong, the console says it in words that a person understands, and the log has the rest."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
import urllib3
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from zwaif_fallback import plugin
from zwaif_hooks import log
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.silence import too_long
from zwaif_hooks.guards import lmstudio
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network import openai_client
from zwaif_hooks.stream import CancelScope, PrimaryError

ollama = pytest.importorskip("ollama")
from zwaif_hooks.guards import ollama as ollama_guard  # noqa: E402

ADDRESS = "127.0.0.1:5000"
TECHNICAL = re.compile(
    r"circuit|Incomplete|Remote|ConnectionPool|Errno|bytes read|\w+Error\b|\w+Exception\b|timeout|token|"
    r"connection refused|0x|Traceback|object at|\{|<"
)
POOL: Any = urllib3.HTTPConnectionPool("127.0.0.1", 5000)


def max_retries(reason: Exception) -> requests.ConnectionError:
    return requests.ConnectionError(MaxRetryError(POOL, "/v1/chat/completions", reason))


def of_requests(error: Exception) -> PrimaryError:
    def send() -> requests.Response:
        raise error

    with pytest.raises(PrimaryError) as caught:
        list(openai_client.read_reply(send, ADDRESS, CancelScope()))
    return caught.value


def raw(stream: Callable[..., Iterator[bytes]]) -> Any:
    """As urllib3's response, as far as it is used."""
    return SimpleNamespace(headers={}, chunked=True, stream=stream, close=bool, release_conn=bool)


def of_a_broken_reply(error: Exception) -> PrimaryError:
    """One that breaks while it is read."""
    response = requests.Response()
    response.status_code = 200

    def stream(*_: object, **__: object) -> Iterator[bytes]:
        yield b'data: {"choices": [{"delta": {"content": "Hel'
        raise error

    response.raw = raw(stream)
    with pytest.raises(PrimaryError) as caught:
        list(openai_client.read_reply(lambda: response, ADDRESS, CancelScope()))
    return caught.value


def of_a_status(status: int, body: bytes) -> PrimaryError:
    response = requests.Response()
    response.status_code, response.reason = status, "No"
    response.raw = raw(lambda *_, **__: iter([body]))
    with pytest.raises(PrimaryError) as caught:
        list(openai_client.read_reply(lambda: response, ADDRESS, CancelScope()))
    return caught.value


def of_ollama(error: Exception) -> PrimaryError:
    return ollama_guard.failure_of(error, ADDRESS)


def of_lmstudio(name: str, text: str, begun: bool = False) -> PrimaryError:
    return lmstudio.failure_of(type(name, (Exception,), {})(text), begun)


REFUSED = NewConnectionError(POOL, "Failed to establish a new connection: [Errno 111] Connection refused")
INCOMPLETE = http.client.IncompleteRead(b"")
DISCONNECTED = http.client.RemoteDisconnected("Remote end closed connection without response")
BROKE = "broke off its reply"
NO_MEMORY = "answered with an error (CUDA out of memory)"
FAILURES: list[tuple[PrimaryError, str]] = [
    (of_requests(max_retries(REFUSED)), "is down"),
    (
        of_requests(max_retries(urllib3.exceptions.NameResolutionError("nowhere", POOL, socket.gaierror()))),
        "is down",
    ),
    (of_requests(requests.ConnectTimeout("HTTPConnectionPool(...)")), "did not accept the connection in time"),
    (of_requests(requests.ConnectionError(ProtocolError("Connection aborted.", DISCONNECTED))), BROKE),
    (of_requests(requests.ConnectionError(ConnectionResetError(104, "reset"))), BROKE),
    (of_requests(requests.exceptions.InvalidURL("Failed to parse: http://")), "failed"),
    (of_a_broken_reply(INCOMPLETE), BROKE),
    (
        of_a_broken_reply(ProtocolError("Connection broken: IncompleteRead(0 bytes read)", INCOMPLETE)),
        "broke off its reply",
    ),
    (
        of_a_broken_reply(ConnectionResetError(10054, "An existing connection was forcibly closed")),
        "broke off its reply",
    ),
    (of_a_status(500, b'{"error": {"message": "CUDA out of memory"}}'), NO_MEMORY),
    (of_a_status(502, b"<html><body>Bad Gateway</body></html>"), "answered with an error (HTTP 502)"),
    (of_a_status(404, b'{"error": "model x not found"}'), "refused the request (model x not found)"),
    (of_a_status(401, b""), "refused the request (HTTP 401)"),
    (of_a_status(429, b"slow down"), "asks for a pause"),
    (of_a_status(503, b'{"error": "No model is loaded"}'), "has no model loaded"),
    (of_ollama(httpx.ConnectError("[Errno 111] Connection refused")), "is down"),
    (of_ollama(ConnectionError("Failed to connect to Ollama. Please check …")), "is down"),
    (of_ollama(httpx.ConnectTimeout("timed out")), "did not accept the connection in time"),
    (of_ollama(httpx.ReadError("[Errno 104] Connection reset by peer")), BROKE),
    (of_ollama(httpx.RemoteProtocolError("peer closed connection (incomplete chunked read)")), BROKE),
    (of_ollama(httpx.DecodingError("Error -3 while decompressing data")), "sent something that is not a reply"),
    (of_ollama(ValueError("Expecting value: line 1 column 1 (char 0)")), "sent something that is not a reply"),
    (of_ollama(ollama.ResponseError("CUDA out of memory", 500)), NO_MEMORY),
    (of_ollama(ollama.ResponseError("model 'x' not found", 404)), "refused the request (model 'x' not found)"),
    (of_ollama(ollama.ResponseError("CUDA out of memory", -1)), NO_MEMORY),
    (of_ollama(RuntimeError("anything")), "failed"),
    (of_lmstudio("LMStudioWebsocketError", "Could not connect"), "is down"),
    (of_lmstudio("LMStudioWebsocketError", "closed", begun=True), BROKE),
    (of_lmstudio("LMStudioTimeoutError", "timed out"), "did not answer in time"),
    (of_lmstudio("LMStudioServerError", "No models loaded"), "has no model loaded"),
    (of_lmstudio("LMStudioPredictionError", "CUDA out of memory"), NO_MEMORY),
    (too_long(False, 15.0), "did not answer in time"),
    (too_long(True, 10.0), "stopped in the middle of its reply"),
]


@pytest.mark.parametrize(("error", "expected"), FAILURES, ids=lambda value: str(value)[:60])
def test_every_exception_that_the_guards_meet(error: PrimaryError, expected: str) -> None:
    assert failure_messages.what(error) == expected
    assert TECHNICAL.search(f"{failure_messages.what(error)}. {failure_messages.remedy(error)}") is None


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_has_its_words_and_what_to_do(kind: FailureKind) -> None:
    failure = PrimaryFailure(kind, "IncompleteRead(0 bytes read)", status=418)
    assert TECHNICAL.search(failure_messages.what(failure)) is None
    assert failure_messages.remedy(failure) or kind is FailureKind.OPEN, "an outage that goes on was told when it began"


@pytest.mark.parametrize(("error", "expected"), FAILURES, ids=lambda value: str(value)[:60])
def test_the_console_has_the_words_and_the_log_the_cause(
    error: PrimaryError, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugin, "service", lambda: SimpleNamespace(preload=lambda: None))
    failure = PrimaryFailure(error.kind, error.cause, status=error.status, said=error.said)
    plugin.primary_failed(ADDRESS, failure)
    shown = capsys.readouterr().out
    assert shown.startswith(f"[API] {ADDRESS} {expected}: replies come from the fallback until it is back. ")
    assert TECHNICAL.search(shown) is None
    assert error.cause in log.log_path().read_text(encoding="utf-8")


def test_a_server_that_is_not_asked_is_not_said_to_be_open() -> None:
    primary = Primary(ADDRESS, lambda *_: None)
    primary.failed(PrimaryFailure(FailureKind.CUT, "IncompleteRead(0 bytes read)"))
    assert failure_messages.what(primary.open_failure()) == "is not back yet"


def test_the_manual_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for kind, remedy in failure_messages.REMEDY.items():
        assert f"| {failure_messages.WHAT[kind]} | {remedy} |" in page, kind
