"""A chat with the fallback outside Z-Waif: character, history, and replies that can be stopped."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from zwaif_fallback.zwaif_tree import env_values
from zwaif_hooks.host.persona import RECENT, read_persona
from zwaif_hooks.messages import Answer, ChatRequest, FailureKind, Message, Persona, PrimaryFailure

POLL_SECONDS = 0.1
"""Longest single wait for a piece: Windows delivers Ctrl+C only between waits."""
CHAT = PrimaryFailure(FailureKind.UNKNOWN, "a chat with the fallback")
"""Stands for the failure of a server: a chat asks none."""
_END = object()


class Answers(Protocol):
    """The part of ``FallbackService`` used here."""

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer: ...

    def turn_over(self, request: ChatRequest, reply: str) -> None:
        """A turn is complete; the model may read ahead while the user types."""


@dataclass(frozen=True)
class Reply:
    """A reply, who gave it, and how long it took."""

    text: str
    answered_by: str
    first_text_after: float | None
    """Seconds; ``None`` if there was no text."""
    finished_after: float
    """Seconds."""
    stopped: bool = False
    """The user stopped it; ``text`` is what had arrived by then."""


def persona_of(tree: Path | None, environ: Mapping[str, str] = os.environ) -> Persona:
    """Return the companion of a Z-Waif that is not running; an empty persona without a Z-Waif.

    Raises:
        EnvFileError: ``.env`` exists but cannot be read.
    """
    if tree is None:
        return Persona()
    env = env_values(tree, environ)
    shared = env.get("TIME_IN_ENCODING", "").strip().upper() == "ON"
    return replace(
        read_persona({}, tree),
        char_name=env.get("CHAR_NAME", "").strip(),
        user_name=env.get("YOUR_NAME", "").strip(),
        local_time=time.strftime("%Y-%m-%d %H:%M") if shared else "",
    )


class Conversation:
    """A chat with its history; one reply at a time."""

    def __init__(self, service: Answers, persona: Persona, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._persona = persona
        self._clock = clock
        self.history: tuple[Message, ...] = ()

    def say(self, text: str, show: Callable[[str], None]) -> Reply:
        """Return the reply to ``text`` and pass its pieces to ``show``. Ctrl+C stops it and keeps what was said."""
        self.history += (Message("user", text),)
        request = self._request()
        answer = self._service.answer(request, CHAT)
        said, first, stopped, started = "", None, False, self._clock()
        stream = _Stream(answer)
        try:
            for piece in stream.pieces():
                if first is None and piece.strip():
                    first = self._clock() - started
                said += piece
                show(piece)
        except KeyboardInterrupt:
            stopped = True
        finally:
            stream.stop()
        if said.strip():
            self.history += (Message("assistant", said),)
            self._service.turn_over(request, said)
        return Reply(said, answer.answered_by, first, self._clock() - started, stopped)

    def _request(self) -> ChatRequest:
        replies = tuple(message.content for message in self.history if message.role == "assistant")
        return ChatRequest(
            "oobabooga",
            self.history,
            stream=True,
            persona=self._persona,
            persona_in_messages=False,
            recent_replies=replies[-RECENT:],
        )


class _Stream:
    """Reads an answer in its own thread, so the wait for it can be interrupted at any moment."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._items: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._stopped = threading.Event()
        threading.Thread(target=self._read, name="zwaif-chat", daemon=True).start()

    def pieces(self) -> Iterator[str]:
        while True:
            try:
                item = self._items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield str(item)

    def stop(self) -> None:
        """Stop reading at the next piece, which also stops the generation."""
        self._stopped.set()

    def _read(self) -> None:
        pieces = iter(self._answer.pieces)
        try:
            for piece in pieces:
                if self._stopped.is_set():
                    break
                self._items.put(piece)
            self._items.put(_END)
        except Exception as error:  # raised again by pieces()
            self._items.put(error)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
