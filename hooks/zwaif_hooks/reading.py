"""Reads the primary's reply in the thread that waits for it: no other thread has to be woken for a chunk.

Deadlines hold all the same, because a wait for bytes is cut in slices (``Patience``), between which the clock is read.
While nobody waits yet (Z-Waif speaks its chatpop first), a thread of ours asks and reads up to the first text.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from zwaif_hooks.clock import Clock
from zwaif_hooks.deadlines import Limits
from zwaif_hooks.errands import errands
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.pump import (
    FINISHED_SECONDS,
    FOREVER,
    SLICE_SECONDS,
    Chunk,
    Closers,
    Late,
    PrimaryError,
    Rivalry,
    Source,
    close_quietly,
    silence,
)
from zwaif_hooks.threads import readers

AWAY_SECONDS = 0.1
"""Whoever did not read for longer was busy (Z-Waif speaks a sentence); what came meanwhile is still to be read."""


class Reading:
    """One reply. ``take`` is called by the one consumer; ``start`` may be called before, ``abandon`` by anybody.

    ``here``: whether the consumer's thread may also ask for it. It must not where that can block without a deadline
    (the look-up of a host's name).
    """

    def __init__(self, source: Source, clock: Clock, here: bool = True) -> None:
        self.slice = clock.real(SLICE_SECONDS)
        self.had_content = False
        self.spoke_at = 0.0
        """When the first text was there, by the clock; somebody may have come for it later."""
        self.longest_pause = 0.0
        """Seconds between two pieces of text, as far as somebody was there to see."""
        self._clock = clock
        self._here = here
        self._closers = Closers(self)
        self._chunks = source(self._closers)
        self._begun = threading.Lock()
        self._is_mine = False
        self._read: deque[Chunk] = deque()
        self._handed_over = False
        self._error: PrimaryError | None = None
        self._ended = False
        self._finished = False
        self._goes_on = False
        """Text came behind a finish reason."""
        self._rivalry: Rivalry | None = None
        self._late: Late | None = None
        self._limits: Limits = FOREVER
        self._last_content = self._back = self._left = clock.now()
        self._hurried_until: float | None = None

    def start(self) -> None:
        """Have a thread of ours ask, unless the consumer comes at once and asks by itself."""
        if self._here:
            errands.soon(self._begin_ahead)
        else:
            self._begin_ahead()

    def _begin_ahead(self) -> None:
        if self._begun.acquire(blocking=False):
            readers.run(self._read_ahead)

    def take(self, limits: Limits, late: Late | None = None) -> Chunk | None:
        """The next chunk, or None at the regular end. Behind a finish reason, silence is an end as well.

        ``late`` is called once when there is no text within ``limits.first``; whoever is first is then heard. While
        the consumer is away nothing is late: what came meanwhile is read first.

        Raises:
            PrimaryError: it failed, or was silent for too long. Only text counts: comments, empty deltas and role
                chunks do not move the deadline.
        """
        if self._ended:
            if self._error is not None:
                raise self._error
            return None
        self._limits, self._late = limits, late
        failure: PrimaryError | None = None
        try:
            if not self._is_mine:
                self._take_over()
            chunk = self._read.popleft() if self._read else self._next()
            if not self._closers.closed:
                if self._rivalry is not None and self.had_content:
                    self._rivalry.won()
                    self._rivalry = None
                return chunk
        except StopIteration:
            failure = None
        except PrimaryError as error:
            failure = error
        except Exception as error:
            failure = PrimaryError(FailureKind.UNKNOWN, repr(error), original=error)
        self._end(failure)
        return None

    def abandon(self) -> None:
        """Nobody reads any more: close the connection so that the server's slot becomes free."""
        if self._ended and self._closers.closed:
            return
        self._closers.close()
        with _changed:
            self._ended = True
            _changed.notify_all()
        self._stop()

    def before_bytes(self) -> None:
        """Comments may come for ever, and are no text."""
        if self._hurried_until is not None:
            self._be_quick()
        if not self._is_mine:
            return
        silent = self._clock.now() - max(self._last_content, self._back)
        if silent >= SLICE_SECONDS and silent >= self._limit():  # at first there is no silence to look up a limit for
            self._overdue()

    def hurry(self, seconds: float) -> None:
        self._hurried_until = self._clock.now() + seconds

    def no_bytes(self) -> None:
        self._be_quick()
        if self._closers.closed:
            raise PrimaryError(FailureKind.UNKNOWN, "the reply was given up")
        if self._is_mine:
            self._look_at_the_clock()

    def _be_quick(self) -> None:
        if self._hurried_until is not None and self._clock.now() >= self._hurried_until:
            raise TimeoutError("the rest is not worth waiting for")

    def _next(self) -> Chunk:
        now = self._clock.now()
        if now - self._left > AWAY_SECONDS:
            self._back = now
        chunk = next(self._chunks)
        self._note(chunk)
        return chunk

    def _note(self, chunk: Chunk) -> None:
        self._left = now = self._clock.now()
        if chunk.text and not chunk.text.isspace():
            if not self.had_content:
                self.had_content, self.spoke_at = True, now
            elif now - self._last_content > self.longest_pause and self._back <= self._last_content:
                self.longest_pause = now - self._last_content
            self._goes_on = self._goes_on or self._finished
            self._finished = bool(chunk.reason)
            self._last_content = now
        elif chunk.reason:
            self._finished = True
            self._last_content = now

    def _limit(self) -> float:
        """Seconds that the present silence may last."""
        if self._finished and not self._goes_on:
            return FINISHED_SECONDS
        return self._limits.stall if self.had_content else self._limits.first

    def _look_at_the_clock(self) -> None:
        if self._clock.now() >= self._last_content + self._limit():
            self._overdue()

    def _overdue(self) -> None:
        """Raise, or begin a local answer beside, or see how far that is."""
        if self._rivalry is not None:
            if self._rivalry.is_lost():
                raise self._rivalry.late
            return
        error = silence(self.had_content, self._limit())
        if self.had_content or self._finished or self._late is None:
            raise error
        self._rivalry = self._late(error)

    def _end(self, error: PrimaryError | None) -> None:
        """Raises ``error``, unless the reply was finished or is no longer wanted."""
        if self._closers.closed or self._finished:
            error = None
        if not self._closers.closed and self._rivalry is not None:
            self._rivalry.wait()
            error = self._rivalry.late
        self._ended, self._error = True, error
        self._stop()
        if error is not None:
            self._closers.close()
            raise error
        self._closers.forget()

    def _stop(self) -> None:
        """Let the source clean up, unless another thread is reading it: that one will."""
        close_quietly(getattr(self._chunks, "close", bool))

    def _take_over(self) -> None:
        """Begin here, or wait for the thread of ours that began."""
        if self._here and self._begun.acquire(blocking=False):
            self._is_mine = True
            return
        self._begin_ahead()
        while not self._is_handed_over():
            self._look_at_the_clock()
        self._is_mine = True

    def _is_handed_over(self) -> bool:
        with _changed:
            return self._clock.wait(_changed, lambda: self._handed_over or self._ended, SLICE_SECONDS)

    def _read_ahead(self) -> None:
        try:
            for chunk in self._chunks:
                self._note(chunk)
                self._read.append(chunk)
                if self.had_content or self._closers.closed:
                    break
        except PrimaryError as error:
            self._chunks = _failed(error)
        except BaseException as error:
            self._chunks = _failed(PrimaryError(FailureKind.UNKNOWN, repr(error), original=error))
        if self._closers.closed:
            self._stop()
        with _changed:
            self._handed_over = True
            _changed.notify_all()


_changed = threading.Condition()
"""One for all: to make one costs each message more than it costs to be woken for another, when one is handed over."""


def _failed(error: PrimaryError) -> Iterator[Chunk]:
    yield from ()
    raise error
