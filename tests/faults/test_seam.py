"""The seam over real sockets: a stream cut anywhere, somebody who goes on in any way, one whole text at Z-Waif."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tests.faults.conftest import Guarded, ScriptedPlugin
from tests.helpers import fault_server as rows
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import FaultServer, Talk
from tests.helpers.seams import ENGLISH, TEXTS, Seam, seams, unclear
from zwaif_hooks.messages import Answer
from zwaif_hooks.reply.false_replies import could_be_an_apology

__all__ = ["ask", "ask_http", "ask_ollama"]
CASES = 120
"""For each client library."""


def chosen(dice: random.Random) -> list[Seam]:
    """Without those where nothing was passed on yet, because it might have become an apology."""
    cases = [seam for text in TEXTS for seam in seams(text, dice) if not unclear(seam)]
    return dice.sample([seam for seam in cases if not could_be_an_apology(seam.delivered)], CASES)


def in_tokens(text: str, dice: random.Random) -> Iterator[str]:
    letters = iter(text)
    while piece := "".join(islice(letters, dice.randint(1, 6))):
        yield piece


@pytest.fixture(autouse=True)
def in_real_time(guarded: Guarded) -> None:
    """Nobody waits for anything here, so no busy machine may be taken for a late server."""
    guarded.clock.speed = 1.0


@pytest.fixture
def cut_at(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], str], None]:
    """``cut_at(pieces, how)``: the server says these and then fails in that way."""

    def arm(pieces: list[str], how: str) -> None:
        def row(talk: Talk) -> None:
            talk.open_stream()
            talk.say(pieces)
            if how == "reset":
                talk.reset()
            elif how == "error":
                talk.event({"error": "Compute error" if talk.ollama else {"message": "Compute error"}})
            if how != "reset":
                talk.end()

        monkeypatch.setitem(rows.ROWS, "cut", row)
        server.fault = "cut"

    return arm


def test_a_stream_cut_anywhere_is_one_text(
    guarded: Guarded, server: FaultServer, ask: Ask, cut_at: Callable[[list[str], str], None]
) -> None:
    dice = random.Random(8)
    for seam in chosen(dice):
        guarded.plugin.pieces = Answer(list(in_tokens(seam.continuation, dice)), exact=seam.exact)
        cut_at(list(in_tokens(seam.delivered, dice)), dice.choice(("error", "end")))
        assert ask(server.address, True) == seam.text, seam
        guarded.runtime.primaries.get(server.address).succeeded()
    assert all(failure.delivered for _, failure in guarded.plugin.asked)
    assert len(guarded.plugin.asked) == CASES


def test_a_reset_loses_what_was_under_way_and_no_more(
    guarded: Guarded, server: FaultServer, ask: Ask, cut_at: Callable[[list[str], str], None]
) -> None:
    dice = random.Random(9)
    text = ENGLISH[3]
    guarded.plugin.pieces = lambda: Answer([text[len(guarded.plugin.asked[-1][1].delivered) :]], exact=True)
    for at in range(1, len(text)):
        cut_at(list(in_tokens(text[:at], dice)), "reset")
        assert ask(server.address, True) == text
        guarded.runtime.primaries.get(server.address).succeeded()


def test_an_emoji_cut_between_its_escapes_is_whole(
    guarded: Guarded, server: FaultServer, ask: Ask, cut_at: Callable[[list[str], str], None]
) -> None:
    guarded.plugin.pieces = Answer(["\U0001f600", " there."], exact=True)
    cut_at(["Look ", "\ud83d"], "error")
    assert ask(server.address, True) == "Look \U0001f600 there."
    assert guarded.plugin.asked[0][1].delivered == "Look "


def test_an_emoji_cut_between_its_bytes_is_left_to_the_next_speaker(
    guarded: Guarded, server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(talk: Talk) -> None:
        talk.open_stream()
        talk.text("Look ")
        message = {"message": {"content": "\U0001f600"}, "choices": [{"delta": {"content": "\U0001f600"}}]}
        line = json.dumps(message, ensure_ascii=False).encode()
        talk.raw((b"" if talk.ollama else b"data: ") + line[: line.index(b"\xf0") + 2])
        talk.reset()

    monkeypatch.setitem(rows.ROWS, "cut", row)
    server.fault = "cut"
    guarded.plugin.pieces = Answer(["\U0001f600", " there."], exact=True)
    assert ask(server.address, True) == "Look \U0001f600 there."


def test_a_second_speaker_that_breaks_off_is_followed_from_its_last_character(
    guarded: Guarded, server: FaultServer, ask: Ask, cut_at: Callable[[list[str], str], None]
) -> None:
    text = ENGLISH[0]
    asked: list[str] = []

    def breaks_off() -> Answer:
        said = first.asked[-1][1].delivered
        asked.append(said)

        def pieces() -> Iterator[str]:
            yield text[len(said) : len(said) + 20]
            raise ConnectionResetError("gone")

        return Answer(pieces(), exact=True)

    guarded.plugin.pieces = Answer([text[30:]], exact=True)
    first = ScriptedPlugin()
    first.pieces = breaks_off
    assert guarded.runtime.plugins.register(first, "first")
    cut_at([text[:10]], "end")
    assert ask(server.address, True) == text
    assert asked == [text[:10]] and guarded.plugin.asked[0][1].delivered == text[:30]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("said", "lead"),
    [
        (["<think>\n", "Okay, the user ", "says hello. I ", "should"], "...\n</think>\n\n"),
        (["<think>\n", "Okay, the user says hello.\n", "</th"], "ink>\n\n"),
        (["<think>\n", "Okay.\n", "</think>\n\n"], ""),
    ],
)
def test_a_reply_that_is_cut_in_her_thoughts_begins_behind_them(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    cut_at: Callable[[list[str], str], None],
    said: list[str],
    lead: str,
    stream: bool,
) -> None:
    cut_at(said, "end")
    assert ask(server.address, stream) == "".join([*said, lead, LOCAL])
    ((_, failure),) = guarded.plugin.asked
    assert failure.delivered == ""
