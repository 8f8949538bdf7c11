"""Reads the primary's reply in the thread that waits for it, so that no thread must be woken for a chunk.

Deadlines still hold, because each wait for bytes is cut into slices (``_ReaderScope``) with a look at the clock between
them. While nobody waits yet (Z-Waif speaks its chatpop first), a background thread asks and reads up to the first text.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.background.thread_cache import threads
from zwaif_hooks.failover.silence import SLICE_SECONDS, Late, Limits, Silence
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, Source, close_quietly


class ReplyReader:
    """One reply. Only the consumer calls ``take``; ``start`` may be called before, ``abandon`` from any thread.

    ``here``: the consumer's thread may also send the request. It must not if that can block without a deadline (while a
    host name is resolved).
    """

    def __init__(self, source: Source, clock: Clock, here: bool = True) -> None:
        self.silence = Silence(clock)
        self._clock = clock
        self._here = here
        self._scope = _ReaderScope(self.silence, clock)
        self._chunks = source(self._scope)
        self._begun = threading.Lock()
        self._read: deque[Chunk] = deque()
        self._handed_over = self._ended = False
        self._error: PrimaryError | None = None

    def start(self) -> None:
        """Ask from a background thread, unless the consumer comes first and asks by itself."""
        if self._here:
            deferred.defer(self._begin_ahead)
        else:
            self._begin_ahead()

    def _begin_ahead(self) -> None:
        if self._begun.acquire(blocking=False):
            threads.run(self._read_ahead)

    def take(self, limits: Limits, late: Late | None = None) -> Chunk | None:
        """Return the next chunk, or None at the regular end. After a finish reason, silence is an end as well.

        ``late`` is called once if there is no text within ``limits.first``; whoever has text first is then heard. While
        the consumer is away nothing is late: what arrived meanwhile is read first.

        Raises:
            PrimaryError: the reply failed, or there was no text for too long.
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
                    silence.end_race()
                return chunk
        except StopIteration:
            error = None
        except Exception as caught:
            error = PrimaryError.of(caught)
        self._end(error)
        return None

    def abandon(self) -> None:
        """Stop reading and close the connection, which frees the server's slot."""
        if self._ended and self._scope.cancelled:
            return
        self._scope.cancel()
        with _changed:
            self._ended = True
            _changed.notify_all()
        self._stop()

    def _next(self) -> Chunk:
        self.silence.consumer_returned()
        chunk = next(self._chunks)
        self.silence.on_chunk(chunk)
        return chunk

    def _end(self, error: PrimaryError | None) -> None:
        """End the reply. Raises ``error``, unless the reply was cancelled or its end is regular after all."""
        error = None if self._scope.cancelled else self.silence.end(error)
        self._ended, self._error = True, error
        self._stop()
        if error is not None:
            self._scope.cancel()
            raise error
        self._scope.finish()

    def _stop(self) -> None:
        """Let the source clean up. If another thread is reading it, that thread does so."""
        close_quietly(getattr(self._chunks, "close", bool))

    def _take_over(self) -> None:
        """Start reading here, or wait for the background thread that started."""
        if not (self._here and self._begun.acquire(blocking=False)):
            self._begin_ahead()
            while not self._is_handed_over():
                self.silence.check()
        self._scope.watches = True

    def _is_handed_over(self) -> bool:
        with _changed:
            return self._clock.wait(_changed, lambda: self._handed_over or self._ended, SLICE_SECONDS)

    def _read_ahead(self) -> None:
        try:
            for chunk in self._chunks:
                self.silence.on_chunk(chunk)
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


class _ReaderScope(CancelScope):
    """Looks at the clock before each read and after each empty slice."""

    def __init__(self, silence: Silence, clock: Clock) -> None:
        super().__init__(clock)
        self.slice_seconds = clock.real(SLICE_SECONDS)
        self.watches = False
        """The waiting thread reads; until then a background thread does."""
        self._silence = silence

    def before_read(self) -> None:
        if self.cancelled or self._until is not None:
            super().before_read()
        if self.watches:
            self._silence.check_before_read()

    def after_empty_wait(self) -> None:
        super().before_read()
        if self.watches:
            self._silence.check()


_changed = threading.Condition()
"""Shared by all replies: creating one for each message costs more than a rare needless wake-up."""


def _failed(error: PrimaryError) -> Iterator[Chunk]:
    yield from ()
    raise error
