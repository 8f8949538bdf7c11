"""Rows that say all they have to say: good replies, some of them odd on the wire."""

from __future__ import annotations

import json
from typing import Any

from zwaif_hooks.testing.fault_talk import REPLY, WORDS, Talk

MOST_WORDS = 200_000
PROMPT_TOKENS, REPLY_TOKENS = 2048, 9


def one_json_body(talk: Talk) -> None:
    message = {"role": "assistant", "content": REPLY}
    body = {"model": "m", "done": True, "message": message, "choices": [{"message": message, "finish_reason": "stop"}]}
    talk.body_of(200, json.dumps(body).encode())


def role_and_reasoning_first(talk: Talk) -> None:
    talk.open_stream()
    talk.role()
    talk.reasoning("hm")
    talk.text("")
    talk.say(WORDS)
    talk.complete()


def emoji_in_two_halves(talk: Talk) -> None:
    talk.open_stream()
    talk.text("Hi ")
    talk.text("\ud83d")
    talk.text("\ude00 there.")
    talk.complete()


def damaged_line(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:3])
    if not talk.ollama:
        talk.raw(b'data: {"choices": [{"delta": {"con\n\n')
    talk.say(WORDS[3:])
    talk.complete()


def only_done_marker(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    if talk.ollama:
        return talk.complete()
    talk.raw(b"data: [DONE]\r\n\r\n")
    talk.end()


def honest_sorry(talk: Talk) -> None:
    talk.open_stream()
    talk.say(["Sorry, ", "I'm late. ", "The bus ", "did not come."])
    talk.complete()


def late_but_alive(talk: Talk) -> None:
    """Speaks when the test says so: a server that was loading its model."""
    talk.open_stream()
    talk.wfile.flush()
    with talk.server.silence:
        talk.server.release.wait(20)
    talk.say(WORDS)
    talk.complete()


def finish_without_done(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.end()


def finish_then_abort(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.abort()


def finish_then_silence(talk: Talk) -> None:
    """Finished, and the connection is kept open all the same."""
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.be_silent()


def done_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.raw(b"data: [DONE]\n\n")
    talk.be_silent()


def odd_last_chunks(talk: Talk) -> None:
    """What Z-Waif's own loop stumbles over in perfectly good replies."""
    talk.open_stream()
    talk.say(WORDS)
    odd: dict[str, Any]
    for odd in ({"choices": []}, {"choices": None}, {"choices": [{"delta": None, "finish_reason": None}]}):
        talk.event(odd)
    talk.reasoning("done thinking")
    talk.complete()


def counts_its_tokens(talk: Talk) -> None:
    """The counts come with the end: in Ollama's last line, or in an event of their own behind the finish reason."""
    talk.open_stream()
    talk.say(WORDS)
    if talk.ollama:
        last = {"role": "assistant", "content": ""}
        counts = {"prompt_eval_count": PROMPT_TOKENS, "eval_count": REPLY_TOKENS}
        talk.event({"model": "m", "done": True, "done_reason": "stop", "message": last, **counts})
    else:
        talk.stop_reason()
        counts = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": REPLY_TOKENS}
        talk.event({"choices": [], "usage": counts})
        talk.raw(b"data: [DONE]\n\n")
    talk.end()


def endless(talk: Talk) -> None:
    talk.open_stream()
    for _ in range(MOST_WORDS):
        talk.text("hello. ")
    talk.complete()
