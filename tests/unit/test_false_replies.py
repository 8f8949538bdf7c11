"""Replies that are failures though nothing on the wire says so: apologies, and a word where many were asked for."""

from __future__ import annotations

import pytest

from zwaif_hooks.reply.false_replies import (
    APOLOGIES,
    could_be_an_apology,
    ends_a_sentence,
    is_an_apology,
    is_blank,
    is_cut_short,
)


def test_a_word_where_hundreds_were_asked_for_is_no_reply() -> None:
    assert is_cut_short("The", 300)
    assert is_cut_short("Oh, I", 16)
    assert is_cut_short("「こんに", 300)
    assert not is_cut_short("The", 1)
    assert not is_cut_short("The", 0), "nobody said how many"
    assert not is_cut_short("The first three words", 300)


def test_the_servers_own_count_decides() -> None:
    assert not is_cut_short("The", 300, counted=300)
    assert is_cut_short("The", 300, counted=1)


NOTHING = [
    "",
    " \n",
    "\u200b\u200b",
    "\ufeff",
    "\x00\x00",
    "\ufffd\ufffd",
    "**",
    "* *",
    "<|im_end|>",
    "</s>",
    "<think>\n\n</think>\n",
    "\u3164",
]
SOMETHING = [
    "a",
    "1",
    "?",
    "...",
    ":3",
    "<3",
    "🎉",
    "\u2764\ufe0f",
    "*a",
    "你",
    "ก",
    "<|im_end|> Hi",
    "\U000e1000x",
    "\U0001fadf",
]


@pytest.mark.parametrize("reply", NOTHING)
def test_a_reply_with_nothing_to_say_is_empty(reply: str) -> None:
    assert is_blank(reply)
    assert all(is_blank(reply[:size], is_whole=False) for size in range(len(reply)))


@pytest.mark.parametrize("reply", SOMETHING)
def test_whatever_can_be_seen_is_something(reply: str) -> None:
    assert not is_blank(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "今日はとても良い天気ですね。散歩に行きませんか",
        "我今天很高興見到你，我們一起去公園散步吧，好不好",
        "วันนี้อากาศดีมากเลยนะเธอไปเดินเล่นกันไหม",
        "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉",
    ],
)
def test_a_language_without_spaces_is_not_one_word(reply: str) -> None:
    assert not is_cut_short(reply, 300)


@pytest.mark.parametrize("apology", APOLOGIES)
def test_known_apologies_are_failures(apology: str) -> None:
    assert is_an_apology(f"{apology} 500).")
    assert all(could_be_an_apology(apology[:size]) for size in range(1, len(apology) + 1))


@pytest.mark.parametrize(
    "honest", ["Sorry, I'm late.", "I apologize, but I ate it all.", "", "Error 404 is my favorite joke."]
)
def test_an_honest_sorry_is_a_reply(honest: str) -> None:
    assert not is_an_apology(honest)


def test_a_long_text_that_begins_like_an_apology_has_more_to_say() -> None:
    story = "Sorry, I'm having connection issues right now, said the robot, and " + "on and on it went. " * 10
    assert not is_an_apology(story)
    assert not could_be_an_apology(story)


@pytest.mark.parametrize(
    "reply",
    [
        "Yes.",
        "Oh!\n",
        "*smiles*",
        "(really)",
        '"So be it"',
        "„Gut so“",
        "今日はいい天気ですね。",
        "क्या हाल है।",
        "كيف حالك؟",
        "Bye ❤️",
        "ok 🙂",
    ],
)
def test_a_reply_that_ends_with_a_sentence(reply: str) -> None:
    assert ends_a_sentence(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "and then",
        "the ",
        "Well,",
        "namely:",
        "*smiles and",
        "*",
        'She said "',
        "don't'",
        "मैं ठीक हूँ",
        "天気、",
        "¿",
        "1 +",
    ],
)
def test_a_text_that_may_go_on(reply: str) -> None:
    assert not ends_a_sentence(reply)
