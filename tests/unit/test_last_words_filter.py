"""Last words never come back as memories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_service import Desk
from zwaif_fallback.answering import last_words_filter
from zwaif_fallback.answering.last_words_filter import LastWordsFilter
from zwaif_fallback.engine_types import Generation, GenerationStats
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, Message, PrimaryFailure, Purpose

LINE = 'Hm? Sorry, I was "miles away" just now.'
OTHER = "I am a little sleepy tonight."


@pytest.fixture
def said(tmp_path: Path) -> LastWordsFilter:
    words = LastWordsFilter(lambda: tmp_path / "data" / "said.json")
    words.add(LINE)
    return words


def request(*turns: str, purpose: Purpose = Purpose.CHAT, system: str = "You are Mia.") -> ChatRequest:
    """``turns`` by the user and the companion in turn."""
    spoken = [Message("assistant" if number % 2 else "user", text) for number, text in enumerate(turns)]
    return ChatRequest("ollama", (Message("system", system), *spoken), purpose=purpose)


def contents(asked: ChatRequest) -> list[str]:
    return [message.content for message in asked.messages[1:]]


def test_a_chat_forgets_the_line_and_keeps_what_the_user_said(said: LastWordsFilter) -> None:
    asked = request("Hello", "Hi!", "My cat is ill", LINE, "Are you there?")
    assert contents(said.without(asked)) == ["Hello", "Hi!", "My cat is ill", "Are you there?"]


def test_a_summary_forgets_the_exchange(said: LastWordsFilter) -> None:
    asked = request("Hello", "Hi!", "My cat is ill", LINE, "[System L] Summarize!", purpose=Purpose.SUMMARY)
    assert contents(said.without(asked)) == ["Hello", "Hi!", "[System L] Summarize!"]


def test_a_summary_of_nothing_else_is_asked_all_the_same(said: LastWordsFilter) -> None:
    asked = request("Hello", LINE, "[System L] Summarize!", purpose=Purpose.SUMMARY)
    assert contents(said.without(asked)) == ["[System L] Summarize!"]


@pytest.mark.parametrize(
    "as_kept",
    [
        LINE,
        "Hm? Sorry, I was miles away just now.",
        "Hm? Sorry, I was &quot;miles away&quot; just now.",
        f"Well, let me think... {LINE}",
        f"{LINE}\n",
    ],
    ids=["as said", "without quotes", "escaped", "behind a phrase of v1.14-R4", "with a line end"],
)
def test_it_is_known_however_z_waif_keeps_it(said: LastWordsFilter, as_kept: str) -> None:
    assert contents(said.without(request("Hello", as_kept, "And now?"))) == ["Hello", "And now?"]


def test_what_was_really_said_stays(said: LastWordsFilter) -> None:
    asked = request("Hello", OTHER, f"You said: {LINE}")
    assert said.without(asked) is asked


def test_a_short_line_is_no_part_of_another_reply(said: LastWordsFilter) -> None:
    said.add("Hm?")
    asked = request("Hello", "What was that? Hm?", "Nothing")
    assert said.without(asked) is asked
    assert contents(said.without(request("Hello", "Hm?", "Nothing"))) == ["Hello", "Nothing"]


def test_a_memory_that_quotes_it_loses_the_line(said: LastWordsFilter) -> None:
    memory = f"You are Mia.\n[System M] User: How are you?\nMia: {LINE}\nUser: Oh.\nMia: {OTHER}"
    kept = said.without(request("Hello", system=memory)).messages[0].content
    assert kept == f"You are Mia.\n[System M] User: How are you?\nUser: Oh.\nMia: {OTHER}"


def test_it_is_known_after_a_restart(said: LastWordsFilter, tmp_path: Path) -> None:
    again = LastWordsFilter(lambda: tmp_path / "data" / "said.json")
    assert contents(again.without(request("Hello", LINE, "Hm"))) == ["Hello", "Hm"]


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, null]"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "said.json"
    path.write_text(content, encoding="utf-8")
    words = LastWordsFilter(lambda: path)
    asked = request("Hello", LINE, "Hm")
    assert words.without(asked) is asked
    words.add(LINE)
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 1


def test_a_place_that_cannot_be_written_costs_other_runs_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    words = LastWordsFilter(lambda: tmp_path / "file" / "said.json")
    words.add(LINE)
    assert contents(words.without(request("Hello", LINE, "Hm"))) == ["Hello", "Hm"]


def test_old_ones_are_forgotten(said: LastWordsFilter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words_filter, "TEXTS_KEPT", 2)
    for line in (OTHER, "A third line of last words.", OTHER):
        said.add(line)
    assert json.loads((tmp_path / "data" / "said.json").read_text(encoding="utf-8")) == [
        "A third line of last words.",
        OTHER,
    ]


# --- in the service --------------------------------------------------------------------------------------------------


def answered(by: str, text: str, delivered: str = "") -> AnswerRecord:
    failure = PrimaryFailure(FailureKind.CUT, "cut", delivered)
    return AnswerRecord(request("Hello"), failure, "zwaif_fallback", by, text, 0.1, 0.2)


@pytest.mark.parametrize(
    ("record", "forgotten"),
    [
        (answered("last words", LINE), True),
        (answered("tiny", LINE), False),
        (answered("tiny, then last words", LINE), False),
        (answered("last words", " I lost my thread.", "Once upon a time"), False),
    ],
    ids=["last words", "a model", "both", "only the end"],
)
def test_only_a_reply_of_nothing_else_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: AnswerRecord, forgotten: bool
) -> None:
    monkeypatch.setattr("zwaif_hooks.log.log_path", lambda: tmp_path / "log" / "x.log")
    desk = Desk(tmp_path, monkeypatch)
    prompts: list[str] = []
    generate = desk.local.generate

    def noting(generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        prompts.append(generation.prompt)
        return generate(generation, stats)

    monkeypatch.setattr(desk.local, "generate", noting)
    desk.service.answered(record)
    asked = request("Hello", record.text, "And now?")
    "".join(desk.service.answer(asked, PrimaryFailure(FailureKind.CUT, "cut")).pieces)
    assert "And now?" in prompts[0]
    assert (record.text.strip() not in prompts[0]) == forgotten
