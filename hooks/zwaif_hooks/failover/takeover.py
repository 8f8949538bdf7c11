"""A reply by plugins, after the primary was given up.

Each plugin is asked and read in a background thread: one that hangs costs its deadline, then the next is asked. If no
reply has begun after ``API_FALLBACK_SILENCE_LIMIT``, a plugin may say a short line (hook ``say_while_waiting``). A
silence that lasts as long again ends the turn. A reply that has begun gets no line, only the same time to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from zwaif_hooks.background.plugin_threads import in_a_plugin
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.breaker import SILENT
from zwaif_hooks.failover.silence import FOREVER, FixedLimits
from zwaif_hooks.messages import AnswerRecord, ChatRequest, PrimaryFailure
from zwaif_hooks.reply.plugin_answer import PluginAnswer, ending_for
from zwaif_hooks.reply.spoken_text import split_thoughts
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

MOST_PIECES_AHEAD = 16
"""Maximum pieces buffered from a plugin before it blocks, so a local engine does not work for nobody."""
MEANWHILE = "a line said while waiting"
"""The name under which a reply is recorded that consists of that line alone."""


class Takeover:
    """One reply. ``texts`` is iterated by the thread that waits; ``stop`` may be called from any thread."""

    def __init__(self, runtime: Runtime, request: ChatRequest, failure: PrimaryFailure) -> None:
        self.record: AnswerRecord | None = None
        """Who answered, once the reply is complete."""
        self.asked = False
        """A plugin wanted to answer."""
        self.speaking = ""
        """Who said the newest text."""
        self._runtime = runtime
        self._request = request
        # For Z-Waif thoughts are part of the reply; for the plugin that continues, the reply begins after them.
        reply, self._lead = split_thoughts(failure.delivered)
        self._failure = failure if reply == failure.delivered else replace(failure, delivered=reply)
        self._before = failure.delivered + self._lead
        self._said = ""
        """What Z-Waif has of the reply after ``_before``."""
        self._clock = runtime.clock
        self._began = self._quiet_since = self._clock.now()
        self._nothing_to_say = self._was_quiet = False
        self._meanwhile = ""
        self._given_up = self._stopped = False
        self._answer: _Answer | None = None

    @property
    def answered_by(self) -> str:
        """Who said the newest text, as the record of the complete reply would name it."""
        speaker = self._answer.speaker if self._answer is not None else None
        return speaker.answered_by if speaker is not None and self.speaking == speaker.plugin else self.speaking

    @property
    def has_begun(self) -> bool:
        """Whether Z-Waif has a part of the reply."""
        return bool(self._before or self._said)

    def texts(self) -> Iterator[str]:
        """Yield the reply of the first plugin that answers; one that breaks off is followed by the next. A thought that
        was cut is ended first. A reply that Z-Waif would reject, too short or a repeat, gets an ending.
        """
        for text in self._texts():
            if self._lead:
                yield self._lead
                self._lead = ""
            self._said += text
            yield text

    def _texts(self) -> Iterator[str]:
        for name in self._runtime.plugins.answerers():
            answer = self._answer = _Answer(name, self._runtime, self._request, self._failure, self._began)
            try:
                yield from self._heard(answer)
            except PrimaryError as error:
                self._passed_over(answer, error)
                continue
            finally:
                self.asked = self.asked or answer.speaker is not None
                answer.stop()
            if self._stopped:
                return
            if answer.speaker is not None and answer.speaker.said:
                ending = self._ending()
                yield from ending
                self._heard_to_its_end(answer, answer.speaker, "".join(ending))
                return
            if self._given_up:
                break
        if self.speaking == MEANWHILE:
            yield from self._ending()
            self.record = self._only_a_line()
        elif self.asked and self.has_begun:
            yield from self._ending()

    def stop(self) -> None:
        """Stop answering: nobody reads any more."""
        self._stopped = True
        answer = self._answer
        if answer is not None:
            answer.stop()

    def _heard(self, answer: _Answer) -> Iterator[str]:
        """Yield what ``answer`` says.

        Raises:
            PrimaryError: it failed, or did not answer in time.
        """
        heard = False
        silence = answer.pump.silence
        while not self._stopped:
            silence.limits = answer.limits()
            while not answer.pump.wait(min(self._quiet_left(), silence.seconds_to_check())):
                silence.check()
                if self._quiet_left() > 0:  # a wait may end slightly before a deadline
                    continue
                yield from self._break_the_silence()
                if self._given_up or self._stopped:
                    return
            chunk = answer.pump.take(FOREVER)
            if chunk is None:
                if answer.speaker is not None and answer.speaker.was_cut:
                    cut = f"it was cut after {len(answer.speaker.said)} characters"
                    line = f"Plugin {answer.name!r} did not end its reply; {cut}"
                    self._runtime.plugins.tell((answer.name, "endless"), line)
                return
            if not chunk.text:
                continue
            self.speaking = answer.name
            # The line said while waiting ends with a space.
            yield chunk.text if heard or not self._meanwhile else chunk.text.lstrip()
            self._quiet_since, self._was_quiet = self._clock.now(), False
            heard = True

    def _quiet_left(self) -> float:
        """Return the seconds until the user has heard nothing for too long."""
        if self._nothing_to_say:
            return FOREVER.first
        limit = float(self._runtime.settings.get("API_FALLBACK_SILENCE_LIMIT"))
        return self._quiet_since + limit - self._clock.now()

    def _break_the_silence(self) -> Iterator[str]:
        """Break the first silence with a line if no reply has begun; give up when it lasts as long again."""
        if self._was_quiet:
            self._given_up = True
            return
        self._was_quiet = True
        if not (self._failure.delivered or self._said):
            line = self._runtime.plugins.line_while_waiting(self._request, self._failure)
            if not line:
                self._nothing_to_say = True
                return
            self._meanwhile, self.speaking = f"{line} ", MEANWHILE
            yield self._meanwhile
        self._quiet_since = self._clock.now()

    def _passed_over(self, answer: _Answer, error: PrimaryError) -> None:
        guard = self._runtime.plugins.guard_of(answer.name)
        said = answer.speaker.said if answer.speaker is not None else ""
        if guard is not None and error.kind in SILENT:
            guard.late(error.cause)
        elif guard is not None:
            guard.failed(error.original or error, "failed in the middle of its answer" if said else "")
        if said:
            self._failure = replace(self._failure, delivered=self._failure.delivered + self._said)
            self._before, self._said = self._before + self._said, ""

    def _heard_to_its_end(self, answer: _Answer, speaker: PluginAnswer, ending: str) -> None:
        self.record = replace(speaker.record(), text=speaker.said + ending)
        guard = self._runtime.plugins.guard_of(answer.name)
        if guard is not None and not self._given_up:
            guard.succeeded()

    def _ending(self) -> list[str]:
        """Return what to append for Z-Waif to keep the reply, as one piece or none."""
        ending = ending_for(self._before + self._said, self._request.recent_replies)
        return [ending] if ending else []

    def _only_a_line(self) -> AnswerRecord:
        waited = self._clock.now() - self._began
        return AnswerRecord(
            request=self._request,
            failure=self._failure,
            plugin=MEANWHILE,
            answered_by=MEANWHILE,
            text=self._said.strip(),
            first_text_after=waited,
            finished_after=waited,
        )


class _Answer:
    """One plugin being asked and read in a background thread."""

    def __init__(
        self, name: str, runtime: Runtime, request: ChatRequest, failure: PrimaryFailure, began: float
    ) -> None:
        self.name = name
        self.speaker: PluginAnswer | None = None
        self._runtime = runtime
        self._request = request
        self._failure = failure
        self._began = began
        self._keeps_time = False
        self.pump = BackgroundReader(self._source, runtime.clock, capacity=MOST_PIECES_AHEAD)
        self.pump.start()

    def limits(self) -> FixedLimits:
        """Return how long it may be silent before it is passed over."""
        setting = self._runtime.settings.get
        if self._keeps_time:
            return FOREVER
        first, stall = setting("API_FALLBACK_FIRST_TOKEN_TIMEOUT"), setting("API_FALLBACK_STALL_TIMEOUT")
        return FixedLimits(float(first), float(stall))

    def stop(self) -> None:
        self.pump.abandon()
        speaker = self.speaker
        if speaker is not None:
            speaker.close()  # if its thread is reading it now, that thread closes it

    def _source(self, scope: CancelScope) -> Iterator[Chunk]:
        with in_a_plugin():
            answer = self._runtime.plugins.ask(self.name, self._request, self._failure)
            if answer is None:
                return
            self._keeps_time = answer.keeps_time
            runtime = self._runtime
            speaker = self.speaker = PluginAnswer(
                self.name, answer, self._request, self._failure, runtime.clock, self._began, runtime.habits[self.name]
            )
            yield Chunk("")  # wakes the consumer, which may have another deadline now
            try:
                yield from map(Chunk, speaker.speak())
            finally:
                speaker.close()
