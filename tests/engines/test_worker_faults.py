"""The local model dies in the middle of its own sentence: whoever goes on does so from that very character, once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.helpers import HELPERS
from tests.helpers.speaking_worker import PIECE, reply_to
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.last_words import LastWords, LastWordsTier
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.engine_types import LoadedModel, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure, PromptFormat
from zwaif_hooks.stream import CancelScope

COMMAND = (sys.executable, str(HELPERS / "speaking_worker.py"))
HANG_TIMEOUT = 3.0


class Second:
    """The tier behind the local model."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        self.begun.append(begun)
        whole = reply_to(request.messages[-1].content)
        assert whole.startswith(begun)
        return "second", iter([whole[len(begun) :]])


class Table:
    """The chain with a real worker, and what the user was told."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.said: list[str] = []
        self.second = Second()
        self.last: Second | LastWordsTier = self.second
        local = LocalTier(model, self.ready, PromptWriter(model, prompt), self.said.append)
        self.chain = Chain(lambda _: [local, self.last], self.said.append)

    def ready(self) -> LoadedModel:
        return self.model.load(LoadOptions("speaking"))

    def pieces(self, question: str, delivered: str = "") -> Iterator[str]:
        request = ChatRequest("oobabooga", (Message("user", question),), max_tokens=300)
        failure = PrimaryFailure(FailureKind.CUT, "the connection broke", delivered)
        return iter(self.chain.answer(request, failure).pieces)

    def text(self, question: str, delivered: str = "") -> str:
        return delivered + "".join(self.pieces(question, delivered))


def prompt(model: ModelInfo) -> list[PromptFormat]:
    return [PromptFormat(lambda messages, partial: f"{messages[-1].content}|{partial}")]


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalModel]:
    made = LocalModel(command=COMMAND, hang_timeout=HANG_TIMEOUT)
    yield made
    made.close()


@pytest.fixture
def table(worker: LocalModel) -> Table:
    return Table(worker)


DELIVERED: list[Callable[[str], str]] = [lambda whole: "", lambda whole: whole[:10]]


@pytest.mark.parametrize("delivered", DELIVERED, ids=["own reply", "continuation of the primary's"])
@pytest.mark.parametrize("at", [PIECE, 16, 47])
@pytest.mark.parametrize("what", ["kill", "exit"])
def test_the_restarted_worker_goes_on_from_that_character(
    table: Table, what: str, at: int, delivered: Callable[[str], str]
) -> None:
    question = f"{what} {at}"
    assert table.text(question, delivered(reply_to(question))) == reply_to(question)
    assert table.second.begun == []
    assert len(table.said) == (0 if at <= len(delivered(reply_to(question))) else 1)


@pytest.mark.parametrize("at", [16, 47])
def test_a_worker_that_lives_is_not_started_again(table: Table, at: int) -> None:
    """It would run out of memory once more: the next tier goes on from that character."""
    assert table.text(f"memory {at}") == reply_to(f"memory {at}")
    (begun,) = table.second.begun
    assert reply_to(f"memory {at}").startswith(begun)
    (line,) = table.said
    assert "Starting it again" not in line


def test_a_hang_in_the_middle_is_ended_and_gone_on_with(table: Table) -> None:
    assert table.text("hang 16") == reply_to("hang 16")
    (line,) = table.said
    assert "made no progress for 3 s" in line


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_from_outside_between_two_pieces(table: Table) -> None:
    pieces = table.pieces("say mia")
    text = next(pieces)
    pid = table.model.pid
    assert pid is not None
    psutil.Process(pid).kill()
    text += "".join(pieces)
    assert text == reply_to("say mia")
    assert table.model.pid not in (None, pid)


def test_a_worker_that_dies_again_leaves_the_rest_to_the_next_tier(table: Table) -> None:
    assert table.text("mortal 16") == reply_to("mortal 16")
    (begun,) = table.second.begun
    assert len(begun) > 16
    assert len(table.said) == 2


def test_a_worker_that_cannot_be_started_again_leaves_the_rest_to_the_next_tier(
    worker: LocalModel, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = table.pieces("exit 16")
    text = next(pieces)
    monkeypatch.setattr(worker._loader, "_command", (sys.executable, "-c", "raise SystemExit('no memory left')"))
    text += "".join(pieces)
    assert text == reply_to("exit 16")
    (begun,) = table.second.begun
    assert 0 < len(begun) <= 18
    assert "no memory left" in table.said[-1]


def test_when_nobody_is_left_the_sentence_is_ended_and_nothing_is_said_twice(table: Table) -> None:
    table.last = LastWordsTier(LastWords(seed=1))
    text = table.text("mortal 16")
    whole = reply_to("mortal 16")
    same = [length for length in range(len(text)) if text[:length] == whole[:length]]
    assert max(same) >= 16
    assert text[16:].strip()
    assert whole[:16] not in text[16:]
