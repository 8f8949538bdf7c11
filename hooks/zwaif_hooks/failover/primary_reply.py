"""Reads the primary's reply: holds back what may not be a reply at all, and ends a reply that never stops."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.probe import marks_its_ends
from zwaif_hooks.failover.prompt_truncation import truncation_note
from zwaif_hooks.failover.reader import ReplyReader
from zwaif_hooks.failover.silence import Late
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.reply.continuation import SurrogateJoiner, split_sentences
from zwaif_hooks.reply.endless import length_limit, should_end
from zwaif_hooks.reply.false_replies import could_be_an_apology, is_an_apology, is_blank, is_cut_short
from zwaif_hooks.reply.plugin_answer import ending_for
from zwaif_hooks.stream import Chunk, PrimaryError, UnmarkedEnd, Usage

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

MORE_ROOM = (
    "Give the server a larger context window (Ollama: num_ctx or OLLAMA_CONTEXT_LENGTH), or lower MESSAGE_PAIR_LIMIT "
    "or TOKEN_LIMIT in Z-Waif's .env"
)
UNUSUAL = 1.5
"""A silence is unusual when it lasts this many times the server's longest recent one."""


class PrimaryReply:
    """One reply, and the limits of its silences (``first`` and ``stall``)."""

    def __init__(self, call: Call, runtime: Runtime, primary: Primary) -> None:
        self.delivered = ""
        """Text that was passed on."""
        self.pieces = 0
        """Pieces of text that were passed on."""
        self.usage: Usage | None = None
        self.is_whole = False
        """The reply was read to its end."""
        self.note = ""
        """What the user should know although the reply came."""
        self._call = call
        self._runtime = runtime
        self._primary = primary
        self._clock = runtime.clock
        self._began = self._clock.now()
        self._reader: ReplyReader | BackgroundReader | None = None

    @property
    def is_asked(self) -> bool:
        return self._reader is not None

    def start(self, ahead: bool) -> None:
        """Ask the primary. Returns at once.

        Args:
            ahead: ask now, and let the server think while Z-Waif speaks its chatpop; otherwise when ``chunks`` is read.
        """
        if self._call.direct:
            self._reader = ReplyReader(self._call.open, self._clock, here=not self._call.named)
        else:
            self._reader = BackgroundReader(self._call.open, self._clock)
        if ahead or not self._call.direct:
            self._reader.start()

    def abandon(self) -> None:
        if self._reader is not None:
            self._reader.abandon()

    def chunks(self, late: Late) -> Iterator[Chunk]:
        """Yield the reply. ``late`` is called once if there is no text within ``first`` seconds.

        Raises:
            PrimaryError: the primary failed, or what it sent is not a reply.
        """
        reader = self._reader
        assert reader is not None
        # Set here and not in start(): a thread that reads ahead for a dropped reply must not keep this object alive.
        reader.silence.on_unusual = self._tell_that_it_is_late
        reader.silence.unusual_after = self._unusual
        limit = length_limit(self._call.max_tokens)
        whole = SurrogateJoiner()
        held = ""
        why = ""
        while (chunk := self._next(reader, held, late)) is not None:
            why = chunk.reason or why
            self.usage = chunk.usage or self.usage
            if not chunk.text and chunk.native is None:
                continue
            held += whole.feed(chunk.text)
            if not self.delivered and (is_blank(held, is_whole=False) or could_be_an_apology(held)):
                continue
            self.pieces += 1
            self.delivered += held
            if chunk.native is not None and held == chunk.text:
                yield chunk
            else:
                yield from map(Chunk, split_sentences(held))
            held = ""
            if len(self.delivered) >= limit and should_end(len(self.delivered), chunk.text, limit):
                if ending := self._end_endless():
                    self.delivered += ending
                    yield Chunk(ending)
                return
        self.is_whole = True
        self._refuse_false_reply(held)
        if held:
            self.delivered += held
            yield from map(Chunk, split_sentences(held))
        counted = self.usage.reply_tokens if self.usage is not None else None
        if why == "length" and is_cut_short(self.delivered, self._call.max_tokens, counted):
            cause = "the server had no room for more than a word of the reply"
            raise PrimaryError(FailureKind.CUT, cause, as_it_came="")
        self._primary.succeeded()
        self._primary.ends.observe(why)
        self._primary.pauses.observe(reader.silence.longest_pause, self.pieces)
        self.note = self._truncation_note()

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

    def learn(self) -> None:
        """Remember how long this server needed for its first text."""
        if self._reader is not None and self.pieces:
            self._primary.first_token.observe(self._prompt_chars, self._reader.silence.spoke_at - self._began)

    def failure_of(self, error: PrimaryError) -> PrimaryFailure:
        """Describe ``error`` for plugins and the log."""
        return PrimaryFailure(
            kind=error.kind,
            cause=error.cause,
            delivered=self.delivered,
            status=error.status,
            retry_after=error.retry_after,
            exception=error.original or error,
            said=error.said,
            elapsed=self.seconds(),
        )

    def seconds(self) -> float:
        """Return the time since the question."""
        return self._clock.now() - self._began

    def _next(self, reader: ReplyReader | BackgroundReader, held: str, late: Late) -> Chunk | None:
        """Return the next chunk, or None at the end of the reply; ``held`` is the text not yet delivered."""
        try:
            return reader.take(self, late)
        except UnmarkedEnd as end:
            if self._primary.ends.is_whole(self.delivered + held, end, self._marks_its_ends):
                return None
            end.as_it_came = held
            raise

    def _marks_its_ends(self) -> bool:
        return marks_its_ends(self._call.probe, self._clock)

    def _refuse_false_reply(self, held: str) -> None:
        if is_an_apology(held):
            cause = f"the reply was only an apology: {held.strip()[:80]}"
            raise PrimaryError(FailureKind.ERROR_BODY, cause, as_it_came=held)
        if not self.delivered and is_blank(held):
            raise PrimaryError(FailureKind.EMPTY, "the reply was blank", as_it_came=held)

    def _end_endless(self) -> str:
        """Tell the user, and return what to append for Z-Waif to keep the reply."""
        self.note = f"the reply did not stop and was ended after {len(self.delivered)} characters"
        name = self._primary.name
        self._runtime.say_once(
            ("endless", name), f"{name}: {self.note}. Another model, or its own chat template, may help"
        )
        try:
            return ending_for(self.delivered, self._call.describe().recent_replies)
        except Exception as error:  # the reply was heard, and that is what counts
            self._runtime.report("The recent replies could not be read", error)
            return ""

    def _truncation_note(self) -> str:
        """Return what the server left out of the prompt, and tell the user once."""
        try:
            note = truncation_note(self.usage, self._prompt_chars, self._call.describe)
        except Exception as error:
            self._runtime.report("The length of the prompt could not be checked", error)
            return ""
        if note:
            name = self._primary.name
            self._runtime.say_once(
                ("unread", name), f"{name}: {note} of the prompt and dropped the oldest. {MORE_ROOM}"
            )
        return note

    @cached_property
    def _prompt_chars(self) -> int:
        try:
            return self._call.prompt_chars()
        except Exception as error:  # only the length of a wait depends on it
            self._runtime.report("The length of the prompt could not be measured", error)
            return 0

    def _unusual(self, had_content: bool) -> float:
        primary = self._primary
        usual = primary.pauses.usual() if had_content else primary.first_token.usual(self._prompt_chars)
        return UNUSUAL * usual

    def _tell_that_it_is_late(self) -> None:
        self._runtime.plugins.hook.primary_late(
            primary=self._primary.name, describe=self._call.describe, delivered=self.delivered
        )
