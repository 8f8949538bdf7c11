"""The main ways in which an LLM server answers or fails, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from zwaif_hooks.testing.fault_talk import WORDS, Talk


def healthy(talk: Talk) -> None:
    """Say the server's words."""
    talk.open_stream()
    talk.say(talk.server.words)
    talk.complete()


def http_500(talk: Talk) -> None:
    """The graphics card is out of memory."""
    talk.body_of(500, b'{"error": "CUDA out of memory"}')


def http_503(talk: Talk) -> None:
    """It is still loading its model."""
    talk.body_of(503, b'{"error": {"message": "Loading model"}}')


def silence(talk: Talk) -> None:
    """Accept the request and never answer."""
    talk.be_silent()


def blank_reply(talk: Talk) -> None:
    """A reply without any text."""
    talk.open_stream()
    talk.text(" \n")
    talk.complete()


def reset_in_the_middle(talk: Talk) -> None:
    """The connection breaks after some words: ``fault_talk.HALF``."""
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.reset()


def stall_in_the_middle(talk: Talk) -> None:
    """No more words come after some."""
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.be_silent()


FAULTS: dict[str, Callable[[Talk], None]] = {
    name: row for name, row in list(globals().items()) if inspect.isfunction(row)
}
