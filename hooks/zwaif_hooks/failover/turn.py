"""One turn: ask the primary, pass its reply on, and let a plugin continue where it failed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.call import AT_FAULT, Call, InternalError, NobodyAnswered
from zwaif_hooks.failover.diagnosis import diagnose
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.failover.primary_reply import PrimaryReply
from zwaif_hooks.failover.race import Race
from zwaif_hooks.failover.silence import FOREVER
from zwaif_hooks.failover.spoken_sentences import SpokenSentences
from zwaif_hooks.failover.takeover import MOST_PIECES_AHEAD, Takeover
from zwaif_hooks.failover.turn_report import turn_record
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, PrimaryFailure
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError
from zwaif_hooks.turn_log import BY_PRIMARY, TurnRecord

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime


class Turn:
    """One turn. ``start`` asks the primary, ``chunks`` is read by the thread that waits for the reply."""

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self._call = call
        self._runtime = runtime
        self._primary = runtime.primaries.get(call.primary)
        self._reply = PrimaryReply(call, runtime, self._primary)
        self._race: Race | None = None
        self._takeover: Takeover | None = None
        self._failure: PrimaryFailure | None = None
        self._sentences: SpokenSentences | None = None
        self._abandoned = self._over = False
        self._given_back = ""
        """A note, once Z-Waif asks the primary without this package."""

    def start(self, ahead: bool = True) -> Turn:
        """Ask the primary, unless its breaker is open. Returns at once.

        Args:
            ahead: ask now, and let the server think while Z-Waif speaks its chatpop; otherwise when ``chunks`` is read.
        """
        if not self._primary.is_open:
            self._reply.start(ahead)
        if self._runtime.start_plugins is not None:
            self._runtime.before_first_turn()
        return self

    def chunks(self) -> Iterator[Chunk]:
        """Yield the reply, from the primary or from a plugin.

        Raises:
            NobodyAnswered: before the first chunk or in the middle.
            InternalError: before the first chunk.
        """
        self._leave_previous_turn()
        under_way = self._runtime.records.under_way
        under_way.add(self)
        chars = 0
        answered = False
        self._follow_sentences()
        try:
            for chunk in self._from_whoever_answers():
                chars += len(chunk.text)
                yield chunk
            answered = not self._abandoned
        finally:
            self._over = True
            under_way.discard(self)
            self._end_sentences()
            self._keep_record(chars, answered)
        if answered and self._failure is None:
            self._runtime.plugins.hook.primary_answered(
                primary=self._primary.name, describe=self._call.describe, reply=self._reply.delivered
            )
        elif answered and (record := self._answer()) is not None:
            self._runtime.plugins.hook.fallback_answered(record=record)

    def abandon(self) -> None:
        """Stop: nobody will read the rest."""
        self._abandoned = True
        self._runtime.records.under_way.discard(self)
        self._end_sentences()
        race, takeover = self._race, self._takeover
        self._reply.abandon()
        if race is not None:
            race.rival.abandon()
        if takeover is not None:
            takeover.stop()

    def __del__(self) -> None:
        """Abandon a reply that was asked for and dropped before its first read: it has no iterator that ends."""
        if not self._over:
            self.abandon()

    def _leave_previous_turn(self) -> None:
        """Abandon this thread's previous turn: Z-Waif never closes an iterator, and a Reroll leaves the old one."""
        previous = getattr(_this_thread, "turn", None)
        if previous is not None and previous is not self and not previous._over:
            previous.abandon()
        _this_thread.turn = self

    def _keep_record(self, chars: int, answered: bool) -> None:
        try:
            self._reply.learn()
            record = turn_record(
                self._call,
                self._reply,
                self._failure,
                self._answer(),
                answered=answered or bool(self._given_back),
                chars=chars,
                note=self._given_back or self._reply.note,
            )
            self._runtime.records.add(record)
            self._tell_that_it_is_over(record)
        except Exception as error:  # the reply was heard, and that is what counts
            self._runtime.report("The turn could not be recorded", error)
        deferred.defer(self._runtime.after_turn)

    def _follow_sentences(self) -> None:
        if self._runtime.plugins.wants("sentence_spoken"):
            reply = self._reply
            self._sentences = SpokenSentences(self._runtime, self._call.describe, lambda: reply.delivered)
            self._tell_sentences(self._sentences)

    def _tell_sentences(self, sentences: SpokenSentences) -> None:
        sentences.begin()

    def _end_sentences(self) -> None:
        if self._sentences is not None:
            self._sentences.end()

    def _tell_that_it_is_over(self, record: TurnRecord) -> None:
        """Call ``turn_finished``, after ``sentence_spoken`` for the last sentence."""
        sentences = self._sentences
        if not self._runtime.plugins.wants("turn_finished"):
            return

        def tell() -> None:
            if sentences is not None:
                sentences.look()
            self._runtime.plugins.hook.turn_finished(record=record)

        deferred.defer(tell)

    def _heard(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Pass on what plugins say."""
        for chunk in chunks:
            if self._sentences is not None:
                self._sentences.heard(chunk.text, chunk.by or BY_PRIMARY)
            yield chunk

    def _answer(self) -> AnswerRecord | None:
        """Return the complete reply of the plugin that took over; None if the primary was heard."""
        return self._takeover.record if self._failure is not None and self._takeover is not None else None

    def _from_whoever_answers(self) -> Iterator[Chunk]:
        if not self._reply.is_asked:
            self._failure = self._primary.open_failure()
            yield from self._heard(self._from_plugins(self._failure, None))
            return
        try:
            yield from self._reply.chunks(self._begin_race)
            return
        except PrimaryError as caught:
            # Its traceback would keep the frames of the reader alive, and with them the reply.
            error = caught.with_traceback(None)
        except Exception as caught:
            error = PrimaryError(FailureKind.UNKNOWN, repr(caught), original=caught)
        finally:
            self._reply.abandon()
        if self._abandoned:
            return
        if is_internal_error(error.original):
            yield from self._after_internal_error(error)
            return
        self._failure = self._reply.failure_of(error) if self._race is None else self._race.failure
        if self._race is None and not self._runtime.still_enabled():
            yield from self._without_a_fallback(self._failure, error)
            return
        if not self._primary.failed(self._failure, self._call.probe):
            diagnose(self._runtime, self._primary, self._failure, self._call.why)
        if self._race is not None:
            yield from self._heard(self._from_rival(self._race.rival))
        else:
            yield from self._heard(self._from_plugins(self._failure, error))

    def _after_internal_error(self, error: PrimaryError) -> Iterator[Chunk]:
        """Continue without counting anything against the primary, which may be well.

        Raises:
            InternalError: nothing was passed on yet.
        """
        name = self._primary.name
        if not self._reply.delivered:
            self._given_back = f"Z-Waif asked without zwaif-fallback, which failed ({type(error.original).__name__})"
            self._runtime.report(
                f"{AT_FAULT}, while reading the reply of {name}: Z-Waif's request is sent without it", error.original
            )
            raise InternalError from error.original
        if self._reply.is_whole:
            self._runtime.report(f"{AT_FAULT}, after the last word of {name}", error.original)
            return
        self._runtime.report(f"{AT_FAULT}, while reading the reply of {name}: the fallback continues", error.original)
        self._failure = self._reply.failure_of(error)
        yield from self._heard(self._from_plugins(self._failure, error))

    def _begin_race(self, late: PrimaryError) -> Race:
        seconds = self._reply.first
        self._runtime.say(f"{self._primary.name} has been silent for {seconds:.3g} s: the fallback now starts as well")
        failure = self._reply.failure_of(late)

        def rivals(_: CancelScope) -> Iterator[Chunk]:
            yield from self._from_plugins(failure, late)

        rival = BackgroundReader(rivals, self._runtime.clock, capacity=MOST_PIECES_AHEAD)
        self._race = Race(late, failure, rival, self._runtime.clock, seconds, self._end_race)
        rival.start()
        if self._abandoned:
            rival.abandon()
        return self._race

    def _end_race(self) -> None:
        self._race = None

    def _from_rival(self, rival: BackgroundReader) -> Iterator[Chunk]:
        try:
            while (chunk := rival.take(FOREVER)) is not None:
                yield chunk
        except PrimaryError as error:
            raise error.original or error from None
        finally:
            rival.abandon()

    def _from_plugins(self, failure: PrimaryFailure, error: PrimaryError | None) -> Iterator[Chunk]:
        request = self._described(failure, error)
        takeover = self._takeover = Takeover(self._runtime, request, failure)
        try:
            for text in takeover.texts():
                yield Chunk(text, by=takeover.speaking)
                if self._abandoned:
                    return
        except Exception as mistake:
            self._runtime.report(f"{AT_FAULT}, while asking the plugins", mistake)
        finally:
            takeover.stop()
        if takeover.record is None and not self._abandoned and not (takeover.asked and takeover.has_begun):
            yield from self._without_a_fallback(failure, error)

    @staticmethod
    def _without_a_fallback(failure: PrimaryFailure, error: PrimaryError | None) -> Iterator[Chunk]:
        """Yield the rest of the reply as Z-Waif would have had it without this package.

        Raises:
            NobodyAnswered: it would have had an error.
        """
        if error is None or error.as_it_came is None:
            raise NobodyAnswered(failure, error)
        if error.as_it_came:
            yield Chunk(error.as_it_came)

    def _described(self, failure: PrimaryFailure, error: PrimaryError | None) -> ChatRequest:
        """Describe the request. If that fails, Z-Waif gets the primary's failure and not this package's."""
        try:
            return self._call.describe()
        except Exception as caught:
            self._runtime.report("The request could not be read, so the fallback cannot answer it", caught)
            raise NobodyAnswered(failure, error) from caught


_this_thread = threading.local()
