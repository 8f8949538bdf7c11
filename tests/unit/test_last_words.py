from __future__ import annotations

import re
from pathlib import Path

import pytest

from zwaif_fallback.answering.last_words import APART, LastWords, built_in_text, parse
from zwaif_hooks.messages import Purpose

FORBIDDEN = ("Sorry,", "connection issues", "having trouble", "Error", "something unexpected")


def test_the_built_in_lines_are_many_and_in_character() -> None:
    lines, endings, meanwhile = parse(built_in_text())
    assert len(lines) >= 40
    assert len(endings) >= APART
    assert len(meanwhile) >= APART
    for line in [*lines, *endings, *meanwhile]:
        assert not [text for text in FORBIDDEN if text.lower() in line.lower()]
        assert not re.search(r"[()/#*:\[\]]", line), "Z-Waif reads these as commands or as another speaker"
        assert 10 <= len(line) <= 100


@pytest.mark.parametrize("purpose", [Purpose.CHAT, Purpose.SUMMARY])
def test_no_two_alike_within_twenty(purpose: Purpose) -> None:
    words = LastWords(seed=1)
    said = [words.line(purpose) for _ in range(400)]
    assert all(len(set(said[i : i + APART])) == APART for i in range(len(said) - APART))


def test_no_two_endings_alike_within_twenty() -> None:
    words = LastWords(seed=1)
    said = [words.ending("I was thinking that we").strip() for _ in range(400)]
    assert all(len(set(said[i : i + APART])) == APART for i in range(len(said) - APART))


def test_no_two_lines_while_waiting_alike_within_twenty() -> None:
    words = LastWords(seed=1)
    said = [words.meanwhile() for _ in range(400)]
    assert all(len(set(said[i : i + APART])) == APART for i in range(len(said) - APART))
    assert all(line.endswith("…") for line in said)


def test_what_was_just_said_is_avoided() -> None:
    words = LastWords(seed=2)
    lines, _, _ = parse(built_in_text())
    assert words.line(avoid=lines[:-1]) == lines[-1]


def test_an_own_file(tmp_path: Path) -> None:
    own = tmp_path / "meine Worte.txt"
    own.write_text("\ufeff# mine\nMeow, später 🙂\n\nPurr purr.\n… meow?\n", encoding="utf-8")
    words = LastWords(lambda: str(own))
    assert [words.line() for _ in range(4)][2:] != []
    assert {words.line() for _ in range(4)} == {"Meow, später 🙂", "Purr purr."}
    assert words.ending("I was going to") == "… meow?"


@pytest.mark.parametrize("content", [None, b"", b"# only a comment\n", b"\xff\xfe\x00bad", b"a\n"])
def test_a_file_that_cannot_be_used_is_said_once(content: bytes | None, tmp_path: Path) -> None:
    own, said = tmp_path / "own.txt", list[str]()
    if content is not None:
        own.write_bytes(content)
    words = LastWords(lambda: str(own), said.append)
    built_in = parse(built_in_text())[0]
    assert words.line() in built_in and words.line() in built_in
    assert len(said) == 1 and str(own) in said[0]


def test_a_broken_sentence_is_ended_gracefully() -> None:
    words = LastWords(seed=3)
    for _ in range(30):
        assert words.ending("I was thinking that we")[:2] in ("… ", " —")
        assert words.ending("we ")[0] in "…—"


def test_after_a_whole_sentence_comes_a_whole_line() -> None:
    words = LastWords(seed=4)
    for begun, gap in (("I am fine.", " "), ("Oh! ", ""), ("好。", " ")):
        said = words.ending(begun)
        assert said.removeprefix(gap) in parse(built_in_text())[0]


def test_a_summary_claims_nothing() -> None:
    words = LastWords()
    assert words.line(Purpose.SUMMARY) not in parse(built_in_text())[0]
