"""Reads the primary's reply in the thread that waits for it: no other thread has to be woken for a chunk.

Deadlines hold all the same, because a wait for bytes is cut in slices (``_Watched``), between which the clock is read.
While nobody waits yet (Z-Waif speaks its chatpop first), a thread of ours asks and reads up to the first text.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.background.thread_cache import readers
from zwaif_hooks.failover.silence import SLICE_SECONDS, Late, Limits, Silence
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, Source, close_quietly


class ReplyReader:
    """One reply. ``take`` is called by the one consumer; ``start`` may be called before, ``abandon`` by anybody.

    ``here``: whether the consumer's thread may also ask for it. It must not where that can block without a deadline
    (the look-up of a host's name).
    """

    def __init__(self, source: Source, clock: Clock, here: bool = True) -> None:
        self.silence = Silence(clock)
        self._clock = clock
        self._here = here
        self._scope = _Watched(self.silence, clock)
        self._chunks = source(self._scope)
        self._begun = threading.Lock()
        self._read: deque[Chunk] = deque()
        self._handed_over = self._ended = False
        self._error: PrimaryError | None = None

    def start(self) -> None:
        """Have a thread of ours ask, unless the consumer comes at once and asks by itself."""
        if self._here:
            deferred.defer(self._begin_ahead)
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
            PrimaryError: it failed, or was silent for too long. Only text counts.
        """
        if self._ended:
            if self._error is not None:
                raise self._error
            return None
        silence = self.silence
        silence.limits, silence.late = limits, late
        error: PrimaryError | None = None
        try:
            if not self._scope.watches:
                self._take_over()
            chunk = self._read.popleft() if self._read else self._next()
            if not self._scope.cancelled:
                if silence.race is not None:
                    silence.settle()
                return chunk
        except StopIteration:
            error = None
        except Exception as caught:
            error = PrimaryError.of(caught)
        self._end(error)
        return None

    def abandon(self) -> None:
        """Nobody reads any more: close the connection so that the server's slot becomes free."""
        if self._ended and self._scope.cancelled:
            return
        self._scope.cancel()
        with _changed:
            self._ended = True
            _changed.notify_all()
        self._stop()

    def _next(self) -> Chunk:
        self.silence.came_back()
        chunk = next(self._chunks)
        self.silence.heard(chunk)
        return chunk

    def _end(self, error: PrimaryError | None) -> None:
        """Raises what the reply failed of, unless it is no longer wanted."""
        error = None if self._scope.cancelled else self.silence.end(error)
        self._ended, self._error = True, error
        self._stop()
        if error is not None:
            self._scope.cancel()
            raise error
        self._scope.finish()

    def _stop(self) -> None:
        """Let the source clean up, unless another thread is reading it: that one will."""
        close_quietly(getattr(self._chunks, "close", bool))

    def _take_over(self) -> None:
        """Begin here, or wait for the thread of ours that began."""
        if not (self._here and self._begun.acquire(blocking=False)):
            self._begin_ahead()
            while not self._is_handed_over():
                self.silence.look()
        self._scope.watches = True

    def _is_handed_over(self) -> bool:
        with _changed:
            return self._clock.wait(_changed, lambda: self._handed_over or self._ended, SLICE_SECONDS)

    def _read_ahead(self) -> None:
        try:
            for chunk in self._chunks:
                self.silence.heard(chunk)
                self._read.append(chunk)
                if self.silence.had_content or self._scope.cancelled:
                    break
        except BaseException as error:
            self._chunks = _failed(PrimaryError.of(error))
        if self._scope.cancelled:
            self._stop()
        with _changed:
            self._handed_over = True
            _changed.notify_all()


class _Watched(CancelScope):
    """Of a reply that is read in the thread that waits for it: between two slices it looks at the clock."""

    def __init__(self, silence: Silence, clock: Clock) -> None:
        super().__init__(clock)
        self.slice_seconds = clock.real(SLICE_SECONDS)
        self.watches = False
        """Whether the thread that waits has come; until then a thread of ours reads."""
        self._silence = silence

    def before_read(self) -> None:
        if self.cancelled or self._until is not None:
            super().before_read()
        if self.watches:
            self._silence.look_beside_bytes()

    def after_empty_wait(self) -> None:
        super().before_read()
        if self.watches:
            self._silence.look()


_changed = threading.Condition()
"""One for all: to make one costs each message more than it costs to be woken for another, when one is handed over."""


def _failed(error: PrimaryError) -> Iterator[Chunk]:
    yield from ()
    raise error
