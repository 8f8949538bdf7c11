"""Every turn leaves one record of who answered and why."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama, guarded
from tests.helpers.fault_server import HALF, REPLY, FaultServer
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.turn_log import BY_PRIMARY

__all__ = ["ask", "ask_http", "ask_ollama", "guarded"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("row", "by", "cause", "primary_chars", "chars"),
    [
        ("healthy", BY_PRIMARY, "", len(REPLY), len(REPLY)),
        ("http_500", "scripted", "http error", 0, len(LOCAL)),
        ("silence", "scripted", "first token timeout", 0, len(LOCAL)),
        ("reset_in_the_middle", "scripted", "cut", len(HALF), len(HALF + LOCAL)),
    ],
)
def test_one_record_a_turn(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    stream: bool,
    row: str,
    by: str,
    cause: str,
    primary_chars: int,
    chars: int,
) -> None:
    server.fault = row
    ask(server.address, stream)
    (record,) = guarded.runtime.records.recent()
    assert (record.answered_by, record.cause) == (by, cause)
    assert (record.primary_chars, record.chars) == (primary_chars, chars)
    assert record.primary == server.address
    assert record.seconds >= record.detected_after


def test_a_turn_nobody_answers_says_so(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "http_500"
    guarded.plugin.pieces = None
    with pytest.raises(OSError):
        ask_http(server.address, True)
    (record,) = guarded.runtime.records.recent()
    assert record.answered_by == ""
    assert record.cause == "http error"


def test_a_whole_reply_ends_the_doubt_about_a_server(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    primary = guarded.runtime.primaries.get(server.address)
    primary.failed(PrimaryFailure(FailureKind.CUT, "cut"))
    assert primary.status().state == "failing"
    assert ask_http(server.address, True) == REPLY
    assert primary.status().state == "healthy"
