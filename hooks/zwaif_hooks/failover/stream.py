"""What is read of a reply: its chunks, what it fails of, and what wakes whoever reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover.usage import Usage
from zwaif_hooks.messages import FailureKind


class PrimaryError(Exception):
    """The primary failed; raised by the guards' readers, never seen by Z-Waif."""

    def __init__(
        self,
        kind: FailureKind,
        cause: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        original: BaseException | None = None,
        response: Any = None,
        said: str = "",
        as_it_came: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.kind = kind
        self.cause = cause
        self.status = status
        self.retry_after = retry_after
        self.original = original
        self.response = response
        """The primary's own answer, where Z-Waif should see it if nobody else answers."""
        self.said = said
        """The primary's own words."""
        self.as_it_came = as_it_came
        """Without us this is no failure to Z-Waif: what of the reply was held back. None where it is one."""

    @staticmethod
    def of(error: BaseException) -> PrimaryError:
        """Whatever a reader dies of is a failure of the primary."""
        if isinstance(error, PrimaryError):
            return error
        return PrimaryError(FailureKind.UNKNOWN, repr(error), original=error)


class UnmarkedEnd(PrimaryError):
    """The answer ended as answers end, though nothing in it said that the reply was finished.

    ``knows_marks``: whether its pieces have a place for a finish reason, which then stayed empty.
    """

    def __init__(self, knows_marks: bool) -> None:
        super().__init__(FailureKind.CUT, "the stream ended before the reply was finished")
        self.knows_marks = knows_marks
        self.is_framed = True
        """Whether the answer has an end of its own (a last chunk, a length), and not that of its connection."""


class Chunk(NamedTuple):
    """One piece of the primary's reply: its text, and the client library's own object to hand on unchanged."""

    text: str
    native: Any = None
    reason: str = ""
    """Why the server stopped, on the last chunk: ``stop``, ``length`` …"""
    usage: Usage | None = None
    """What the server counted, on the chunk that says so."""


class Closers:
    """How a reply is given up: what wakes a blocked read, and whether the next wait for bytes is worth while.

    Called from any thread, also before anything is open. Only for what is safe from another thread (shutting down a
    socket, not closing a reader that is in use).
    """

    slice = 0.25
    """Real seconds that one wait for bytes may last."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._closers: list[Callable[[], Any]] = []
        self._until: float | None = None
        self.closed = False

    def add(self, closer: Callable[[], Any]) -> None:
        with self._lock:
            if not self.closed:
                self._closers.append(closer)
                return
        close_quietly(closer)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            closers, self._closers = self._closers, []
        for closer in closers:
            close_quietly(closer)

    def forget(self) -> None:
        """All is read and closed already."""
        self.closed = True
        self._closers = []

    def hurry(self, seconds: float) -> None:
        """What is still to come is worth no more than this."""
        self._until = self._clock.now() + seconds

    def before_bytes(self) -> None:
        """Something is about to be read: it may be there already.

        Raises:
            TimeoutError: nobody waits for it any more.
        """
        if self.closed or (self._until is not None and self._clock.now() >= self._until):
            raise TimeoutError("the rest is not waited for")

    def no_bytes(self) -> None:
        """A slice went by and nothing came. Raises as ``before_bytes``."""
        self.before_bytes()


def close_quietly(closer: Callable[[], Any]) -> None:
    try:
        closer()
    except Exception as error:  # a socket that is already gone may complain in any way it likes
        import logging

        logging.getLogger("zwaif").debug("closing an abandoned reply: %r", error)


Source = Callable[[Closers], Iterator[Chunk]]
