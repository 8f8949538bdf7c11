"""The way of one message: ask the primary, watch its reply, and let a plugin go on from where it failed."""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zwaif_hooks.clock import Clock
from zwaif_hooks.deadlines import Deadlines
from zwaif_hooks.host import log
from zwaif_hooks.joining import Joiner, SurrogateGate
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, PrimaryFailure
from zwaif_hooks.primary import Primary
from zwaif_hooks.pump import Chunk, PrimaryError, Pump, Source

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

SHORTEST_REPLY = 3
"""Z-Waif takes fewer characters for a blank reply and asks again."""
REPEAT_ENDING = " I know I keep saying that."
"""Last resort against Z-Waif's repeat rule, when a plugin repeats itself word for word."""


@dataclass(frozen=True)
class Call:
    """One call of Z-Waif's client library, as a guard describes it."""

    primary: str
    """``host:port``"""
    open: Source
    """Ask the primary and read its reply; runs in a thread of ours, raises PrimaryError."""
    probe: Source
    """Ask the primary for one token."""
    describe: Callable[[], ChatRequest]
    """What was asked, in our words; only called when the primary failed."""


class NobodyAnswered(Exception):
    """The primary failed and no plugin answered: Z-Waif is to see what it would have seen without us."""

    def __init__(self, failure: PrimaryFailure, error: PrimaryError | None) -> None:
        super().__init__(failure.cause)
        self.failure = failure
        self.error = error


class Turn:
    """One reply in the making: ``start`` asks the primary, ``chunks`` is read by the thread that waits."""

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self._call = call
        self._runtime = runtime
        self._clock = runtime.clock
        self._began = self._clock.now()
        self._primary: Primary = runtime.primaries.get(call.primary)
        self._pump: Pump | None = None
        self._delivered = ""
        self._answer_pieces: Iterator[str] | None = None
        self._abandoned = False

    def start(self) -> Turn:
        """Ask the primary now, so that it thinks while Z-Waif speaks its chatpop. Returns at once."""
        if self._primary.admit():
            self._pump = Pump(self._call.open, self._clock)
            self._pump.start()
        return self

    def chunks(self) -> Iterator[Chunk]:
        """The reply, from whoever gives it.

        Raises:
            NobodyAnswered: before the first chunk or in the middle.
        """
        self._leave_previous_turn()
        error: PrimaryError | None = None
        if self._pump is None:
            failure = self._primary.open_failure()
        else:
            try:
                yield from self._from_primary(self._pump)
                return
            except PrimaryError as caught:
                error = caught
            finally:
                self._pump.abandon()
            failure = self._failure_of(error)
            self._primary.failed(failure, self._call.probe)
        if self._abandoned:
            return
        yield from self._from_plugins(failure, error)

    def abandon(self) -> None:
        """Nobody will read the rest: stop whoever is speaking."""
        self._abandoned = True
        if self._pump is not None:
            self._pump.abandon()
        pieces, self._answer_pieces = self._answer_pieces, None
        close = getattr(pieces, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # it is being read at this very moment; the reader sees the flag
                close()

    def _leave_previous_turn(self) -> None:
        """Z-Waif never closes an iterator: a Reroll leaves the old one behind in the same thread and asks again."""
        previous = getattr(_this_thread, "turn", None)
        if previous is not None and previous is not self:
            previous.abandon()
        _this_thread.turn = self

    def _from_primary(self, pump: Pump) -> Iterator[Chunk]:
        deadlines = Deadlines.of(self._runtime.settings)
        whole = SurrogateGate()
        held = ""
        while (chunk := pump.take(deadlines.first_token, deadlines.stall)) is not None:
            text = whole.feed(chunk.text)
            if not self._delivered and (held + text).strip() == "":
                held += text
                continue
            self._delivered += held + text
            yield chunk if text == chunk.text and not held else Chunk(held + text)
            held = ""
        if not self._delivered:
            raise PrimaryError(FailureKind.EMPTY, "the reply was blank")
        self._primary.succeeded()

    def _failure_of(self, error: PrimaryError) -> PrimaryFailure:
        return PrimaryFailure(
            kind=error.kind,
            cause=error.cause,
            delivered=self._delivered,
            status=error.status,
            retry_after=error.retry_after,
            exception=error.original or error,
            elapsed=self._clock.now() - self._began,
        )

    def _from_plugins(self, failure: PrimaryFailure, error: PrimaryError | None) -> Iterator[Chunk]:
        request = self._described(failure, error)
        asked: list[str] = []
        if request.stream and self._delivered:
            log.reply_on_line()
        while (answered := self._runtime.plugins.answer(request, failure, asked)) is not None:
            plugin, answer = answered
            asked.append(plugin)
            speaker = Speaker(plugin, answer, request, failure, self._clock)
            self._answer_pieces = speaker.pieces
            try:
                for text in speaker.speak():
                    self._delivered += text
                    yield Chunk(text)
                    if request.stream:
                        log.reply_on_line()
                    if self._abandoned:
                        return
            except Exception as caught:
                self._runtime.report(f"Plugin {plugin!r} failed in the middle of its answer: {caught!r}", caught)
                failure = replace(failure, delivered=self._delivered)
                continue
            if speaker.said:
                self._runtime.plugins.hook.fallback_answered(record=speaker.record())
                return
        if not (asked and self._delivered):
            raise NobodyAnswered(failure, error)

    def _described(self, failure: PrimaryFailure, error: PrimaryError | None) -> ChatRequest:
        """The request in our words; where those fail us, Z-Waif sees the primary's failure and not ours."""
        try:
            return self._call.describe()
        except Exception as caught:
            self._runtime.report(f"The request could not be read, so nobody can answer it: {caught!r}", caught)
            raise NobodyAnswered(failure, error) from caught


_this_thread = threading.local()


class Speaker:
    """One plugin's answer on its way to Z-Waif: no repetition at the seam, never blank, never a repeated reply."""

    def __init__(
        self, plugin: str, answer: Answer, request: ChatRequest, failure: PrimaryFailure, clock: Clock
    ) -> None:
        self.plugin = plugin
        self.answer = answer
        self.pieces = iter([answer.pieces] if isinstance(answer.pieces, str) else answer.pieces)
        self.said = ""
        self._request = request
        self._failure = failure
        self._joiner = Joiner(failure.delivered, exact=answer.exact)
        self._clock = clock
        self._began = clock.now()
        self._first = 0.0

    def speak(self) -> Iterator[str]:
        held = ""
        for text in self._joined():
            if not self.said:
                self._first = self._clock.now() - self._began
                text, held = held + text, ""
                if not self._failure.delivered:
                    text = text.lstrip()
                if not text.strip():
                    held = text
                    continue
            self.said += text
            yield text
        if self.said:
            yield from self._ending()

    def record(self) -> AnswerRecord:
        return AnswerRecord(
            request=self._request,
            failure=self._failure,
            plugin=self.plugin,
            answered_by=self.answer.answered_by or self.plugin,
            text=self.said,
            first_text_after=self._first,
            finished_after=self._clock.now() - self._began,
        )

    def _joined(self) -> Iterator[str]:
        for piece in self.pieces:
            if not isinstance(piece, str):
                raise TypeError(f"expected pieces of text, got {type(piece).__name__}")
            if text := self._joiner.feed(piece):
                yield text
        if rest := self._joiner.finish():
            yield rest

    def _ending(self) -> Iterator[str]:
        whole = self._failure.delivered + self.said
        extra = ""
        if len(whole) < SHORTEST_REPLY:
            extra = "..."
        elif is_repeat(whole, self._request.recent_replies):
            extra = REPEAT_ENDING
        if extra:
            self.said += extra
            yield extra


def is_repeat(text: str, recent_replies: tuple[str, ...]) -> bool:
    """Would Z-Waif take this for a reply it has had already?"""
    unescaped = html.unescape(text)
    return any(unescaped == reply for reply in recent_replies)
