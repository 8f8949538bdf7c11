"""A reply in pieces that can be ended while somebody waits for the next one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from zwaif_hooks.failover.stream import Closers


class ReplyStream:
    """What ``make`` generates. ``close`` may be called from any thread.

    A generator that is waiting for its next piece cannot be closed by another thread. So ``make`` gets ``Closers``, to
    which it adds what wakes it; where they are ``closed``, it is to end without a word.
    """

    def __init__(self, make: Callable[[Closers], Generator[str, None, None]]) -> None:
        self._closers = Closers()
        self._pieces = make(self._closers)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End it, and whatever is being done for it. May be called twice."""
        try:
            self._pieces.close()
        except ValueError:  # it is being read in another thread
            self._closers.close()
