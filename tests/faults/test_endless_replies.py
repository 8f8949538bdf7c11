"""Row 33 of the catalogue: a primary that never stops is ended behind a sentence and hung up on."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tests.faults.conftest import Guarded
from tests.helpers import fault_server as rows
from tests.helpers.clients import Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import FaultServer, Talk
from zwaif_hooks.reply.endless import LEAST_CHARS, MORE_CHARS

__all__ = ["ask", "ask_http", "ask_ollama"]

WAIT = 20.0


def for_ever(talk: Talk, words: list[str]) -> None:
    talk.open_stream()
    while not talk.server.stopping.is_set():
        talk.say(words)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("sentences", [True, False], ids=["sentences", "one long word"])
def test_a_reply_without_end(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, sentences: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["Hello ", "there, ", "my ", "dear ", "friend. "] if sentences else ["hello"]
    monkeypatch.setitem(rows.ROWS, "for_ever", lambda talk: for_ever(talk, words))
    server.fault = "for_ever"
    for _ in range(2):
        said = ask(server.address, stream)
        assert said.startswith("".join(words) * 3)
        assert LEAST_CHARS <= len(said) <= LEAST_CHARS + (len("".join(words)) if sentences else MORE_CHARS + 5)
        assert said.endswith(words[-1])
        assert server.hung_up.wait(WAIT)
        server.hung_up.clear()
    assert guarded.plugin.asked == []
    assert guarded.runtime.primaries.get(server.address).status().state == "healthy"
    (told,) = guarded.lines
    assert "did not stop" in told


def test_a_reply_without_end_is_never_a_repeat(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z-Waif would ask four more times, and get the same each time from a server with a fixed seed."""
    monkeypatch.setitem(rows.ROWS, "for_ever", lambda talk: for_ever(talk, ["Hello ", "there. "]))
    server.fault = "for_ever"
    said = ask_http(server.address, True)
    controller = ModuleType("API.api_controller")
    controller.ooga_history = [["Hi", said]]  # type: ignore[attr-defined]
    controller.send_via_oogabooga = print  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "API.api_controller", controller)
    again = ask_http(server.address, True)
    assert again.startswith(said) and again != said
