"""A reply as it is read: its chunks, its errors, and the scope that cancels it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.messages import FailureKind


class PrimaryError(Exception):
    """The primary failed. Raised while a reply is read, never seen by Z-Waif."""

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
        """The primary's own response, which Z-Waif gets if nobody else answers."""
        self.said = said
        """The primary's own words about the failure."""
        self.as_it_came = as_it_came
        """The text held back, if this would be no error for Z-Waif without this package; None if it would be one."""

    @staticmethod
    def of(error: BaseException) -> PrimaryError:
        """Return ``error`` as a failure of the primary, whatever it is."""
        if isinstance(error, PrimaryError):
            return error
        return PrimaryError(FailureKind.UNKNOWN, repr(error), original=error)


class UnmarkedEnd(PrimaryError):
    """The answer ended without an error, but nothing in it said that the reply was finished.

    ``knows_marks``: its pieces have a field for a finish reason, which stayed empty.
    """

    def __init__(self, knows_marks: bool) -> None:
        super().__init__(FailureKind.CUT, "the stream ended before the reply was finished")
        self.knows_marks = knows_marks
        self.is_framed = True
        """The answer has an end of its own (a last chunk, a length), not only that of its connection."""


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counted them; None if it does not say."""

    prompt_tokens: int | None = None
    reply_tokens: int | None = None


class Chunk(NamedTuple):
    """One piece of a reply: its text, and the client library's own object, which is passed on unchanged."""

    text: str
    native: Any = None
    reason: str = ""
    """Finish reason, on the last chunk: ``stop``, ``length`` …"""
    usage: Usage | None = None
    """Token counts, on the chunk that has them."""
    by: str = ""
    """The plugin that says it; empty for the primary."""


class CancelScope:
    """Cancels one reply: wakes a blocked read, and says whether the next wait for bytes is still worth while.

    May be called from any thread, also before a connection exists. Register only callbacks that are safe to call from
    another thread: shut down a socket, but do not close a reader that is in use.
    """

    slice_seconds = 0.25
    """Longest single wait for bytes, in real seconds."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], Any]] = []
        self._until: float | None = None
        self.cancelled = False

    def on_cancel(self, callback: Callable[[], Any]) -> None:
        """Call ``callback`` when the reply is cancelled; at once if it already was."""
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return
        close_quietly(callback)

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            close_quietly(callback)

    def finish(self) -> None:
        """The reply was read to its end and its connection is closed: there is nothing left to cancel."""
        self.cancelled = True
        self._callbacks = []

    def expire_in(self, seconds: float) -> None:
        """Wait for further bytes no longer than this."""
        self._until = self._clock.now() + seconds

    def before_read(self) -> None:
        """Called before each read, when bytes may be there already.

        Raises:
            TimeoutError: cancelled or expired.
        """
        if self.cancelled or (self._until is not None and self._clock.now() >= self._until):
            raise TimeoutError("the reply was cancelled")

    def after_empty_wait(self) -> None:
        """Called when a wait of ``slice_seconds`` brought no bytes. Raises as ``before_read``."""
        self.before_read()


def close_quietly(closer: Callable[[], Any]) -> None:
    try:
        closer()
    except Exception as error:  # a socket that is already gone may raise anything
        import logging

        logging.getLogger("zwaif").debug("closing an abandoned reply: %r", error)


Source = Callable[[CancelScope], Iterator[Chunk]]
