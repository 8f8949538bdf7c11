"""Reads the primary's reply in a thread of its own, so that Z-Waif never waits on a socket and deadlines are ours."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from zwaif_hooks.clock import Clock
from zwaif_hooks.deadlines import Known, Limits
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.threads import readers
from zwaif_hooks.usage import Usage

FINISHED_SECONDS = 5.0
"""How long a server may keep the connection open behind a finish reason. More text may follow one, or nothing. Where it
did follow, a finish reason says nothing about the end, and the limit for a pause counts."""
SLICE_SECONDS = 0.02
"""How late a deadline, a local answer that is ready or a hang-up may be noticed."""


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


FOREVER = Known(3600.0, 3600.0)
"""Plugins have their own deadlines; this only keeps a lost wake-up from lasting for ever."""


class Patience(Protocol):
    """Of whoever reads from a socket in the thread that waits for the reply. Its methods may raise, to end the read."""

    slice: float
    """Real seconds that one wait for bytes may last."""

    def before_bytes(self) -> None:
        """Something is about to be read: it may be there already."""

    def no_bytes(self) -> None:
        """A slice went by and nothing came."""

    def hurry(self, seconds: float) -> None:
        """What is still to come is worth no more than this; then reading it ends with a TimeoutError."""


class Closers:
    """What wakes a blocked read when its reply is given up; called from any thread, also before anything is open.

    Only for what is safe from another thread (shutting down a socket, not closing a reader that is in use).
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._lock = threading.Lock()
        self._closers: list[Callable[[], Any]] = []
        self.closed = False
        self.patience = patience
        """How its sockets are to be read; None where a thread of ours may block in them."""

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


def close_quietly(closer: Callable[[], Any]) -> None:
    try:
        closer()
    except Exception as error:  # a socket that is already gone may complain in any way it likes
        import logging

        logging.getLogger("zwaif").debug("closing an abandoned reply: %r", error)


Source = Callable[[Closers], Iterator[Chunk]]


class Rivalry(Protocol):
    """A local answer begun beside a primary that is late."""

    late: PrimaryError
    """Raised when the local answer is to be heard."""

    def is_lost(self) -> bool:
        """Whether the primary is not to be waited for any longer."""

    def wait(self) -> None:
        """Until there is a local answer, or there will be none."""

    def won(self) -> None:
        """The primary spoke first."""


Late = Callable[[PrimaryError], Rivalry]


def silence(had_content: bool, limit: float) -> PrimaryError:
    """What ``limit`` seconds without text are called, before the first text and behind it."""
    if had_content:
        return PrimaryError(FailureKind.STALLED, f"the reply stopped for {limit:g} s in the middle")
    return PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, f"no text within {limit:g} s")


class Pump:
    """One reply being read. ``source`` runs in our thread; ``take`` is called by the one consumer.

    ``capacity`` is how many chunks the source may be ahead of the consumer (0 is any number: a server does not wait
    for us, a local engine should).
    """

    def __init__(self, source: Source, clock: Clock, capacity: int = 0) -> None:
        self._source = source
        self._clock = clock
        self._capacity = capacity
        self._changed = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._error: PrimaryError | None = None
        self._ended = False
        self._closers = Closers()
        self._last_content = clock.now()
        self._finished = False
        self._goes_on = False
        """Text came behind a finish reason."""
        self.had_content = False
        self.spoke_at = 0.0
        """When the first text was there, by the clock; somebody may have come for it later."""
        self.longest_pause = 0.0
        """Seconds between two pieces of text."""

    def start(self) -> None:
        readers.run(self._run)

    def take(self, limits: Limits, late: Late | None = None) -> Chunk | None:
        """The next chunk, or None at the regular end. Behind a finish reason, silence is an end as well.

        ``late`` is called once when there is no text within ``limits.first``; whoever is first is then heard.

        Raises:
            PrimaryError: it failed, or was silent for too long. Only text counts: comments, empty deltas and role
                chunks do not move the deadline.
        """
        with self._changed:
            if not self._chunks and not self._ended:
                limit = limits.stall if self.had_content else limits.first
                finished = self._finished and not self._goes_on
                left = self._last_content + (FINISHED_SECONDS if finished else limit) - self._clock.now()
                if not self._clock.wait(self._changed, self._ready, left) and not self._finished:
                    error = silence(self.had_content, limit)
                    if self.had_content or late is None:
                        raise error
                    self._await_beside(late(error))
            if self._chunks:
                if self._capacity:
                    self._changed.notify_all()
                return self._chunks.popleft()
            if self._error is not None:
                raise self._error
            return None

    def wait(self, seconds: float) -> bool:
        """Whether there is something to take, or the end, within ``seconds``."""
        with self._changed:
            return self._clock.wait(self._changed, self._ready, seconds)

    def abandon(self) -> None:
        """Nobody reads any more: close the connection so that the server's slot becomes free."""
        self._closers.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def speaks(self) -> bool:
        """There is text to take."""
        return self.had_content and bool(self._chunks)

    def wait_for_verdict(self) -> None:
        """Until it speaks or has ended without a word."""
        with self._changed:
            self._clock.wait(self._changed, lambda: self.speaks() or self._ended, FOREVER.first)

    def ended_mute(self) -> bool:
        """It ended or failed without a word."""
        return self._ended and not self.had_content

    def _await_beside(self, rivalry: Rivalry) -> None:
        """Until there is text, or raise because the local answer is to be heard."""
        while not self._clock.wait(self._changed, lambda: self.speaks() or self._ended, SLICE_SECONDS):
            if rivalry.is_lost():
                raise rivalry.late
        if not self.speaks():
            rivalry.wait()
            raise rivalry.late
        rivalry.won()

    def _ready(self) -> bool:
        return bool(self._chunks) or self._ended

    def _run(self) -> None:
        error: PrimaryError | None = None
        chunks = self._source(self._closers)
        try:
            for chunk in chunks:
                if not self._put(chunk):
                    break
        except PrimaryError as caught:
            error = caught
        except BaseException as caught:
            error = PrimaryError(FailureKind.UNKNOWN, repr(caught), original=caught)
        finally:
            close_quietly(getattr(chunks, "close", bool))
            self._closers.close()
        with self._changed:
            self._error = None if self._finished else error
            self._ended = True
            self._changed.notify_all()

    def _put(self, chunk: Chunk) -> bool:
        """False when nobody will take it."""
        with self._changed:
            if self._capacity:
                self._changed.wait_for(lambda: self._closers.closed or len(self._chunks) < self._capacity)
            if self._closers.closed:
                return False
            self._chunks.append(chunk)
            has_content = bool(chunk.text) and not chunk.text.isspace()
            if has_content and not self.had_content:
                self.had_content, self.spoke_at = True, self._clock.now()
            elif has_content:
                self.longest_pause = max(self.longest_pause, self._clock.now() - self._last_content)
            self._goes_on = self._goes_on or (self._finished and has_content)
            self._finished = bool(chunk.reason) or (self._finished and not has_content)
            if has_content or chunk.reason:
                self._last_content = self._clock.now()
            self._changed.notify_all()
        return True
