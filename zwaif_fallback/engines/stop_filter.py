"""Cut stop strings out of a stream, however the text is split into pieces."""

from __future__ import annotations

from collections.abc import Iterable


class StopFilter:
    """Pass text on until the first stop string, holding back whatever could still become one.

    "First" is the match that starts earliest in the text, so the result does not depend on how the text is split.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False
        """True once a stop string was found; everything after it is dropped."""

    def feed(self, piece: str) -> str:
        """Take the next piece; return the text that is safe to emit now (may be empty)."""
        if self.stopped:
            return ""
        self._held += piece
        match, maybe = self._match_at(), self._may_begin_at()
        if match is not None and (maybe is None or match <= maybe):
            self.stopped = True
            return self._emit(match, keep=False)
        return self._emit(len(self._held) if maybe is None else maybe, keep=True)

    def flush(self) -> str:
        """Return what was held back when the text ends, cut at a stop string that could have become a longer one."""
        match = self._match_at()
        self.stopped = self.stopped or match is not None
        return self._emit(len(self._held) if match is None else match, keep=False)

    def _emit(self, length: int, *, keep: bool) -> str:
        safe, rest = self._held[:length], self._held[length:]
        self._held = rest if keep else ""
        return safe

    def _match_at(self) -> int | None:
        """Return where the earliest complete stop string starts in the held text."""
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        return min(places, default=None)

    def _may_begin_at(self) -> int | None:
        """Return where the longest end of the held text starts that could be the start of a stop string."""
        longest = max((self._tail_length(stop) for stop in self._stops), default=0)
        return len(self._held) - longest if longest else None

    def _tail_length(self, stop: str) -> int:
        """Return the length of the longest end of the held text that ``stop`` starts with, without being all of it."""
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0
