"""A turn whose LLM server has failed already: what Z-Waif gets in an outage, for commands and for tests of plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.failover.call import Call, NobodyAnswered
from zwaif_hooks.failover.spoken_sentences import SpokenSentences
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.messages import AnswerRecord, ChatRequest, PrimaryFailure
from zwaif_hooks.stream import CancelScope, Chunk

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime


class OutageTurn(Turn):
    """A turn that asks no server. It calls the same hooks as any other, ``before_request`` excepted."""

    def __init__(self, runtime: Runtime, request: ChatRequest, failure: PrimaryFailure) -> None:
        super().__init__(Call(request.primary, _nothing, _nothing, lambda: request, request.backend), runtime)
        self._failed = failure
        self._reply.delivered = failure.delivered

    @property
    def record(self) -> AnswerRecord | None:
        """Who answered, once the reply is complete."""
        return self._answer()

    @property
    def answered_by(self) -> str:
        """Who said the newest text; empty before the first."""
        return self._takeover.answered_by if self._takeover is not None else ""

    def texts(self) -> Iterator[str]:
        """Yield what follows ``failure.delivered``, in pieces as Z-Waif gets them; nothing if nobody answers."""
        with suppress(NobodyAnswered):
            for chunk in self.chunks():
                if self._sentences is not None:
                    self._sentences.look()
                yield chunk.text

    def be_told(self, seconds: float) -> list[str]:
        """Wait until the plugins have heard of everything. Return the names of those that need more time."""
        deferred.catch_up(seconds)
        return self._runtime.plugins.catch_up(seconds)

    def _tell_sentences(self, sentences: SpokenSentences) -> None:
        """Do without the background: it would tell them sooner or later than the hooks of the turn's end."""

    def _end_sentences(self) -> None:
        super()._end_sentences()
        if self._sentences is not None:
            self._sentences.look()

    def _from_whoever_answers(self) -> Iterator[Chunk]:
        self._failure = self._failed
        return self._heard(self._from_plugins(self._failed, None))

    def _keep_record(self, chars: int, answered: bool) -> None:
        super()._keep_record(len(self._reply.delivered) + chars, answered)


def _nothing(scope: CancelScope) -> Iterator[Chunk]:
    return iter(())
