"""The way of one message: ask the primary, watch its reply, and let a plugin go on from where it failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.diagnosis import Why, look_into
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.failover.prompt_truncation import unread
from zwaif_hooks.failover.race import Race
from zwaif_hooks.failover.reader import ReplyReader
from zwaif_hooks.failover.silence import FOREVER
from zwaif_hooks.failover.takeover import AHEAD, Takeover
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, PrimaryFailure
from zwaif_hooks.reply.continuation import SurrogateGate, by_sentence
from zwaif_hooks.reply.endless import is_to_end, longest
from zwaif_hooks.reply.false_replies import could_be_an_apology, is_an_apology, is_cut_to_nothing, says_nothing
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, Source, UnmarkedEnd, Usage
from zwaif_hooks.turn_log import BY_PRIMARY, CHARS_A_TOKEN, TurnRecord

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

AT_FAULT = "A fault in zwaif-fallback itself"
MORE_ROOM = (
    "Give the server a larger context window (Ollama: num_ctx or OLLAMA_CONTEXT_LENGTH), or lower MESSAGE_PAIR_LIMIT "
    "or TOKEN_LIMIT in Z-Waif's .env"
)


UNUSUAL = 1.5
"""Times the longest recent silence of a server, from which on it is told to be late."""


@dataclass(slots=True)
class Call:
    """One call of Z-Waif's client library, as a guard describes it."""

    primary: str
    """``host:port``"""
    open: Source
    """Ask the primary and read its reply; begun in any thread, read on in any other, raises PrimaryError."""
    probe: Source
    """Ask the primary for one token."""
    describe: Callable[[], ChatRequest]
    """What was asked, in our words; only called when the primary failed or is late."""
    backend: str = ""
    prompt_chars: Callable[[], int] = int
    """Length of what was asked, in characters: long prompts are given longer to the first token."""
    why: Why | None = None
    """Find out why a reply ended without a word and a reason, where the server can be asked."""
    max_tokens: int = 0
    """How long the reply may be by what was asked; 0 where nothing was."""
    direct: bool = False
    """Whether ``open`` heeds its scope while no bytes come, so that the thread that waits may read by itself."""
    named: bool = False
    """Whether the primary's name must be looked up, which nothing can interrupt."""


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


class InternalError(Exception):
    """Code of ours failed before a word was handed on: Z-Waif is to be given what it asked for without us."""


def is_handed_back(error: Exception, runtime: Runtime) -> bool:
    """Whether ``error`` is a fault of ours, so that Z-Waif is to be given what it asked for without us."""
    if not isinstance(error, InternalError):
        if not is_internal_error(error):
            return False
        runtime.report(f"{AT_FAULT}: Z-Waif asks without it", error)
    return True


class Turn:
    """One reply in the making: ``start`` asks the primary, ``chunks`` is read by the thread that waits."""

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self._call = call
        self._runtime = runtime
        self._clock = runtime.clock
        self._began = self._clock.now()
        self._primary: Primary = runtime.primaries.get(call.primary)
        self._reading: ReplyReader | BackgroundReader | None = None
        self._race: Race | None = None
        self._delivered = ""
        self._rescue: Takeover | None = None
        self._abandoned = self._over = False
        self._failure: PrimaryFailure | None = None
        self._usage: Usage | None = None
        self._primary_pieces = 0
        self._is_whole = False
        """The primary was heard to its end."""
        self._handed_back = False
        """Z-Waif asks the primary without us."""
        self._note = ""

    def start(self, ahead: bool = True) -> Turn:
        """Let the primary be asked, if it may be. Returns at once.

        ``ahead``: ask at once, so that it thinks while Z-Waif speaks its chatpop; otherwise when ``chunks`` is read.
        """
        if self._primary.is_open:
            return self
        if self._call.direct:
            self._reading = ReplyReader(self._call.open, self._clock, here=not self._call.named)
        else:
            self._reading = BackgroundReader(self._call.open, self._clock)
        if ahead or not self._call.direct:
            self._reading.start()
        return self

    def chunks(self) -> Iterator[Chunk]:
        """The reply, from whoever gives it.

        Raises:
            NobodyAnswered: before the first chunk or in the middle.
            InternalError: before the first chunk.
        """
        self._leave_previous_turn()
        under_way = self._runtime.records.under_way
        under_way.add(self)
        chars = 0
        answered = False
        try:
            for chunk in self._speakers():
                chars += len(chunk.text)
                yield chunk
            answered = not self._abandoned
        finally:
            self._over = True
            under_way.discard(self)
            self._keep_books(chars, answered)
        if answered and self._failure is None:
            self._runtime.plugins.hook.primary_answered(
                primary=self._primary.name, describe=self._call.describe, reply=self._delivered
            )
        elif answered and (record := self._answered()) is not None:
            self._runtime.plugins.hook.fallback_answered(record=record)

    def _answered(self) -> AnswerRecord | None:
        """Who answered in the primary's place, once that reply is complete; nobody where the primary was heard."""
        return self._rescue.record if self._failure is not None and self._rescue is not None else None

    def _keep_books(self, chars: int, answered: bool) -> None:
        try:
            self._learn()
            self._runtime.records.add(self._record(chars, answered))
        except Exception as error:  # the reply was heard
            self._runtime.report("What became of a reply could not be recorded", error)
        deferred.defer(self._runtime.settings.reload)

    def _speakers(self) -> Iterator[Chunk]:
        if self._reading is None:
            self._failure = self._primary.open_failure()
            yield from self._from_plugins(self._failure, None)
            return
        try:
            yield from self._from_primary(self._reading)
            return
        except PrimaryError as caught:
            # Its traceback holds the frames of whoever reads this reply, and with them the reply itself.
            error = caught.with_traceback(None)
        except Exception as caught:
            error = PrimaryError(FailureKind.UNKNOWN, repr(caught), original=caught)
        finally:
            self._reading.abandon()
        if self._abandoned:
            return
        if is_internal_error(error.original):
            yield from self._in_spite_of_us(error)
            return
        self._failure = self._failure_of(error) if self._race is None else self._race.failure
        if self._race is None and not self._runtime.still_enabled():
            yield from self._without_a_fallback(self._failure, error)
            return
        if not self._primary.failed(self._failure, self._call.probe):
            look_into(self._runtime, self._primary, self._failure, self._call.why)
        if self._race is not None:
            yield from self._from_rival(self._race.rival)
        else:
            yield from self._from_plugins(self._failure, error)

    def _in_spite_of_us(self, error: PrimaryError) -> Iterator[Chunk]:
        """Nothing is counted against the primary, which may be well.

        Raises:
            InternalError: nothing was handed on yet.
        """
        name = self._primary.name
        if not self._delivered:
            self._handed_back = True
            self._note = f"Z-Waif asked without zwaif-fallback, which failed ({type(error.original).__name__})"
            self._runtime.report(f"{AT_FAULT}, in reading the reply of {name}: Z-Waif asks without it", error.original)
            raise InternalError from error.original
        if self._is_whole:
            self._runtime.report(f"{AT_FAULT}, behind the last word of {name}", error.original)
            return
        self._runtime.report(f"{AT_FAULT}, in reading the reply of {name}: a local answer goes on", error.original)
        self._failure = self._failure_of(error)
        yield from self._from_plugins(self._failure, error)

    def abandon(self) -> None:
        """Nobody will read the rest: stop whoever is speaking."""
        self._abandoned = True
        self._runtime.records.under_way.discard(self)
        race = self._race
        if self._reading is not None:
            self._reading.abandon()
        if race is not None:
            race.rival.abandon()
        rescue = self._rescue
        if rescue is not None:
            rescue.stop()

    def __del__(self) -> None:
        """A reply that was asked for and dropped before its first read: no iterator's end gives it up."""
        if not self._over:
            self.abandon()

    def _leave_previous_turn(self) -> None:
        """Z-Waif never closes an iterator: a Reroll leaves the old one behind in the same thread and asks again."""
        previous = getattr(_this_thread, "turn", None)
        if previous is not None and previous is not self and not previous._over:
            previous.abandon()
        _this_thread.turn = self

    def _from_primary(self, reading: ReplyReader | BackgroundReader) -> Iterator[Chunk]:
        # Not before: a thread that reads ahead for a reply that was dropped must not keep this turn alive.
        reading.silence.on_unusual = self._tell_that_it_is_late
        reading.silence.unusual_after = self._unusual
        limit = longest(self._call.max_tokens)
        whole = SurrogateGate()
        held = ""
        why = ""
        while (chunk := self._next(reading, held)) is not None:
            why = chunk.reason or why
            self._usage = chunk.usage or self._usage
            if not chunk.text and chunk.native is None:
                continue
            held += whole.feed(chunk.text)
            if not self._delivered and (says_nothing(held, is_whole=False) or could_be_an_apology(held)):
                continue
            self._primary_pieces += 1
            self._delivered += held
            if chunk.native is not None and held == chunk.text:
                yield chunk
            else:
                yield from map(Chunk, by_sentence(held))
            held = ""
            if len(self._delivered) >= limit and is_to_end(len(self._delivered), chunk.text, limit):
                self._end_endless()
                return
        self._is_whole = True
        if is_an_apology(held):
            cause = f"the reply was only an apology: {held.strip()[:80]}"
            raise PrimaryError(FailureKind.ERROR_BODY, cause, as_it_came=held)
        if not self._delivered and says_nothing(held):
            raise PrimaryError(FailureKind.EMPTY, "the reply was blank", as_it_came=held)
        if held:
            self._delivered += held
            yield from map(Chunk, by_sentence(held))
        counted = self._usage.reply_tokens if self._usage is not None else None
        if why == "length" and is_cut_to_nothing(self._delivered, self._call.max_tokens, counted):
            cause = "the server had no room for more than a word of the reply"
            raise PrimaryError(FailureKind.CUT, cause, as_it_came="")
        self._primary.succeeded()
        self._primary.ends.observe(why)
        self._primary.pauses.observe(reading.silence.longest_pause, self._primary_pieces)
        self._note = self._unread_part()

    def _next(self, reading: ReplyReader | BackgroundReader, held: str) -> Chunk | None:
        """The next chunk, or None at the end of the reply; ``held`` is what of it was not delivered yet."""
        try:
            return reading.take(self, self._begin_race)
        except UnmarkedEnd as end:
            if self._primary.ends.is_whole(self._delivered + held, end, self._marks_its_ends):
                return None
            end.as_it_came = held
            raise

    def _marks_its_ends(self) -> bool:
        return self._primary.marks_its_ends(self._call.probe)

    def _end_endless(self) -> None:
        self._note = f"the reply was without end and was ended after {len(self._delivered)} characters"
        if self._primary.first_time("endless"):
            self._runtime.say(f"{self._primary.name}: {self._note}. Another model, or its own chat template, may help")

    def _unread_part(self) -> str:
        """What the server left out of the prompt, told to the user once."""
        try:
            note = unread(self._usage, self._prompt_chars, self._call.describe)
        except Exception as error:
            self._runtime.report("The length of the prompt could not be checked", error)
            return ""
        if note and self._primary.first_time("unread"):
            self._runtime.say(f"{self._primary.name}: {note} of the prompt and dropped the oldest. {MORE_ROOM}")
        return note

    @cached_property
    def _prompt_chars(self) -> int:
        try:
            return self._call.prompt_chars()
        except Exception as error:  # only how long to wait depends on it
            self._runtime.report("The length of the prompt could not be told", error)
            return 0

    def _learn(self) -> None:
        """How long this server needed for its first word."""
        if self._reading is not None and self._primary_pieces:
            self._primary.first_token.observe(self._prompt_chars, self._reading.silence.spoke_at - self._began)

    @cached_property
    def first(self) -> float:
        """Seconds to wait for the first text."""
        self._runtime.settings.reload()
        setting = self._runtime.settings.get("API_FALLBACK_FIRST_TOKEN_TIMEOUT")
        return self._primary.first_token.deadline(self._prompt_chars, setting)

    @cached_property
    def stall(self) -> float:
        """Seconds to wait between two pieces of text."""
        return self._primary.pauses.deadline(self._runtime.settings.get("API_FALLBACK_STALL_TIMEOUT"))

    def _unusual(self, had_content: bool) -> float:
        primary = self._primary
        usual = primary.pauses.usual() if had_content else primary.first_token.usual(self._prompt_chars)
        return UNUSUAL * usual

    def _tell_that_it_is_late(self) -> None:
        self._runtime.plugins.hook.primary_late(
            primary=self._primary.name, describe=self._call.describe, delivered=self._delivered
        )

    def _begin_race(self, late: PrimaryError) -> Race:
        self._runtime.say(
            f"{self._primary.name} has said nothing for {self.first:g} s: a local answer is begun as well"
        )
        failure = self._failure_of(late)

        def rivals(_: CancelScope) -> Iterator[Chunk]:
            yield from self._from_plugins(failure, late)

        rival = BackgroundReader(rivals, self._clock, capacity=AHEAD)
        self._race = Race(late, failure, rival, self._clock, self.first, self._end_race)
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

    def _failure_of(self, error: PrimaryError) -> PrimaryFailure:
        return PrimaryFailure(
            kind=error.kind,
            cause=error.cause,
            delivered=self._delivered,
            status=error.status,
            retry_after=error.retry_after,
            exception=error.original or error,
            said=error.said,
            elapsed=self._clock.now() - self._began,
        )

    def _from_plugins(self, failure: PrimaryFailure, error: PrimaryError | None) -> Iterator[Chunk]:
        request = self._described(failure, error)
        rescue = self._rescue = Takeover(self._runtime, request, failure)
        try:
            for text in rescue.texts():
                yield Chunk(text)
                if self._abandoned:
                    return
        except Exception as mistake:
            self._runtime.report(f"{AT_FAULT}, in asking the plugins", mistake)
        finally:
            rescue.stop()
        if rescue.record is None and not self._abandoned and not (rescue.asked and failure.delivered):
            yield from self._without_a_fallback(failure, error)

    @staticmethod
    def _without_a_fallback(failure: PrimaryFailure, error: PrimaryError | None) -> Iterator[Chunk]:
        """The rest of the reply as Z-Waif would have had it without us.

        Raises:
            NobodyAnswered: it would have had an error.
        """
        if error is None or error.as_it_came is None:
            raise NobodyAnswered(failure, error)
        if error.as_it_came:
            yield Chunk(error.as_it_came)

    def _record(self, chars: int, answered: bool) -> TurnRecord:
        failure, answer = self._failure, self._answered()
        counted = self._usage.reply_tokens if self._usage is not None else None
        made = answer.tokens if answer is not None else None
        by = BY_PRIMARY if failure is None else answer.answered_by if answer is not None else ""
        return TurnRecord(
            at=time.time(),
            primary=self._primary.name,
            backend=self._call.backend,
            answered_by=by if answered or self._handed_back or answer is not None else "",
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
            self._runtime.report("The request could not be read, so nobody can answer it", caught)
            raise NobodyAnswered(failure, error) from caught


_this_thread = threading.local()
