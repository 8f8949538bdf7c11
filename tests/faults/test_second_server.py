"""The second server fails in every way that the primary may, and the local model goes on from the same character."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.faults.conftest import QuickClock
from tests.helpers.fault_catalogue import ENTRIES, REQUESTS, Play
from tests.helpers.fault_server import HALF, HEALTHY, REPLY, WORDS, FaultServer, Talk
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.second_server import Deadlines, SecondServerClient
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, PrimaryFailure, Sampling
from zwaif_hooks.reply.continuation import Joiner
from zwaif_hooks.reply.spoken_text import ThinkingHabit
from zwaif_hooks.stream import CancelScope

LOCAL = "Local text goes on."
ASKED = ChatRequest("oobabooga", (Message("user", "Hello"),), max_tokens=50, sampling=Sampling(temperature=0.7))
PATIENT, FIRST_TOKEN, STALL = 10_000.0, 15.0, 150.0
"""Seconds on a clock that runs a hundred times as fast: what does not hang is never late, however busy the machine."""
ROWS = [
    pytest.param(play, id=f"{entry.number}-{play.row}")
    for entry in ENTRIES
    for play in entry.plays
    if REQUESTS in play.clients
]
BEGUN = pytest.mark.parametrize("begun", ["", HALF], ids=["anew", "begun"])


class Local:
    """The next tier; ``asked`` is what it was told to go on from, each time."""

    def __init__(self, server: FaultServer, waits: bool) -> None:
        self._server = server
        self._waits = waits
        self.asked: list[str] = []

    def speak(self, _: ChatRequest, begun: str, __: CancelScope) -> tuple[str, Iterator[str]]:
        self.asked.append(begun)
        if self._waits:  # a deadline may be over before a busy machine has even sent the request
            self._server.be_asked()
        return "local", iter([f" {LOCAL}" if begun and not begun[-1].isspace() else LOCAL])


def chat(server: FaultServer, kind: FailureKind | None) -> SecondServerClient:
    first = FIRST_TOKEN if kind is FailureKind.FIRST_TOKEN_TIMEOUT else PATIENT
    stall = STALL if kind is FailureKind.STALLED else PATIENT
    return SecondServerClient(server.address, "m", deadlines=Deadlines(5.0, first, stall), clock=QuickClock())


Answer = tuple[str, list[str], list[str]]
"""What was said, what the local model was told to go on from, and what the user was told."""


def ask(server: FaultServer, row: str, begun: str, kind: FailureKind | None = None) -> Answer:
    server.fault = row
    local, told = Local(server, kind is FailureKind.FIRST_TOKEN_TIMEOUT), list[str]()
    tiers = [SecondServerTier(server.address, lambda: chat(server, kind)), local]
    answer = Chain(lambda _: tiers, told.append).answer(ASKED, PrimaryFailure(FailureKind.CUT, "cut", delivered=begun))
    return "".join(answer.pieces), local.asked, told


def joined(begun: str, said: str) -> str:
    """The reply that begins with ``begun``, whose last words ``said`` may say again."""
    joiner = Joiner(begun)
    return begun + joiner.feed(said) + joiner.finish()


@BEGUN
@pytest.mark.parametrize("play", ROWS)
def test_a_row(server: FaultServer, play: Play, begun: str) -> None:
    said, asked, told = ask(server, play.row, begun, play.kind)
    heard = joined(begun, play.said)
    if play.kind is None:
        assert (begun + said, asked, told) == (heard, [], [])
    else:
        assert asked == [heard]
        assert begun + said == f"{heard}{LOCAL}"
        (problem,) = told
        assert server.address in problem and "\n" not in problem


@BEGUN
@pytest.mark.parametrize("row", HEALTHY)
def test_a_healthy_reply(server: FaultServer, row: str, begun: str) -> None:
    said, asked, told = ask(server, row, begun)
    assert (begun + said, asked, told) == (joined(begun, HEALTHY[row]), [], [])


def test_refused(server: FaultServer) -> None:
    server.stop()
    said, asked, _ = ask(server, "healthy", "")
    assert (said, asked) == (LOCAL, [""])


def test_a_server_that_is_late_is_waited_for(server: FaultServer) -> None:
    threading.Thread(target=lambda: (server.be_asked(), server.release.set()), daemon=True).start()
    assert ask(server, "late_but_alive", "")[0] == REPLY


def unopened(talk: Talk) -> None:
    """A reasoning model whose template opens the thought, by a server that leaves its end in the reply."""
    talk.open_stream()
    talk.say(["Well, ", "they ", "greet me.", "\n</think>", "\n\n", *WORDS])
    talk.complete()


@BEGUN
def test_behind_its_thoughts_a_server_may_say_the_beginning_again(
    server: FaultServer, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thinks(talk: Talk) -> None:
        talk.open_stream()
        talk.say(["<think>", "\nThey ", "greet me.", "\n</think>", "\n\n", *WORDS])
        talk.complete()

    monkeypatch.setattr(server, "play", thinks)
    assert begun + ask(server, "healthy", begun)[0] == REPLY


@BEGUN
def test_a_server_whose_thoughts_are_not_opened_is_known_after_one_reply(
    server: FaultServer, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", unopened)
    habit = ThinkingHabit()
    tier = SecondServerTier(server.address, lambda: chat(server, None), habit=habit)
    failure = PrimaryFailure(FailureKind.CUT, "cut", delivered=begun)
    first, second = ("".join(Chain(lambda _: [tier], print).answer(ASKED, failure).pieces) for _ in range(2))
    assert first.endswith("sentences.")
    assert begun + second == REPLY


def test_a_reply_without_end_is_ended_behind_a_sentence(server: FaultServer) -> None:
    said, asked, _ = ask(server, "endless", "")
    assert said.endswith("hello. ") and asked == []
    assert server.hung_up.wait(20)
