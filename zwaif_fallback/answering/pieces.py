"""Tools for replies that arrive in pieces: trim the start, stop at a line break, close, count tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence

from zwaif_fallback.engine_types import GenerationStats
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_hooks.messages import ChatRequest, Purpose
from zwaif_hooks.reply.false_replies import is_blank


class Counted:
    """Pieces of a reply, with the number of tokens generated for them."""

    def __init__(self, pieces: Iterator[str], stats: Sequence[GenerationStats] = ()) -> None:
        """``stats`` may grow while the pieces are read: a reply can take several attempts."""
        self._pieces = pieces
        self._stats = stats

    @property
    def tokens(self) -> int:
        """Tokens so far."""
        return sum(stats.generated_tokens for stats in self._stats)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def closable(pieces: Iterable[str]) -> Generator[str, None, None]:
    """Wrap any iterable in a generator, which ``contextlib.closing`` can close; closing it closes ``pieces`` too."""
    try:
        yield from pieces
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def from_first_word(pieces: Iterable[str], begun: bool) -> Generator[str, None, None]:
    """Yield nothing until there is a word: blanks and marks alone would be a false start for the next tier.

    A new reply starts at its first letter; a continuation (``begun``) keeps a leading space. Closes ``pieces``.
    """
    held, said = "", False
    with contextlib.closing(closable(pieces)) as source:
        for piece in source:
            held += piece
            if held and (said or not is_blank(held, is_whole=False)):
                yield held if said or begun else held.lstrip()
                held, said = "", True
    if not is_blank(held):
        yield held if begun else held.lstrip()


def one_line(pieces: Iterable[str], request: ChatRequest, begun: str) -> Generator[str, None, None]:
    """Stop at a line break where Z-Waif wants one line. Line breaks before the first word do not count."""
    until = StopFilter(_line_stops(request))
    with contextlib.closing(from_first_word(pieces, bool(begun))) as source:
        for piece in source:
            if text := until.feed(piece):
                yield text
            if until.stopped:
                return
    if text := until.flush():
        yield text


def _line_stops(request: ChatRequest) -> tuple[str, ...]:
    """Stops that are blank, and the user's name at the start of a line, where the user's turn would begin.

    They are applied to the text that is heard; no model and no server gets them.
    """
    user = request.persona.user_name
    is_talk = request.purpose is not Purpose.SUMMARY
    turns = [f"\n{user}:"] if user and is_talk else []
    return (*(stop for stop in request.stop if stop and stop.isspace()), *turns)


def word_stops(request: ChatRequest) -> tuple[str, ...]:
    """The request's stop strings that are not blank."""
    return tuple(stop for stop in request.stop if stop.strip())
