"""The way of one message: ask the primary, watch its reply, and let a plugin go on from where it failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zwaif_hooks.deadlines import Deadlines
from zwaif_hooks.explain import Why, explain
from zwaif_hooks.host import log
from zwaif_hooks.joining import SurrogateGate, by_sentence
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, PrimaryFailure
from zwaif_hooks.primary import Primary
from zwaif_hooks.pump import Chunk, Closers, PrimaryError, Pump, Source
from zwaif_hooks.records import BY_PRIMARY, CHARS_A_TOKEN, TurnRecord
from zwaif_hooks.speaker import Speaker
from zwaif_hooks.truth import could_be_an_apology, is_an_apology, looks_unfinished
from zwaif_hooks.usage import Usage, unread

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

AHEAD = 16
"""Pieces a rival may be ahead of its reader; a local engine waits then instead of working for nobody."""
MORE_ROOM = (
    "Give the server a larger context window (Ollama: num_ctx or OLLAMA_CONTEXT_LENGTH), or lower MESSAGE_PAIR_LIMIT "
    "or TOKEN_LIMIT in Z-Waif's .env"
)
FOREVER = 3600.0
"""Seconds. A rival has its plugin's own deadlines; this only keeps a lost wake-up from lasting for ever."""


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
    """What was asked, in our words; only called when the primary failed or is late."""
    backend: str = ""
    prompt_chars: int = 0
    """Length of what was asked, in characters: long prompts are given longer to the first token."""
    why: Why | None = None
    """Find out why a reply ended without a word and a reason, where the server can be asked."""


class NobodyAnswered(Exception):
    """The primary failed and no plugin answered: Z-Waif is to see what it would have seen without us."""

    def __init__(self, failure: PrimaryFailure, error: PrimaryError | None) -> None:
        super().__init__(failure.cause)
        self.failure = failure
        self.error = error

    def as_without_us(self) -> BaseException:
        """The client library's own exception, where it raised one."""
        original = self.error.original if self.error is not None else None
        return original if original is not None else ConnectionError(self.failure.cause)


class Turn:
    """One reply in the making: ``start`` asks the primary, ``chunks`` is read by the thread that waits."""

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self._call = call
        self._runtime = runtime
        self._clock = runtime.clock
        self._began = self._clock.now()
        self._primary: Primary = runtime.primaries.get(call.primary)
        self._pump: Pump | None = None
        self._rival: Pump | None = None
        self._delivered = ""
        self._speaker: Speaker | None = None
        self._abandoned = False
        self._failure: PrimaryFailure | None = None
        self._answer: AnswerRecord | None = None
        self._usage: Usage | None = None
        self._primary_pieces = 0
        self._note = ""

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
        chars = 0
        answered = False
        try:
            for chunk in self._speakers():
                chars += len(chunk.text)
                yield chunk
            answered = not self._abandoned
        finally:
            self._runtime.records.add(self._record(chars, answered))
        if answered and self._failure is None:
            self._runtime.plugins.hook.primary_answered(
                primary=self._primary.name, describe=self._call.describe, reply=self._delivered
            )

    def _speakers(self) -> Iterator[Chunk]:
        if self._pump is None:
            yield from self._from_plugins(self._primary.open_failure(), None)
            return
        try:
            yield from self._from_primary(self._pump)
            return
        except PrimaryError as caught:
            # Its traceback holds the frames of whoever reads this reply, and with them the reply itself.
            error = caught.with_traceback(None)
        finally:
            self._pump.abandon()
        if self._abandoned:
            return
        if self._rival is not None:
            yield from self._from_rival(self._rival)
            return
        failure = self._failure_of(error)
        self._primary.failed(failure, self._call.probe)
        explain(self._runtime, self._primary, failure, self._call.why)
        yield from self._from_plugins(failure, error)

    def abandon(self) -> None:
        """Nobody will read the rest: stop whoever is speaking."""
        self._abandoned = True
        for pump in (self._pump, self._rival):
            if pump is not None:
                pump.abandon()
        speaker = self._speaker
        if speaker is not None:
            speaker.close()  # where it is being read at this very moment, the reader sees the flag and closes it

    def _leave_previous_turn(self) -> None:
        """Z-Waif never closes an iterator: a Reroll leaves the old one behind in the same thread and asks again."""
        previous = getattr(_this_thread, "turn", None)
        if previous is not None and previous is not self:
            previous.abandon()
        _this_thread.turn = self

    def _from_primary(self, pump: Pump) -> Iterator[Chunk]:
        deadlines = Deadlines.of(self._runtime.settings)
        first = self._primary.first_token.deadline(self._call.prompt_chars, deadlines.first_token)
        whole = SurrogateGate()
        held = ""
        why = ""
        while (chunk := self._next(pump, first, deadlines.stall)) is not None:
            why = chunk.reason or why
            self._usage = chunk.usage or self._usage
            if not chunk.text and chunk.native is None:
                continue
            held += whole.feed(chunk.text)
            if not self._delivered and (not held.strip() or could_be_an_apology(held)):
                continue
            self._primary_pieces += 1
            if not self._delivered:
                self._first_words()
            self._delivered += held
            if chunk.native is not None and held == chunk.text:
                yield chunk
            else:
                yield from map(Chunk, by_sentence(held))
            held = ""
        if is_an_apology(held):
            raise PrimaryError(FailureKind.ERROR_BODY, f"the reply was only an apology: {held.strip()[:80]}")
        if not self._delivered and not held.strip():
            raise PrimaryError(FailureKind.EMPTY, "the reply was blank")
        if held:
            self._delivered += held
            yield from map(Chunk, by_sentence(held))
        if why == "stop":
            self._doubt_the_end()
        self._primary.succeeded()
        self._note = self._unread_part()

    def _unread_part(self) -> str:
        """What the server left out of the prompt, told to the user once."""
        try:
            note = unread(self._usage, self._call.prompt_chars, self._call.describe)
        except Exception as error:
            self._runtime.report(f"The length of the prompt could not be checked: {error!r}", error)
            return ""
        if note and self._primary.first_time("unread"):
            self._runtime.say(f"{self._primary.name}: {note} of the prompt and dropped the oldest. {MORE_ROOM}")
        return note

    def _doubt_the_end(self) -> None:
        """Raise where the reply says that it is finished and ends in the middle of a sentence."""
        last = self._delivered.rstrip()[-1:]
        if not (last.isalnum() or last in ",-'’"):
            return
        try:
            request = self._call.describe()
        except Exception as error:
            self._runtime.report(f"The end of the reply could not be checked: {error!r}", error)
            return
        if looks_unfinished(self._delivered, request.recent_replies, request.stop):
            raise PrimaryError(FailureKind.CUT, "the reply says it is finished, in the middle of a sentence")

    def _next(self, pump: Pump, first: float, stall: float) -> Chunk | None:
        """The primary's next chunk, or PrimaryError."""
        try:
            return pump.take(first, stall)
        except PrimaryError as error:
            if error.kind is not FailureKind.FIRST_TOKEN_TIMEOUT:
                raise
            late = error
        self._race(pump, late, first)
        return pump.take(FOREVER, stall)

    def _race(self, pump: Pump, late: PrimaryError, first: float) -> None:
        """Silence before the first word is not yet death (a model may be loading): begin a local answer beside it.

        Returns when the primary speaks first; raises ``late`` when the local answer does.
        """
        self._runtime.say(f"{self._primary.name}: {late.cause}; a local answer is begun, whoever speaks first is heard")
        failure = self._failure_of(late)

        def rivals(_: Closers) -> Iterator[Chunk]:
            yield from self._from_plugins(failure, late)

        self._rival = rival = Pump(rivals, self._clock, capacity=AHEAD, changed=pump.changed)
        rival.start()
        if not self._primary_is_first(pump, rival, first):
            self._primary.failed(failure, self._call.probe)
            raise late
        rival.abandon()
        self._rival = self._failure = None

    def _primary_is_first(self, pump: Pump, rival: Pump, first: float) -> bool:
        with pump.changed:
            self._clock.wait(pump.changed, lambda: pump.speaks() or rival.speaks() or rival.ended_mute(), FOREVER)
            if rival.ended_mute():
                self._clock.wait(pump.changed, lambda: pump.speaks() or pump.ended_mute(), first)
            return pump.speaks() and not rival.speaks()

    def _first_words(self) -> None:
        self._primary.first_token.observe(self._call.prompt_chars, self._clock.now() - self._began)

    def _from_rival(self, rival: Pump) -> Iterator[Chunk]:
        try:
            while (chunk := rival.take(FOREVER, FOREVER)) is not None:
                yield chunk
        except PrimaryError as error:
            raise error.original or error from None
        finally:
            rival.abandon()

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
        self._failure = failure
        asked: list[str] = []
        if request.stream and failure.delivered:
            log.reply_on_line()
        while (answered := self._runtime.plugins.answer(request, failure, asked)) is not None:
            plugin, answer = answered
            asked.append(plugin)
            speaker = Speaker(plugin, answer, request, failure, self._clock)
            self._speaker = speaker
            try:
                for text in speaker.speak():
                    yield Chunk(text)
                    if request.stream:
                        log.reply_on_line()
                    if self._abandoned:
                        return
            except Exception as caught:
                self._runtime.report(f"Plugin {plugin!r} failed in the middle of its answer: {caught!r}", caught)
                failure = replace(failure, delivered=failure.delivered + speaker.said)
                continue
            finally:
                self._speaker = None
                speaker.close()
            if speaker.said:
                self._answer = speaker.record()
                self._runtime.plugins.hook.fallback_answered(record=self._answer)
                return
        if not (asked and failure.delivered):
            raise NobodyAnswered(failure, error)

    def _record(self, chars: int, answered: bool) -> TurnRecord:
        failure, answer = self._failure, self._answer
        counted = self._usage.reply_tokens if self._usage is not None else None
        made = answer.tokens if answer is not None else None
        by = BY_PRIMARY if failure is None else answer.answered_by if answer is not None else ""
        return TurnRecord(
            at=time.time(),
            primary=self._primary.name,
            backend=self._call.backend,
            answered_by=by if answered or answer is not None else "",
            cause=failure.kind.value if failure is not None else "",
            detail=failure.cause if failure is not None else "",
            detected_after=failure.elapsed if failure is not None else 0.0,
            taken_over_after=answer.first_text_after if answer is not None else 0.0,
            seconds=self._clock.now() - self._began,
            primary_chars=len(self._delivered),
            chars=chars,
            primary_tokens=counted if counted is not None else self._primary_pieces,
            primary_tokens_estimated=counted is None and self._primary_pieces > 0,
            fallback_tokens=made if made is not None else len(answer.text) // CHARS_A_TOKEN if answer else 0,
            fallback_tokens_estimated=made is None and answer is not None,
            note=self._note,
        )

    def _described(self, failure: PrimaryFailure, error: PrimaryError | None) -> ChatRequest:
        """The request in our words; where those fail us, Z-Waif sees the primary's failure and not ours."""
        try:
            return self._call.describe()
        except Exception as caught:
            self._runtime.report(f"The request could not be read, so nobody can answer it: {caught!r}", caught)
            raise NobodyAnswered(failure, error) from caught


_this_thread = threading.local()
