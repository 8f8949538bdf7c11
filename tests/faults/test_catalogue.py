"""Every known way in which local LLM servers fail, with every client library, streamed and whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import IMPATIENT, Guarded, be_patient, hurry, outage_begun
from tests.helpers import fault_catalogue, lmstudio_rows
from tests.helpers import fault_server as http_server
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_catalogue import ENTRIES, LMSTUDIO, OLLAMA, REQUESTS, Play
from tests.helpers.fault_server import REPLY, RETRY_AFTER, FaultServer
from tests.helpers.lmstudio_client import ask_lmstudio, installed, studio
from zwaif_hooks.failover.recovery import FOR_THE_USER
from zwaif_hooks.messages import FailureKind

__all__ = ["ask", "ask_http", "ask_lmstudio", "ask_ollama", "installed", "studio"]

ROOT = Path(__file__).parents[2]
STUDIO_STALL = 150.0
"""Seconds on the quick clock. LM Studio's server does not say when it is silent on purpose: between two words of a busy
machine there must be time enough."""
WAIT = 20.0
NEVER_ASKED = {"not_authorised", *lmstudio_rows.LOADING}
"""Rows that are over before LM Studio is asked for a reply."""
ASK = {REQUESTS: ("server", "ask_http"), OLLAMA: ("server", "ask_ollama"), LMSTUDIO: ("studio", "ask_lmstudio")}
"""Client library → the fixtures of its server and of its call."""
BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
MATRIX = [
    pytest.param(play, client, id=f"{entry.number}-{play.row}-{client}")
    for entry in ENTRIES
    for play in (*entry.plays, *entry.studio)
    for client in play.clients
]


def hurry_in(guarded: Guarded, server: Any, kind: FailureKind | None) -> None:
    if kind not in (FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED):
        return
    if isinstance(server, FaultServer):
        hurry(guarded, server)
    elif kind is FailureKind.FIRST_TOKEN_TIMEOUT:
        guarded.settings["API_FALLBACK_FIRST_TOKEN_TIMEOUT"] = IMPATIENT
    else:
        guarded.settings["API_FALLBACK_STALL_TIMEOUT"] = STUDIO_STALL


def once_asked(server: Any) -> Iterator[str]:
    """A deadline may be over before a busy machine has even sent the request; the local answer waits for that."""
    server.be_asked()
    yield LOCAL


@BOTH_WAYS
@pytest.mark.parametrize(("play", "client"), MATRIX)
def test_a_row(guarded: Guarded, request: pytest.FixtureRequest, play: Play, client: str, stream: bool) -> None:
    server, ask = (request.getfixturevalue(name) for name in ASK[client])
    hurry_in(guarded, server, play.kind)
    if play.kind is FailureKind.FIRST_TOKEN_TIMEOUT:
        guarded.plugin.pieces = lambda: once_asked(server)
    server.fault = play.row
    said = ask(server.address, stream)
    if play.kind is None:
        assert (said, guarded.plugin.asked) == (play.said, [])
        assert guarded.runtime.primaries.get(server.address).status().state == "healthy"
    else:
        ((_, failure),) = guarded.plugin.asked
        assert (failure.kind, failure.delivered) == (play.kind, play.said), failure.cause
        assert said == f"{play.said.rstrip()} {LOCAL}".lstrip()
    assert len(asked_for_a_reply(server)) == (play.row not in NEVER_ASKED)


def asked_for_a_reply(server: Any) -> list[Any]:
    """Without what was asked to learn why, which is not streamed, and without the neutral question after a failure."""
    if server.__class__ is FaultServer:
        return [body for body in server.asked if body.get("stream") and body["messages"] == MESSAGES]
    return [body for body in server.asked if len(body["history"]["messages"]) > 1]


# --- the catalogue itself --------------------------------------------------------------------------------------------


def test_all_rows_are_there_and_each_is_played_or_says_why_not() -> None:
    assert [entry.number for entry in ENTRIES] == list(range(1, 36))
    for entry in ENTRIES:
        assert any(play.clients for play in entry.plays) or entry.proof, entry.number
        assert entry.studio or entry.studio_proof or entry.studio_cannot, entry.number


def test_what_the_catalogue_names_exists() -> None:
    for entry in ENTRIES:
        assert {play.row for play in entry.plays} <= set(http_server.ROWS), entry.number
        assert {play.row for play in entry.studio} <= set(lmstudio_rows.ROWS), entry.number
        for proof in (entry.proof, entry.studio_proof):
            place, _, test = proof.partition("::")
            if place.startswith("tests/"):
                assert f"def {test}" in (ROOT / place).read_text(encoding="utf-8"), entry.number


def test_every_row_that_only_the_catalogue_has_is_played() -> None:
    played = {play.row for entry in ENTRIES for play in entry.plays}
    assert set(http_server.OTHERS) - played == {"late_but_alive", "refuses_a_parameter", "counts_its_tokens"}
    studio = {play.row for entry in ENTRIES for play in entry.studio}
    assert set(lmstudio_rows.ROWS) - studio == {"healthy", "endless", "loads_first", "half_a_frame"}


def test_the_manual_has_the_table_of_the_catalogue() -> None:
    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    assert fault_catalogue.as_markdown() in page
    assert fault_catalogue.not_in_lmstudio() in page


# --- what one reply does not show ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["lists_models_but_hangs", "loading_503"])
def test_a_server_that_only_lists_its_models_is_no_recovery(
    guarded: Guarded, server: FaultServer, ask: Ask, row: str
) -> None:
    import requests

    hurry_in(guarded, server, FailureKind.FIRST_TOKEN_TIMEOUT if row == "lists_models_but_hangs" else None)
    server.fault = row
    for _ in range(2):
        assert ask(server.address, True) == LOCAL
    server.be_asked(2 + 3)
    assert requests.get(f"http://{server.address}/v1/models").status_code == 200
    assert not guarded.plugin.recovered.is_set()
    assert ask(server.address, True) == LOCAL
    be_patient(guarded, server)
    server.fault = "healthy"
    assert guarded.plugin.recovered.wait(WAIT)
    assert ask(server.address, True) == REPLY
    assert set(server.looked_at) <= {"/v1/models", "/api/ps"}, "probes generate"


@pytest.mark.parametrize("row", ["no_models_loaded", "http_404", "http_401", "wrong_host_400"])
def test_what_its_owner_must_mend_is_told_once(guarded: Guarded, server: FaultServer, ask: Ask, row: str) -> None:
    server.fault = row
    assert ask(server.address, True) == LOCAL
    assert outage_begun(guarded)
    for _ in range(4):
        assert ask(server.address, True) == LOCAL
    (failure,) = guarded.plugin.outages
    assert failure.kind in FOR_THE_USER
    assert str(failure.status) in failure.cause
    assert len([body for body in server.asked if body["messages"] == MESSAGES]) == 1


@pytest.mark.parametrize("row", ["http_429", "http_429_until"])
def test_a_server_that_asks_for_a_pause_gets_it(guarded: Guarded, server: FaultServer, ask: Ask, row: str) -> None:
    server.fault = row
    for _ in range(5):
        assert ask(server.address, True) == LOCAL
    server.be_asked(2)
    first, second, *_ = server.asked_at
    assert (second - first) * guarded.clock.speed >= RETRY_AFTER - 1, "a date has no fractions of a second"
    assert len([body for body in server.asked if body["messages"] == MESSAGES]) == 1


def test_a_reply_without_end_is_hung_up_on_when_nobody_reads_it(guarded: Guarded, server: FaultServer) -> None:
    import requests

    from tests.faults import test_concurrency as concurrent
    from zwaif_hooks.guards import http, swap

    http.install(requests.sessions, guarded.runtime)
    server.fault = "endless"
    response = requests.post(f"http://{server.address}/v1/chat/completions", json=concurrent.body_of("x"), stream=True)
    lines = response.iter_lines()
    assert sum(b"hello" in next(lines) for _ in range(1000)) == 500
    response.close()
    swap.restore(requests.Session, "request")
    assert server.hung_up.wait(WAIT)
    assert guarded.plugin.asked == []
