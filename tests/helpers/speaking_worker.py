"""A worker whose model always has the same thing to say to the same question, and dies of it where the question says.

A prompt is ``QUESTION|what was said so far``. The model goes on from that very character; where what was said so far is
not how its reply begins, it says so. Questions: ``say NAME``, or ``kill N``, ``exit N``, ``hang N``, ``memory N``:
it does that at character N, once: a worker that is asked to go on from there lives. ``mortal N`` dies again and again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from tests.helpers.scripted_engine import ScriptedEngine
from zwaif_fallback.engine_types import Generation
from zwaif_fallback.local.model_worker import main

PIECE = 3
"""Characters a piece: replies are cut anywhere in a word. A whole reply has more pieces than may be under way."""


def reply_to(question: str) -> str:
    """The whole reply: more sentences than may wait for their reader."""
    name = question.split()[-1]
    return " ".join(f"{name}-{number}." for number in range(36)) + " And that is all."


def _kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    threading.Event().wait()
    raise AssertionError("killed")


def _exit() -> NoReturn:
    print("RuntimeError: the graphics driver is gone", file=sys.stderr, flush=True)
    os._exit(7)


def _hang() -> NoReturn:
    threading.Event().wait()
    raise AssertionError("waits for ever")


def _memory() -> NoReturn:
    raise MemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


DEATHS: dict[str, Callable[[], NoReturn]] = {
    "kill": _kill,
    "exit": _exit,
    "hang": _hang,
    "memory": _memory,
    "mortal": _exit,
}


def speak(generation: Generation) -> Iterator[str]:
    question, _, begun = generation.prompt.partition("|")
    if not begun and not question.strip().count(" "):
        yield "ready"
        return
    whole = reply_to(question)
    if not whole.startswith(begun):
        yield f"<{begun!r} is not how it begins>"
        return
    what, number = question.split()
    at = int(number) if what in DEATHS else len(whole) + 1
    if what == "mortal":
        at = max(at, len(begun) + 1)
    for start in range(len(begun), len(whole), PIECE):
        if len(begun) < at <= start:
            DEATHS[what]()
        yield whole[start : start + PIECE]


if __name__ == "__main__":
    main(lambda options: ScriptedEngine(speak))
