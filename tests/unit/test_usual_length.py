from __future__ import annotations

import pytest

from zwaif_fallback.prompt.usual_length import RECENT, usual_words
from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.messages import ChatRequest, Message


def request(*replies: str, recent: tuple[str, ...] = ()) -> ChatRequest:
    turns = [m for text in replies for m in (Message("user", "And you?"), Message("assistant", text))]
    return ChatRequest("oobabooga", (*turns, Message("user", "Tell me.")), recent_replies=recent)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", 0),
        ("... !", 0),
        ("It's a well-kept secret, isn't it?", 6),
        ("*smiles* Hello — Sam!", 3),
        ("私はミアです。", 3),
        ("สวัสดีค่ะ", 5),
        ("मैं ठीक हूँ।", 3),
        ("أنا بخير، شكرا.", 3),
        ("저는 미아예요.", 2),
    ],
)
def test_words_of_any_script(text: str, words: int) -> None:
    assert words_in(text) == words


def test_nothing_said_yet() -> None:
    assert usual_words(request()) == 0
    assert usual_words(ChatRequest("ollama", ())) == 0


def test_one_long_story_does_not_count() -> None:
    assert usual_words(request("Yes, I do.", "Not at all!", "word " * 400)) == 3


def test_only_the_recent_replies_count() -> None:
    assert usual_words(request(*["word " * 80] * 30, *["Three words only."] * RECENT)) == 3


def test_a_thought_and_an_empty_reply_count_for_nothing() -> None:
    assert usual_words(request("<think>What does he want from me now?</think>Good morning!", "", "  ")) == 2


def test_a_summary_is_no_reply() -> None:
    messages = (Message("assistant", "word " * 200), *request("Good morning, Sam.").messages)
    assert usual_words(ChatRequest("oobabooga", messages)) == 3


def test_what_z_waif_remembers_counts_where_no_reply_was_sent() -> None:
    assert usual_words(request(recent=("I was at the lake.",))) == 5
    assert usual_words(request("Short.", recent=("I was at the lake.",))) == 1
