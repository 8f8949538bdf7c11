"""What is compared: something that is asked a question and lets its reply be heard piece by piece."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

DEADLINE = 2.0
"""Seconds to the first text (or between two) that everyone is given, in whatever words it has for it."""
LIMIT = 40.0
"""Seconds after which a turn is given up by the benchmark."""


@dataclass
class Heard:
    """One turn as its caller lived through it; times in seconds of ``perf_counter``."""

    began: float = field(default_factory=time.perf_counter)
    pieces: list[tuple[float, str]] = field(default_factory=list)
    ended: float = 0.0
    error: str = ""
    """The exception that reached the caller."""

    def piece(self, text: str | None) -> None:
        if text:
            self.pieces.append((time.perf_counter(), text))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)

    @property
    def first_after(self) -> float:
        """Seconds to the first text; infinite where none came."""
        return self.pieces[0][0] - self.began if self.pieces else float("inf")

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Contender(Protocol):
    """One way to ask a primary with a fallback behind it (or, for a baseline, without)."""

    def ask(self, question: str) -> Heard:
        """One turn, streamed; never raises."""

    def herd(self, questions: list[str]) -> list[Heard]:
        """All at the same time."""

    def close(self) -> None: ...


Make = Callable[[str, str], Contender]
"""From the addresses of the primary and of the second server."""


class Threaded(ABC):
    """A contender whose ``stream`` blocks; a herd is as many threads."""

    @abstractmethod
    def stream(self, question: str, heard: Heard) -> None:
        """Write down when each piece of the reply is heard."""

    def ask(self, question: str) -> Heard:
        heard = Heard()
        try:
            self.stream(question, heard)
        except Exception as error:  # what reaches the caller is what is being measured
            heard.error = f"{type(error).__name__}: {error}"
        heard.ended = time.perf_counter()
        return heard

    def herd(self, questions: list[str]) -> list[Heard]:
        with ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(self.ask, questions))

    def close(self) -> None:
        return


LOOP = asyncio.new_event_loop()
"""One loop for everyone, so that their pooled connections stay usable from turn to turn."""


class Async(ABC):
    """A contender whose ``stream`` is asynchronous: each peer's best-kept way to be called."""

    @abstractmethod
    def stream(self, question: str) -> AsyncIterator[str | None]:
        """The pieces of the reply; None for one without text."""

    def ask(self, question: str) -> Heard:
        return LOOP.run_until_complete(self.turn(question))

    def herd(self, questions: list[str]) -> list[Heard]:
        return LOOP.run_until_complete(all_at_once([self.turn(question) for question in questions]))

    async def turn(self, question: str) -> Heard:
        heard = Heard()
        try:
            await asyncio.wait_for(self._hear(question, heard), LIMIT)
        except Exception as error:  # what reaches the caller is what is being measured
            heard.error = f"{type(error).__name__}: {error}"
        heard.ended = time.perf_counter()
        return heard

    async def _hear(self, question: str, heard: Heard) -> None:
        async for piece in self.stream(question):
            heard.piece(piece)

    def close(self) -> None:
        return


async def all_at_once(turns: list[asyncio.Future[Heard]] | list) -> list[Heard]:  # type: ignore[type-arg]
    return list(await asyncio.gather(*turns))
