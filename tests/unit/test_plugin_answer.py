"""A reply that Z-Waif would take for a repeat never reaches it, however often the same words come."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator

import pytest

from tests.unit.test_spoken_text import NOT_FOR_EARS
from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.messages import Answer, ChatRequest, FailureKind, Message, Persona, PrimaryFailure
from zwaif_hooks.reply.plugin_answer import PluginAnswer
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.testing import FakeHost, ask, cut, request

REQUEST = ChatRequest("ollama", (Message("user", "Hi"),), persona=Persona("Waifu", "Tom"))
SAME = "Take your time, I am listening."


class Stubborn:
    """Says the same again and again."""

    def __init__(self, *pieces: str, for_ever: bool = False) -> None:
        self.pieces = pieces
        self.for_ever = for_ever
        self.fails = False

    @hookimpl
    def on_primary_failure(self) -> Iterator[str]:
        yield from itertools.cycle(self.pieces) if self.for_ever else self.pieces
        if self.fails:
            raise ValueError("no more")


def host_of(plugin: object) -> FakeHost:
    host = FakeHost()
    host.load(plugin, "stubborn")
    return host


@pytest.mark.parametrize("words", [SAME, "Ok", "&amp;", "7"])
def test_a_plugin_that_always_says_the_same_is_never_a_repeat(words: str) -> None:
    """Nor blank: Z-Waif unescapes a reply and asks again if fewer than three characters are left."""
    recent: tuple[str, ...] = ()
    host = host_of(Stubborn(words))
    for _ in range(60):
        reply = html.unescape(host.ask(request("Hi", recent_replies=recent)).text)
        assert reply.startswith(html.unescape(words))
        assert reply not in recent and len(reply) >= 3
        recent = (*recent, reply)


def test_html_that_unescapes_to_a_recent_reply_is_a_repeat() -> None:
    reply = ask(Stubborn("Tea &amp; cake."), request("Hi", recent_replies=("Tea & cake.",)))
    assert reply.text != "Tea &amp; cake."


def test_a_plugin_that_never_ends_is_never_a_repeat_and_reported_once() -> None:
    host = host_of(Stubborn("Sentence number 1. ", "Sentence number 2. ", for_ever=True))
    recent: tuple[str, ...] = ()
    for _ in range(3):
        reply = host.ask(request("Hi", recent_replies=recent))
        assert reply.text not in recent and "  " not in reply.text
        assert reply.record is not None and reply.record.text == reply.text
        recent = (*recent, reply.text)
    (told,) = host.errors
    assert "did not end its reply" in told


def test_a_reply_whose_every_continuation_failed_is_never_a_repeat() -> None:
    stubborn = Stubborn(" and so on")
    stubborn.fails = True
    first = ask(stubborn, failure=cut("Once"), message=request("Hi"))
    assert first.text.startswith(" and so on")
    again = ask(stubborn, request("Hi", recent_replies=("Once" + first.text,)), cut("Once"))
    assert again.text.startswith(first.text) and again.text != first.text


def test_a_thought_of_the_server_counts_as_a_part_of_the_reply() -> None:
    failure = cut("<think>Tea?</think>Some")
    recent = ("<think>Tea?</think>Some tea.",)
    assert ask(Stubborn(" tea."), request("Hi"), failure).text == " tea."
    assert ask(Stubborn(" tea."), request("Hi", recent_replies=recent), failure).text != " tea."


def test_an_answer_with_nothing_to_say_is_none() -> None:
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    assert "".join(PluginAnswer("p", Answer(["\u200b", "**"]), REQUEST, failure, SystemClock(), 0.0).speak()) == ""


@pytest.mark.parametrize("name", NOT_FOR_EARS)
def test_what_is_not_for_ears_is_not_spoken_whoever_answers(name: str) -> None:
    """A second server, a plugin: whatever its pieces are."""
    written, heard = NOT_FOR_EARS[name]
    failure = PrimaryFailure(FailureKind.REFUSED, "refused")
    for pieces in ([written], list(written)):
        speaker = PluginAnswer("p", Answer(pieces), REQUEST, failure, SystemClock(), 0.0)
        assert "".join(speaker.speak()) == heard
