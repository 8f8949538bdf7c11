"""A reply in pieces that can be ended while somebody waits for the next one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from zwaif_hooks.stream import CancelScope


class ReplyStream:
    """What ``make`` generates. ``close`` may be called from any thread.

    A generator that is waiting for its next piece cannot be closed by another thread. So ``make`` gets a
    ``CancelScope``, on which it registers what wakes it; once that is ``cancelled``, it must end without a word.
    """

    def __init__(self, make: Callable[[CancelScope], Generator[str, None, None]]) -> None:
        self._scope = CancelScope()
        self._pieces = make(self._scope)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End it, and whatever is being done for it. May be called twice."""
        try:
            self._pieces.close()
        except ValueError:  # it is being read in another thread
            self._scope.cancel()
