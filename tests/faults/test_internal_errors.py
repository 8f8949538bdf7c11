"""A mistake of ours while a healthy server is read: Z-Waif gets the server's reply, and the server stays well."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.faults.conftest import Guarded, begin_outage
from tests.faults.test_cleanup import wait_until
from tests.helpers import fault_server as rows
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask_http, ask_ollama, send_http
from tests.helpers.fault_server import REPLY, FaultServer, Talk
from tests.helpers.lmstudio_client import ask_lmstudio, installed, studio
from tests.helpers.lmstudio_server import LMStudioServer
from zwaif_hooks import log
from zwaif_hooks.failover import primary_reply, turn, turn_report
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.guards import http, lmstudio, ollama
from zwaif_hooks.network import sse

__all__ = ["ask_http", "ask_lmstudio", "ask_ollama", "installed", "studio"]

BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
LIBRARIES = pytest.mark.parametrize("library", ["requests", "ollama", "lmstudio"])
Server = FaultServer | LMStudioServer


def ask_plainly(address: str, stream: bool) -> str:
    """As a client that takes events without text: those reach Z-Waif where we do not leave them out."""
    if not stream:
        return send_http(address, False)
    body = {"messages": MESSAGES, "stream": True}
    response = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=True)
    events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith(b"data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


class Asked:
    """One library with the server that it asks."""

    def __init__(self, ask: Ask, server: Server) -> None:
        self._ask = ask
        self.server = server

    def __call__(self, stream: bool) -> str:
        return self._ask(self.server.address, stream)


def as_asked(talk: Talk) -> None:
    (rows.ROWS["healthy"] if talk.request_body.get("stream") else rows.ROWS["one_json_body"])(talk)


@pytest.fixture
def asked(library: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Asked:
    if library == "lmstudio":
        return Asked(request.getfixturevalue("ask_lmstudio"), request.getfixturevalue("studio"))
    monkeypatch.setitem(rows.ROWS, "as_asked", as_asked)
    server = request.getfixturevalue("server")
    server.fault = "as_asked"
    ask = request.getfixturevalue("ask_http" if library == "requests" else "ask_ollama")
    return Asked(ask_plainly if library == "requests" else ask, server)


def state(guarded: Guarded, server: Server) -> str:
    return str(guarded.runtime.primaries.get(server.address).status().state)


def break_the_readers(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Any]) -> None:
    """One function in each guard that sees every piece of a reply."""
    monkeypatch.setattr(sse, "_reason_of", broken)
    monkeypatch.setattr(ollama, "Chunk", broken)
    monkeypatch.setattr(lmstudio, "Chunk", broken)


def broken(*_: Any, **__: Any) -> Any:
    return None.oops  # type: ignore[attr-defined]


@BOTH_WAYS
@LIBRARIES
def test_before_the_first_word_z_waif_gets_what_it_would_get_without_us(
    guarded: Guarded, asked: Asked, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    break_the_readers(monkeypatch, broken)
    assert asked(stream) == REPLY
    assert asked(stream) == REPLY
    assert guarded.plugin.asked == guarded.plugin.outages == []
    assert state(guarded, asked.server) == "healthy"
    assert len(guarded.lines) == 2
    assert all("fault in zwaif-fallback itself" in line and "is sent without it" in line for line in guarded.lines)
    (record, _) = guarded.runtime.records.recent()
    assert (record.answered_by, record.cause) == ("primary", "")
    assert "AttributeError" in record.note
    assert "oops" not in record.note, "what an exception says may quote the conversation"


@BOTH_WAYS
@LIBRARIES
def test_in_the_middle_a_local_answer_goes_on_and_nothing_is_counted(
    guarded: Guarded, asked: Asked, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    seen = 0
    real = (sse._reason_of, lmstudio.Chunk)

    def breaks_later(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > 5:
            return broken()
        return real[0](*args) if len(args) == 1 else real[1](*args, **kwargs)

    break_the_readers(monkeypatch, breaks_later)
    text = asked(stream)
    assert text.endswith(LOCAL)
    assert text.removesuffix(LOCAL) and REPLY.startswith(text.removesuffix(LOCAL))
    assert guarded.plugin.outages == []
    assert state(guarded, asked.server) == "healthy"
    (line,) = guarded.lines
    assert "fault in zwaif-fallback itself" in line and "the fallback continues" in line
    assert [record.text for record in guarded.plugin.records] == [LOCAL]


@LIBRARIES
def test_behind_the_last_word_nothing_is_added(guarded: Guarded, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary_reply, "is_an_apology", broken)
    assert asked(True) == REPLY
    assert guarded.plugin.asked == []
    assert state(guarded, asked.server) == "healthy"
    (line,) = guarded.lines
    assert "after the last word" in line


@BOTH_WAYS
@LIBRARIES
def test_what_cannot_even_be_begun_passes_untouched(
    guarded: Guarded, asked: Asked, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    for guard in (http, ollama, lmstudio):
        monkeypatch.setattr(guard, "Call", broken)
    assert asked(stream) == REPLY
    assert guarded.plugin.asked == []
    (line,) = guarded.lines
    assert "is sent without it" in line


def test_records_that_cannot_be_kept_cost_no_reply(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_report, "TurnRecord", broken)
    assert ask_http(server.address, True) == REPLY
    (line,) = guarded.lines
    assert "could not be recorded" in line


def test_a_fault_in_asking_the_plugins_leaves_the_servers_failure_to_z_waif(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = "http_500"
    monkeypatch.setattr(turn.Takeover, "texts", broken)
    with pytest.raises(requests.RequestException, match="500"):
        ask_http(server.address, True)
    assert any("while asking the plugins" in line for line in guarded.lines)


def test_the_neutral_question_and_the_probe_blame_no_server(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question after a failure decides nothing, and an outage ends when the server is there."""
    server.fault = "polite_end_in_the_middle"
    ask_http(server.address, True)
    server.be_asked(2)
    primary = guarded.runtime.primaries.get(server.address)
    assert wait_until(lambda: not primary._checking)
    server.fault = "healthy"
    monkeypatch.setattr(sse, "_reason_of", broken)
    primary.check(guarded.plugin.asked[0][1])
    assert not primary.is_open
    assert "oops" in log.log_path().read_text(encoding="utf-8")
    begin_outage(guarded, server.address)
    assert guarded.plugin.recovered.wait(20)


def raised_by(code: str, module: str) -> BaseException:
    """As ``code`` fails in a file of ``module``."""
    scope: dict[str, Any] = {"__name__": module}
    exec(f"def run(call=None):\n    {code}", scope)
    return _error_of(scope["run"])


def _error_of(work: Callable[[], Any]) -> BaseException:
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


def nested(outer: str, inner: str) -> BaseException:
    scope: dict[str, Any] = {"__name__": outer}
    exec("def run(call):\n    call()", scope)
    scope_inside: dict[str, Any] = {"__name__": inner}
    exec("def fail():\n    return [][1]", scope_inside)
    return _error_of(lambda: scope["run"](scope_inside["fail"]))


@pytest.mark.parametrize(
    ("outer", "inner", "ours"),
    [
        ("zwaif_hooks.failover.reader", "zwaif_hooks.network.sse", True),
        ("zwaif_hooks.failover.reader", "json.decoder", True),
        ("urllib3.response", "zwaif_hooks.network.patient_sockets", True),
        ("zwaif_hooks.guards.ollama", "ollama._client", False),
        ("zwaif_hooks.guards.http", "http.client", False),
        ("requests.sessions", "somebodys_adapter", False),
    ],
)
def test_whose_fault_an_exception_is(outer: str, inner: str, ours: bool) -> None:
    assert is_internal_error(nested(outer, inner)) is ours


@pytest.mark.parametrize(
    "code",
    [
        "raise OSError('gone')",
        "raise MemoryError",
        "raise KeyboardInterrupt",
        "raise __import__('httpx').ReadError('')",
    ],
)
def test_what_the_system_or_a_library_says_is_no_mistake_of_ours(code: str) -> None:
    assert not is_internal_error(raised_by(code, "zwaif_hooks.network.patient_sockets"))
    assert not is_internal_error(None)
