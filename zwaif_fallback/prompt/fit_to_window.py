"""Decides which parts of a conversation a local model gets: legal roles, within its context window.

Policy, in this order:

- The reply gets the room it asked for, at most half of the window.
- What stays the same from turn to turn comes first: character, task, a summary of earlier days, earlier turns. What
  changes (time, memories, lore; see :mod:`.changing_notes`) goes into the newest turn, before the user's words. A model
  then only has to read that and what was said since its last reply.
- The system message and the newest user turn stay whole. Earlier turns are dropped, oldest first and a block at a time
  (see :mod:`.stable_prefix`), then notes, least important first.
- Only if the system message and the newest turn alone are too long, the persona loses what matters least (down to a
  quarter of the space; see :mod:`.cards`), then the user's turn loses its middle, and one log line says so. The
  instruction of a summary is the newest turn, so it keeps its beginning and its end too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from zwaif_fallback.prompt import cards, formats
from zwaif_fallback.prompt.conversation_parts import SILENCE, Parts, assemble, joined, name_the_user, parts_of, remind
from zwaif_fallback.prompt.stable_prefix import FILLED_SHARE, MESSAGES_A_TURN, Beginning, PromptPrefixes
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, Message, ModelInfo, PromptFormat, Purpose

log = logging.getLogger(__name__)

CountTokens = Callable[[Sequence[str]], list[int]]
"""Returns the number of tokens of each text, without special tokens."""

ANY_MODEL = ModelInfo("")
"""A server's model is not known, so the markers of all common models are escaped."""
SMALLEST_REPLY = 16
"""Minimum room for a reply, in tokens."""
_GAP = " … "
_LONGEST_TOKEN = 16
"""Characters. Longer tokens are rare, so a text with more characters than this for each token it may have is not
counted but taken as too long."""


@dataclass(frozen=True)
class Fitted:
    """A conversation that fits the window."""

    messages: list[Message]
    """System first (if any), then user and assistant in turn, ending with user."""
    max_tokens: int
    """Room for the rest of the reply; it fits the window together with the prompt."""
    partial: str = ""
    """The beginning of the assistant's turn; only its end if the window is too small for all of it."""
    favoured: tuple[str, ...] = ()
    """Words that would answer the user's question."""


def fit(
    request: ChatRequest,
    model: ModelInfo,
    count_tokens: CountTokens,
    partial: str = "",
    history: PromptPrefixes | None = None,
    to_come: int = 0,
    chat_format: PromptFormat | None = None,
) -> Fitted:
    """Fit a request to a model's window, by the policy above.

    Args:
        partial: the beginning of the reply.
        history: makes a chat begin where the last prompt of the same conversation began, as long as that fits.
            Summaries and pictures are single questions and always get as much as fits.
        to_come: how many more messages Z-Waif may stop sending by the next turn.
        chat_format: how the prompt is going to be written; None: in the model's own format.

    Raises:
        PluginProblem: the plugin with ``chat_format`` does not write this prompt.
    """
    escape = formats.escaper(model, chat_format)
    request = name_the_user(request)
    room = reply_room(request.max_tokens, model.context_window)
    partial = _end_of(escape(partial), max(1, model.context_window // 4), count_tokens)
    spoken = count_tokens([partial])[0] if partial else 0
    left = max(room - spoken, min(room, SMALLEST_REPLY))
    space = max(1, model.context_window - left)
    parts = parts_of(request, escape)
    favoured = remind(parts, request, escape) if request.purpose is Purpose.CHAT else ()
    steady = history if request.purpose is Purpose.CHAT else None
    if steady is not None:
        _begin_as_before(parts, steady, to_come)
    render = (chat_format or formats.own(model)).render
    messages, begin = _Fitter(model, render, count_tokens, partial, space, FILLED_SHARE if steady else 1.0).fit(parts)
    if steady is not None:
        steady.begin_with(Beginning(parts.history[begin:], parts.summary))
    return Fitted(messages, left, partial, favoured)


def _begin_as_before(parts: Parts, history: PromptPrefixes, to_come: int) -> None:
    known = history.extended(parts.history, to_come)
    if known is None:
        return
    parts.history = known.turns
    if not to_come and parts.summary != known.summary:
        parts.notes[:0] = filter(None, [parts.summary])
        parts.summary = known.summary


def fit_next_turn(
    request: ChatRequest,
    reply: str,
    model: ModelInfo,
    count_tokens: CountTokens,
    history: PromptPrefixes,
    chat_format: PromptFormat | None = None,
) -> list[Message]:
    """Return the probable messages of the turn after ``reply``.

    The last one stands for the user's next words and is as long as the newest ones were.
    """
    newest = request.messages[-1].content if request.messages else ""
    said = [Message("assistant", reply), Message("user", newest or SILENCE)]
    next_request = replace(request, messages=(*request.messages, *said))
    fitted = fit(next_request, model, count_tokens, history=history, to_come=MESSAGES_A_TURN, chat_format=chat_format)
    return fitted.messages


def unfitted(request: ChatRequest) -> list[Message]:
    """Return the whole conversation, for a server that fits it to its model itself."""
    parts = parts_of(name_the_user(request), formats.escaper(ANY_MODEL))
    return assemble(joined(parts.system, parts.summary), parts.notes, parts.history, parts.newest)


def reply_room(max_tokens: int, window: int) -> int:
    """Return the tokens kept for a reply: what was asked for, at most half of the window, at least a sentence."""
    wanted = max_tokens if max_tokens > 0 else DEFAULT_MAX_TOKENS
    return max(min(wanted, window // 2), min(SMALLEST_REPLY, window // 2), 1)


@dataclass(frozen=True)
class _Fitter:
    model: ModelInfo
    render: Callable[[Sequence[Message], str], str]
    count: CountTokens
    partial: str
    space: int
    """Tokens for the whole prompt, including ``partial``."""
    keep: float = 1.0
    """The share of the room for earlier turns that is filled if not all of them fit."""

    def fit(self, parts: Parts) -> tuple[list[Message], int]:
        """Return the messages, and how many of the earlier turns were dropped."""
        last = len(parts.history)
        for begin in self._beginnings(parts):
            messages = assemble(joined(parts.system, parts.summary), parts.notes, parts.history[begin:], parts.newest)
            if self._fits(messages):
                return messages, begin
        for left_out in range(len(parts.notes) + 1):
            messages = assemble(parts.system, parts.notes[left_out:], [], parts.newest)
            if self._fits(messages):
                return messages, last
        return self._cut(parts), last

    def _beginnings(self, parts: Parts) -> Iterator[int]:
        """Yield the turns to begin with, best first: all of them, or so many that there is room for turns to come.

        They are found by the sum of tokens, which leaves out only the tokens of the chat format.
        """
        fixed = [parts.system, parts.summary, *parts.notes, parts.newest, self.partial]
        counts = self.count([*fixed, *(m.content for m in parts.history)])
        room, turns = self.space - sum(counts[: len(fixed)]), counts[len(fixed) :]
        if sum(turns) <= room:
            yield 0
        yield from range(_first_that_fits(turns, int(room * self.keep)), len(turns) + 1)

    def _cut(self, parts: Parts) -> list[Message]:
        """Shorten the persona, then the newest turn, until they fit: the two alone are too long."""
        spare = self.space - self._size([Message("user", "")])
        system_tokens, newest_tokens = self.count([parts.system, parts.newest])
        log.warning(
            "The character and the newest message are too long for %s (%d tokens for a window of %d): shortened",
            self.model.name, system_tokens + newest_tokens, self.model.context_window,
        )  # fmt: skip
        for share in (1.0, 0.9, 0.75, 0.5, 0.25, 0.0):
            budget = int(spare * share)
            system_budget = max(budget - newest_tokens, min(system_tokens, budget // 4))
            system = cards.shorten(parts.system, partial(self._has_at_most, system_budget))
            newest = _ends_of(parts.newest, budget - system_budget, self.count)
            messages = assemble(system, [], [], newest)
            if self._fits(messages):
                return messages
        return [Message("user", "")]

    def _size(self, messages: Sequence[Message]) -> int:
        return self.count([self.render(messages, self.partial)])[0]

    def _has_at_most(self, tokens: int, text: str) -> bool:
        return len(text) <= tokens * _LONGEST_TOKEN and self.count([text])[0] <= tokens

    def _fits(self, messages: Sequence[Message]) -> bool:
        return self._size(messages) <= self.space


def _first_that_fits(counts: Sequence[int], room: int) -> int:
    """Return the first place from which the counts add up to at most ``room``."""
    for place in reversed(range(len(counts))):
        room -= counts[place]
        if room < 0:
            return place + 1
    return 0


def _end_of(text: str, tokens: int, count: CountTokens) -> str:
    """Return as much of the end of ``text`` as fits."""
    kept = _longest(len(text), lambda n: text[len(text) - n :], tokens, count)
    return text[len(text) - kept :]


def _ends_of(text: str, tokens: int, count: CountTokens) -> str:
    """Cut out the middle: questions and instructions are at the beginning or the end."""

    def both(length: int) -> str:
        if length >= len(text):
            return text
        head = length // 2
        return text[:head].rstrip() + _GAP + text[len(text) - (length - head) :].lstrip()

    longest = _longest(len(text), both, tokens, count)
    return both(longest) if longest else ""


def _longest(length: int, piece: Callable[[int], str], tokens: int, count: CountTokens) -> int:
    """Return the largest n up to ``length`` for which ``piece(n)`` has at most ``tokens`` tokens; 0 if there is none.

    Tokens are counted by another process, so each question carries eight candidates.
    """
    if tokens <= 0 or not length:
        return 0
    length = min(length, tokens * _LONGEST_TOKEN)
    low, high = 0, length + 1  # low fits, high does not (or was not tried)
    while high - low > 1:
        step = max(1, (high - low) // 8)
        tries = sorted({min(high - 1, low + step * i) for i in range(1, 9)} | ({length} if high > length else set()))
        fitting = [n for n, size in zip(tries, count([piece(n) for n in tries]), strict=True) if size <= tokens]
        failing = [n for n in tries if n not in fitting]
        low = max([low, *fitting])
        high = min([high, *(n for n in failing if n > low)])
    return low
