"""A reply in pieces that can be closed while another thread waits for the next one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from zwaif_hooks.stream import CancelScope


class ReplyStream:
    """Iterates over the generator that ``make`` returns. ``close`` may be called from any thread.

    A generator that is waiting for its next piece cannot be closed by another thread. So ``make`` gets a
    ``CancelScope``, on which it registers what wakes it; once that is cancelled, it must end without another piece.
    """

    def __init__(self, make: Callable[[CancelScope], Generator[str, None, None]]) -> None:
        self._scope = CancelScope()
        self._pieces = make(self._scope)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Stop the reply and the work for it. May be called more than once."""
        try:
            self._pieces.close()
        except ValueError:  # another thread is reading from it
            self._scope.cancel()
