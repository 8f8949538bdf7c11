"""Turns one plugin's answer into a reply that Z-Waif can use."""

from __future__ import annotations

import html
import itertools
import logging
from collections.abc import Iterator

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, PrimaryFailure
from zwaif_hooks.reply.continuation import Joiner, split_sentences
from zwaif_hooks.reply.endless import length_limit, should_end
from zwaif_hooks.reply.false_replies import is_blank
from zwaif_hooks.reply.spoken_text import ThinkingHabit, spoken

SHORTEST_REPLY = 3
"""Characters. Z-Waif treats a shorter reply as blank and asks again."""
DOTS = "..."
"""Appended to a shorter reply."""
REPEAT_ENDINGS = (
    " I know I keep saying that.",
    " Yes, I said so before.",
    " There, I said it again.",
    " You have heard that one from me.",
    " I do repeat myself, I know.",
    " And I still mean it.",
    " Some things I like to say twice.",
)
"""Appended (after the dots, if any) if a reply repeats an earlier one, which Z-Waif would reject. Used endings count,
too."""

_logger = logging.getLogger("zwaif")


class PluginAnswer:
    """One answer: only spoken text, joined without repetition, never blank, never endless."""

    def __init__(
        self,
        plugin: str,
        answer: Answer,
        request: ChatRequest,
        failure: PrimaryFailure,
        clock: Clock,
        began: float,
        habit: ThinkingHabit | None = None,
    ) -> None:
        """Wrap ``answer``.

        Args:
            began: when the failure was detected, by ``clock``; times count from there.
            habit: the plugin's, from earlier replies.
        """
        self.plugin = plugin
        self.answer = answer
        self.pieces = iter([answer.pieces] if isinstance(answer.pieces, str) else answer.pieces)
        self.said = ""
        self.was_cut = False
        """It did not end by itself."""
        self._request = request
        self._failure = failure
        self._joiner = Joiner(failure.delivered, exact=answer.exact)
        self._clock = clock
        self._began = began
        self._first = 0.0
        self._habit = habit

    @property
    def answered_by(self) -> str:
        """Who answers: as the answer says, which may be as late as its first piece, otherwise the plugin."""
        return self.answer.answered_by or self.plugin

    def speak(self) -> Iterator[str]:
        held, limit = "", length_limit(self._request.max_tokens)
        for text in self._joined():
            if not self.said:
                self._first = self._clock.now() - self._began
                text, held = held + text, ""
                if not self._failure.delivered:
                    text = text.lstrip()
                if is_blank(text):
                    held = text
                    continue
            self.said += text
            yield text
            if should_end(len(self.said), text, limit):
                self.was_cut = True
                return

    def close(self) -> None:
        """Stop the plugin. Never raises; may be called twice, and from any thread."""
        close = getattr(self.pieces, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception as error:  # another thread is reading it, or the plugin's clean-up failed
            _logger.debug("stopping the answer of %s: %r", self.plugin, error)

    def record(self) -> AnswerRecord:
        return AnswerRecord(
            request=self._request,
            failure=self._failure,
            plugin=self.plugin,
            answered_by=self.answered_by,
            text=self.said,
            first_text_after=self._first,
            finished_after=self._clock.now() - self._began,
            tokens=self.answer.tokens,
        )

    def _joined(self) -> Iterator[str]:
        for piece in spoken(self._texts(), self._request.persona.char_name, self._failure.delivered, self._habit):
            yield from split_sentences(self._joiner.feed(piece))
        yield from split_sentences(self._joiner.finish())

    def _texts(self) -> Iterator[str]:
        for piece in self.pieces:
            if not isinstance(piece, str):
                raise TypeError(f"expected pieces of text, got {type(piece).__name__}")
            yield piece


def ending_for(whole: str, recent_replies: tuple[str, ...]) -> str:
    """Return what to append so that Z-Waif keeps ``whole``: nothing if it is long enough and new."""
    dots = "" if len(html.unescape(whole)) >= SHORTEST_REPLY else DOTS
    for count in range(len(REPEAT_ENDINGS) + 1):
        for endings in itertools.permutations(REPEAT_ENDINGS, count):
            extra = dots + "".join(endings)
            if whole[-1:].isspace():
                extra = extra.lstrip()
            if not is_repeat(whole + extra, recent_replies):
                return extra
    raise AssertionError("there are more endings than replies that are remembered")


def is_repeat(text: str, recent_replies: tuple[str, ...]) -> bool:
    """Return whether Z-Waif would reject this reply as a repeat."""
    unescaped = html.unescape(text)
    return any(unescaped == reply for reply in recent_replies)
