"""What of a model's output is for ears, however it is cut into pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zwaif_hooks.reply.spoken_text import SpokenTextFilter, ThinkingHabit, split_thoughts, spoken

NAME = "Waifu"
HELLO = "Hello you! I missed you."


def heard(*pieces: str, begun: str = "", habit: ThinkingHabit | None = None) -> str:
    return "".join(spoken(pieces, NAME, begun, habit))


NOT_FOR_EARS = {
    "qwen3": (f"<think>\nOkay, the user says hello. I should be warm. </think>\n\n{HELLO}", HELLO),
    "only thoughts": ("<think>\n" + "Okay, the user says hello, let me think about that again. " * 12, ""),
    "empty thoughts": (f"<think>\n\n</think>\n\n{HELLO}", HELLO),
    "only the end of thoughts": (f"Okay, the user says hello. I should be warm.\n</think>\n\n{HELLO}", HELLO),
    "a tag alone": (f"</think>{HELLO}", HELLO),
    "gpt-oss by llama.cpp": (f"analysisThe user says hello. We answer warmly.assistantfinal{HELLO}", HELLO),
    "gpt-oss with marks": (
        "<|channel|>analysis<|message|>The user says hello.<|end|><|start|>assistant<|channel|>final<|message|>Hello!",
        "Hello!",
    ),
    "gpt-oss, only the end": (f"<|channel|>final<|message|>{HELLO}<|return|>", HELLO),
    "magistral": (f"[THINK]Hm.[/THINK]{HELLO}", HELLO),
    "thoughts in between": ("I am here. <think>Why?</think> And you?", "I am here. And you?"),
    "the name": (f"Waifu: {HELLO}", HELLO),
    "the name with a space": (f" Waifu : {HELLO}", HELLO),
    "the name in small letters": (f"waifu: {HELLO}", HELLO),
    "the name in stars": (f"**Waifu:** {HELLO}", HELLO),
    "the name in stars, the colon outside": (f"**Waifu**: {HELLO}", HELLO),
    "the name twice": (f"Waifu: Waifu: {HELLO}", HELLO),
    "the name and an action": ("Waifu: *smiles* Hi.", "*smiles* Hi."),
    "the name in the middle": ("I had a good day.\nWaifu: And I went out.", "I had a good day.\nAnd I went out."),
    "assistant": (f"assistant\n\n{HELLO}", HELLO),
    "Assistant:": (f"Assistant: {HELLO}", HELLO),
    "AI": (f"AI: {HELLO}", HELLO),
    "an opened turn": (f"<|im_start|>assistant\n{HELLO}<|im_end|>", HELLO),
    "llama 3": (f"<|start_header_id|>assistant<|end_header_id|>\n\n{HELLO}<|eot_id|>", HELLO),
    "deepseek": (f"{HELLO}<｜end▁of▁sentence｜>", HELLO),
    "gemma": (f"{HELLO}<end_of_turn>\n<start_of_turn>user\nHi", HELLO),
    "gemma 4": (f"<|channel>thought\nThe user says hello.\n<channel|>{HELLO}<turn|>", HELLO),
    "gemma 4 without thoughts": (f"<|channel>thought\n<channel|>{HELLO}", HELLO),
    "gemma 4, the next turn": (f"{HELLO}<turn|>\n<|turn>user\nHi", HELLO),
    "the next turn": (f"{HELLO}<|im_end|>\n<|im_start|>user\nNice!", HELLO),
    "a token first": (f"</s>{HELLO}</s>", HELLO),
    "only a token": ("<|im_end|>", ""),
}
FOR_EARS = [
    HELLO,
    "",
    "<3",
    "I <3 you [really] a<b> <i>so</i> much [1]",
    "*smiles* Hi.",
    "** **",
    "Waifu is my name. Waifu, that is me.",
    "My name: Waifu",
    "Assistants are nice. assistant",
    "analysis of this takes time",
    "Okay, the usual, then.",
    "The user manual says: nothing.",
    "I think: yes.\n\n  * one\n  * two\n\n```py\nif a < b:\n    pass\n```",
    "Ai, that hurts!",
    "bot",
    "今日はいい天気ですね。\nWaifuは元気です。",
    "\ud83d\ude00",
    "  leading",
    "<",
    "a <|",
]


def cuts(text: str) -> list[list[str]]:
    return [[text], list(text), *([text[:place], text[place:]] for place in range(1, len(text)))]


@pytest.mark.parametrize("case", NOT_FOR_EARS)
def test_what_is_not_for_ears_is_not_spoken(case: str) -> None:
    text, words = NOT_FOR_EARS[case]
    for pieces in cuts(text):
        assert heard(*pieces).strip() == words


@pytest.mark.parametrize("text", FOR_EARS)
def test_everything_else_stays_as_it_is(text: str) -> None:
    for pieces in cuts(text):
        assert heard(*pieces) == text
        assert heard(*pieces, begun="I said ") == text


PARTS = [
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
    "<",
    "[",
    "<|",
    "|>",
    "<|im_end|>",
    "<|channel|>",
    "<|message|>final",
    "<|im_start|>",
    "</s>",
    "Waifu",
    "waifu",
    ":",
    "*",
    "**",
    "_",
    "assistant",
    "analysis",
    "assistantfinal",
    "A",
    "AI",
    "。",
    "the",
    "user",
    "word",
]


@given(
    parts=st.lists(st.sampled_from([*PARTS, " ", "\n", "Okay, the user"]), max_size=12),
    places=st.lists(st.integers(0, 80), max_size=12),
    begun=st.booleans(),
)
@example(parts=["<|channel|>", "final", "<|message|>", "A"], places=list(range(80)), begun=False)
def test_where_it_is_cut_makes_no_difference(parts: list[str], places: list[int], begun: bool) -> None:
    """But for a thought that nobody opened: of that only what is still here can be left out."""
    text, before = "".join(parts), "Before. " if begun else ""
    marks = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(marks)]
    habit = ThinkingHabit()
    whole = heard(text, begun=before, habit=habit)
    assume(not habit.unopened)
    assert heard(*pieces, begun=before) == whole


UNOPENED = "Well, they are greeting me. I should be warm.\n</think>\n\n"


def test_a_thought_that_nobody_opened_is_left_out_as_far_as_it_is_still_here() -> None:
    assert heard(UNOPENED + HELLO) == HELLO
    assert heard("Well, they are ", UNOPENED[15:] + HELLO) == f"Well, they are \n\n{HELLO}"
    assert heard(UNOPENED + HELLO, begun="I said. ") == HELLO
    assert heard(f"<think>{UNOPENED}{HELLO}", begun="I said. ") == HELLO, "no line break in the seam"


def test_whoever_opened_no_thought_once_is_listened_to_the_next_time() -> None:
    """A piece a character, as it comes from a server."""
    habit = ThinkingHabit()
    assert heard(*UNOPENED + HELLO, habit=habit).endswith(HELLO)
    assert heard(*UNOPENED + HELLO, habit=habit) == HELLO
    assert heard(*UNOPENED + HELLO, begun="I said. ", habit=habit) == HELLO
    assert heard(*HELLO, habit=habit) == HELLO, "held to its end, but said"
    ears = SpokenTextFilter(habit=habit)
    assert ears.feed("Hello") == "Hello", "and the next one is not held"


def test_a_reply_that_breaks_off_changes_no_habit() -> None:
    def broken() -> Iterator[str]:
        yield "Hello"
        raise ConnectionError

    habit = ThinkingHabit(unopened=True)
    with pytest.raises(ConnectionError):
        list(spoken(broken(), habit=habit))
    assert habit.unopened


@given(st.text(max_size=60))
def test_any_text_is_cut_as_one_likes(text: str) -> None:
    assert heard(*text) == heard(text)


def test_words_are_passed_on_as_they_come() -> None:
    ears = SpokenTextFilter(NAME)
    assert [ears.feed(piece) for piece in ("I ", "am ", "here", ".", " Okay")] == ["I ", "am ", "here", ".", " Okay"]
    ears = SpokenTextFilter(NAME, begun="I was ")
    assert ears.feed("Wai") == "Wai"


def test_whoever_is_listened_to_is_closed() -> None:
    closed = []

    def pieces() -> object:
        try:
            yield "Hello.<|im_end|>"
            yield "more"
        finally:
            closed.append(True)

    assert heard() == ""
    assert "".join(spoken(pieces(), NAME)) == "Hello."  # type: ignore[arg-type]
    assert closed


@pytest.mark.parametrize(
    ("delivered", "reply", "lead"),
    [
        ("", "", ""),
        ("Hello you", "Hello you", ""),
        ("Put it between <think> tags", "Put it between <think> tags", ""),
        ("Analysis of the word", "Analysis of the word", ""),
        ("<think>\nOkay, the user", "", "...\n</think>\n\n"),
        ("\n<THINKING>\nOkay.", "", "\n</THINKING>\n\n"),
        ("[THINK]Okay, the", "", "...\n[/THINK]\n\n"),
        ("<|channel|>analysis<|message|>The user", "", "...\n<|channel|>final<|message|>\n\n"),
        ("<|channel>thought\nThe user", "", "...\n<channel|>\n\n"),
        ("analysisThe user asked", "", "...\nassistantfinal\n\n"),
        ("<think>\nOkay.\n</thi", "", "nk>\n\n"),
        ("<think>\nOkay.\n</think>", "", "\n\n"),
        ("<think>\nOkay.\n</think>\n\n", "", ""),
        ("<think>\nOkay.\n</think>Hello you", "Hello you", ""),
        ("<think>One.</think>\n<think>Two, and", "", "...\n</think>\n\n"),
    ],
)
def test_a_thought_that_was_cut_is_ended(delivered: str, reply: str, lead: str) -> None:
    assert split_thoughts(delivered) == (reply, lead)
