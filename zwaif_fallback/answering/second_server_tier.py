"""The tier of the second server (``API_FALLBACK_HOST``)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from functools import partial

from zwaif_fallback.answering.contracts import Caption, SecondServer
from zwaif_fallback.answering.pieces import closable, one_line, word_stops
from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest
from zwaif_hooks.reply.continuation import Joiner, LastWordJoiner, split_at_last_word
from zwaif_hooks.reply.spoken_text import ThinkingHabit, spoken
from zwaif_hooks.stream import CancelScope


class SecondServerTier:
    """Asks the second server.

    Args:
        name: how the server is called in messages.
        connect: returns the server; raises EngineError if its address cannot be used.
        caption: describes a picture in words, if it can.
        habit: what earlier replies showed about the server's thoughts; None to learn it anew for each reply.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], SecondServer],
        caption: Caption = lambda request: request,
        habit: ThinkingHabit | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._caption = caption
        self._habit = habit

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        """A second server gets the persona and a caption, like a local model: it knows no character and no picture."""
        request = self._caption(request)
        return self._name, ReplyStream(partial(self._heard, request, begun))

    def _heard(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        pieces = self._continued(request, begun, scope) if begun else self._ask(request, begun, scope)
        yield from one_line(pieces, request, begun)

    def _ask(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        pieces = self._connect().stream(
            fit_to_window.unfitted(request),
            sampling=request.sampling,
            stop=word_stops(request),
            max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS,
            partial=formats.escape(begun, fit_to_window.ANY_MODEL),
        )
        scope.on_cancel(getattr(pieces, "close", bool))
        # Thoughts are removed before anything is joined: a server may repeat the beginning after them.
        yield from spoken(pieces, request.persona.char_name, begun, self._habit)

    def _continued(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        """Yield what follows ``begun``.

        The server gets whole words only, since it would tokenize half a word like any other text, and a reply that
        starts the word again would leave open where it ends. If it continues with a different word, then the last word
        was complete, and the server is asked once more with everything.
        """
        given, _ = split_at_last_word(begun)
        if given:
            joiner = LastWordJoiner(begun)
            yield from _joined(self._ask(request, given, scope), joiner)
            if not joiner.failed:
                return
        yield from _joined(self._ask(request, begun, scope), Joiner(begun))


def _joined(pieces: Iterator[str], joiner: Joiner | LastWordJoiner) -> Iterator[str]:
    with contextlib.closing(closable(pieces)) as source:
        for piece in source:
            yield joiner.feed(piece)
            if isinstance(joiner, LastWordJoiner) and joiner.failed:
                return
    yield joiner.finish()
