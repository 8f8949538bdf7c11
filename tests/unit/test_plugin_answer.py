"""A reply that Z-Waif would take for a repeat never reaches it, however often the same words come."""

from __future__ import annotations

import html

import pytest

from tests.unit.test_spoken_text import NOT_FOR_EARS
from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.messages import Answer, ChatRequest, FailureKind, Message, Persona, PrimaryFailure
from zwaif_hooks.reply.plugin_answer import PluginAnswer

REQUEST = ChatRequest("ollama", (Message("user", "Hi"),), persona=Persona("Waifu", "Tom"))
SAME = "Take your time, I am listening."


def said(recent: tuple[str, ...], words: str = SAME) -> str:
    request = ChatRequest("ollama", (Message("user", "Hi"),), recent_replies=recent)
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    return "".join(PluginAnswer("stubborn", Answer([words]), request, failure, SystemClock(), 0.0).speak())


@pytest.mark.parametrize("words", [SAME, "Ok", "&amp;", "7"])
def test_a_plugin_that_always_says_the_same_is_never_a_repeat(words: str) -> None:
    """Nor blank: Z-Waif unescapes a reply and asks again if fewer than three characters are left."""
    recent: tuple[str, ...] = ()
    for _ in range(60):
        reply = html.unescape(said(recent, words))
        assert reply.startswith(html.unescape(words))
        assert reply not in recent and len(reply) >= 3
        recent = (*recent, reply)


def test_html_that_unescapes_to_a_recent_reply_is_a_repeat() -> None:
    request = ChatRequest("ollama", (Message("user", "Hi"),), recent_replies=("Tea & cake.",))
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    speaker = PluginAnswer("p", Answer(["Tea &amp; cake."]), request, failure, SystemClock(), 0.0)
    assert "".join(speaker.speak()) != "Tea &amp; cake."


def test_an_answer_with_nothing_to_say_is_none() -> None:
    request = ChatRequest("ollama", (Message("user", "Hi"),))
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    assert "".join(PluginAnswer("p", Answer(["\u200b", "**"]), request, failure, SystemClock(), 0.0).speak()) == ""


@pytest.mark.parametrize("name", NOT_FOR_EARS)
def test_what_is_not_for_ears_is_not_spoken_whoever_answers(name: str) -> None:
    """A second server, a plugin: whatever its pieces are."""
    written, heard = NOT_FOR_EARS[name]
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    for pieces in ([written], list(written)):
        speaker = PluginAnswer("p", Answer(pieces), REQUEST, failure, SystemClock(), 0.0)
        assert "".join(speaker.speak()) == heard
