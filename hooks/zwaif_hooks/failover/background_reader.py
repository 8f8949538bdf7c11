"""Reads a reply in a background thread, so that the thread that waits for it never waits on a socket."""

from __future__ import annotations

import threading
from collections import deque

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.background.thread_cache import threads
from zwaif_hooks.failover.silence import FOREVER, Late, Limits, Silence
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, Source, close_quietly


class BackgroundReader:
    """One reply. ``source`` runs in the background thread; only the consumer calls ``take``.

    ``capacity``: how many chunks are buffered before the source is blocked; 0: any number. A server does not wait for
    its reader, but a local engine should.
    """

    def __init__(self, source: Source, clock: Clock, capacity: int = 0) -> None:
        self.silence = Silence(clock)
        self._source = source
        self._clock = clock
        self._capacity = capacity
        self._changed = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._error: PrimaryError | None = None
        self._ended = False
        self._scope = CancelScope()

    def start(self) -> None:
        threads.run(self._run)

    def take(self, limits: Limits, late: Late | None = None) -> Chunk | None:
        """As ``ReplyReader.take``, except that silence also counts while the consumer is away."""
        self.silence.limits, self.silence.late = limits, late
        try:
            while not self._ready():
                self.silence.check()
                self.wait(self.silence.seconds_to_check())
            if self._chunks:
                return self._taken()
            error = self._error
        except PrimaryError as caught:
            error = caught
        error = self.silence.end(error)
        if error is not None:
            raise error
        return None

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``. Return whether there is a chunk to take, or the end."""
        with self._changed:
            return self._clock.wait(self._changed, self._ready, seconds)

    def abandon(self) -> None:
        """Stop reading and close the connection, which frees the server's slot."""
        self._scope.cancel()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def has_text(self) -> bool:
        """Return whether there is text to take."""
        return self.silence.had_content and bool(self._chunks)

    def wait_for_verdict(self) -> None:
        """Wait until there is text, or the reply has ended without any."""
        with self._changed:
            self._clock.wait(self._changed, lambda: self.has_text() or self._ended, FOREVER.first)

    def ended_without_text(self) -> bool:
        """Return whether the reply ended or failed without any text."""
        return self._ended and not self.silence.had_content

    def _ready(self) -> bool:
        return bool(self._chunks) or self._ended

    def _taken(self) -> Chunk:
        with self._changed:
            chunk = self._chunks.popleft()
            if self._capacity:
                self._changed.notify_all()
        self.silence.end_race()
        return chunk

    def _run(self) -> None:
        error: PrimaryError | None = None
        chunks = self._source(self._scope)
        try:
            for chunk in chunks:
                if not self._put(chunk):
                    break
        except BaseException as caught:
            error = PrimaryError.of(caught)
        finally:
            close_quietly(getattr(chunks, "close", bool))
            self._scope.cancel()
        with self._changed:
            self._error = None if self._ended else error
            self._ended = True
            self._changed.notify_all()

    def _put(self, chunk: Chunk) -> bool:
        """Buffer a chunk. Return False if nobody will take it."""
        with self._changed:
            if self._capacity:
                self._changed.wait_for(lambda: self._scope.cancelled or len(self._chunks) < self._capacity)
            if self._scope.cancelled:
                return False
            self._chunks.append(chunk)
            self.silence.on_chunk(chunk)
            self._changed.notify_all()
        return True
