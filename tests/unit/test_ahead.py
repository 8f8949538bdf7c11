"""Reading ahead: in a thread of its own, the newest turn only, and nobody hears of its troubles."""

from __future__ import annotations

import threading

from zwaif_fallback.ahead import ReadAhead
from zwaif_hooks.messages import ChatRequest, Message

WAIT = 20.0


def request(text: str = "Hi") -> ChatRequest:
    return ChatRequest("ollama", (Message("user", text),))


def test_a_turn_is_read_in_another_thread() -> None:
    seen = list[tuple[str, str, bool]]()

    def read(asked: ChatRequest, reply: str) -> None:
        seen.append((asked.messages[-1].content, reply, threading.current_thread() is threading.main_thread()))

    ahead = ReadAhead(read)
    ahead.after(request, "Hello!")
    assert ahead.wait(WAIT)
    assert seen == [("Hi", "Hello!", False)]


def test_a_turn_that_is_no_longer_the_newest_is_left_out_and_not_even_described() -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), list[str]()

    def read(asked: ChatRequest, reply: str) -> None:
        begun.set()
        assert go_on.wait(WAIT)
        seen.append(reply)

    def never() -> ChatRequest:
        raise AssertionError("described")

    ahead = ReadAhead(read)
    ahead.after(request, "one")
    assert begun.wait(WAIT)
    ahead.after(never, "two")
    ahead.after(request, "three")
    go_on.set()
    assert ahead.wait(WAIT)
    assert seen == ["one", "three"]


def test_what_fails_is_forgotten_and_the_next_turn_is_read() -> None:
    seen = list[str]()

    def read(asked: ChatRequest, reply: str) -> None:
        if reply == "bad":
            raise ValueError(reply)
        seen.append(reply)

    ahead = ReadAhead(read)
    for reply in ("bad", "good"):
        ahead.after(request, reply)
        assert ahead.wait(WAIT)
    assert seen == ["good"]
