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
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from zwaif_fallback.prompt import cards, formats
from zwaif_fallback.prompt.card_lookup import answering, asked_about, is_question
from zwaif_fallback.prompt.changing_notes import is_time, separate_notes
from zwaif_fallback.prompt.length_hint import closing_line
from zwaif_fallback.prompt.stable_prefix import A_TURN, KEEP, Beginning, PromptPrefixes
from zwaif_fallback.prompt.usual_length import usual_words
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, Message, ModelInfo, Persona, Purpose

log = logging.getLogger(__name__)

CountTokens = Callable[[Sequence[str]], list[int]]
"""Returns the number of tokens of each text, without special tokens."""

ANY_MODEL = ModelInfo("")
"""A server's model is not known, so the markers of all common models are escaped."""
SMALLEST_REPLY = 16
"""Minimum room for a reply, in tokens."""
_SILENCE = "(says nothing and waits for you to go on)"
_SHOWS_PICTURE = "(shows you a picture)"
_CANNOT_SEE = (
    "A picture was sent with this message, but you cannot see pictures just now: "
    "say so briefly in your own way, stay in character, and do not make up what it shows."
)
_NAMELESS = "the user"
_BEHAVE = "Write only your own next reply, in character."
_LANGUAGE_MESSAGES = 6
"""How many earlier messages help to detect the language when the newest is too short."""
_GAP = " … "
_NOTES = "(Keep in mind: {})"
"""Goes before the user's words, because the model replies to what comes last."""
_TIME = re.compile(r"(?:The current time now is|It is) (.+?)\.?")
"""The note with the time. It is put in brackets like the time stamps of chats; otherwise small models reply to it."""
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
    reserved: int = 0,
    to_come: int = 0,
) -> Fitted:
    """Fit a request to a model's window, by the policy above.

    Args:
        partial: the beginning of the reply.
        history: makes a chat begin where the last prompt of the same conversation began, as long as that fits.
            Summaries and pictures are single questions and always get as much as fits.
        reserved: tokens to leave free, for a chat format that is longer than the model's own.
        to_come: how many more messages Z-Waif may stop sending by the next turn.
    """
    request = _with_a_user(request)
    room = reply_room(request.max_tokens, model.context_window)
    partial = _end_of(formats.escape(partial, model), max(1, model.context_window // 4), count_tokens)
    spoken = count_tokens([partial])[0] if partial else 0
    left = max(room - spoken, min(room, SMALLEST_REPLY))
    space = max(1, model.context_window - left - reserved)
    draft = _draft(request, model)
    favoured = _help_a_small_model(draft, request, model) if request.purpose is Purpose.CHAT else ()
    steady = history if request.purpose is Purpose.CHAT else None
    if steady is not None:
        _begin_as_before(draft, steady, to_come)
    messages, begin = _Fitter(model, count_tokens, partial, space, KEEP if steady else 1.0).fit(draft)
    if steady is not None:
        steady.begin_with(Beginning(draft.history[begin:], draft.summary))
    return Fitted(messages, left, partial, favoured)


def _with_a_user(request: ChatRequest) -> ChatRequest:
    """Replace Z-Waif's default user name, ``You``: in a prompt, "you" is the character."""
    if request.persona.user_name.casefold() != "you":
        return request
    return replace(request, persona=replace(request.persona, user_name=_NAMELESS))


def _begin_as_before(draft: _Draft, history: PromptPrefixes, to_come: int) -> None:
    known = history.extended(draft.history, to_come)
    if known is None:
        return
    draft.history = known.turns
    if not to_come and draft.summary != known.summary:
        draft.notes[:0] = filter(None, [draft.summary])
        draft.summary = known.summary


def fit_next_turn(
    request: ChatRequest, reply: str, model: ModelInfo, count_tokens: CountTokens, history: PromptPrefixes
) -> list[Message]:
    """Return the probable messages of the turn after ``reply``.

    The last one stands for the user's next words and is as long as the newest ones were.
    """
    newest = request.messages[-1].content if request.messages else ""
    said = [Message("assistant", reply), Message("user", newest or _SILENCE)]
    next_request = replace(request, messages=(*request.messages, *said))
    return fit(next_request, model, count_tokens, history=history, to_come=A_TURN).messages


def unfitted(request: ChatRequest) -> list[Message]:
    """Return the whole conversation, for a server that fits it to its model itself."""
    draft = _draft(_with_a_user(request), ANY_MODEL)
    return _assemble(_joined(draft.system, draft.summary), draft.notes, draft.history, draft.newest)


def reply_room(max_tokens: int, window: int) -> int:
    """Return the tokens kept for a reply: what was asked for, at most half of the window, at least a sentence."""
    wanted = max_tokens if max_tokens > 0 else DEFAULT_MAX_TOKENS
    return max(min(wanted, window // 2), min(SMALLEST_REPLY, window // 2), 1)


# --- the parts of a conversation --------------------------------------------------------------------------------------


@dataclass
class _Draft:
    """The parts of a conversation before they are cut to fit."""

    system: str
    summary: str
    """Goes to the end of the system message if there is room."""
    notes: list[str]
    """Go into the newest turn if there is room, least important first."""
    history: list[Message]
    newest: str


def _draft(request: ChatRequest, model: ModelInfo) -> _Draft:
    parted, persona = separate_notes(request.messages), request.persona
    turns = [m for m in (_clean(m, model) for m in parted.turns) if m.content]
    ends_with_user = bool(turns) and turns[-1].role == "user"
    newest = turns.pop().content if ends_with_user else _SHOWS_PICTURE if request.has_image else _SILENCE
    own = "" if request.persona_in_messages else describe_persona(persona, request.purpose)
    sent = cards.rewrite(parted.system, persona.char_name, persona.user_name)
    system = _joined(formats.escape(own, model), _cleaned(sent, model))
    told = [_cleaned(text, model) for text in parted.summaries]
    summary = "\n\n".join(f"What you said earlier: {text}" for text in told if text)
    notes = [text for text in (_cleaned(note, model) for note in parted.notes) if text]
    timed = any(is_time(text) for text in notes)
    now = [formats.escape(text, model) for text in _circumstances(request, timed)]
    return _Draft(system, summary, [*notes, *now], turns, newest)


def _help_a_small_model(draft: _Draft, request: ChatRequest, model: ModelInfo) -> tuple[str, ...]:
    """Repeat what a small model forgets: who it is, what the card says about the newest message, how long to reply.

    Return the words that would answer a question.
    """
    persona = request.persona
    card = cards.rewrite(persona.character_card or separate_notes(request.messages).system, "{{char}}", "{{user}}")
    if request.persona_in_messages and draft.system:
        draft.system = _joined(draft.system, formats.escape(_who_talks(persona, _BEHAVE, True), model))
    words, line = draft.newest, ""
    told = [formats.escape(_named(sentence, persona), model) for sentence in asked_about(card, words)]
    if draft.system:
        earlier = " ".join(turn.content for turn in draft.history[-_LANGUAGE_MESSAGES:])
        line = closing_line([words, earlier, card], usual_words(request))
    stamps = [found for found in map(_TIME.fullmatch, draft.notes) if found]
    draft.notes = [note for note in draft.notes if not _TIME.fullmatch(note)]
    parts = [*(f"[{found[1]}]" for found in stamps), words, f"({' '.join(told)})" if told else "", line]
    draft.newest = " ".join(filter(None, parts))
    names = f"{persona.char_name} {persona.user_name}"
    return answering(told, words, names) if is_question(words) else ()


def _circumstances(request: ChatRequest, timed: bool) -> list[str]:
    """Return notes that are true for this message only. ``timed``: Z-Waif has added the time already."""
    persona, own = request.persona, not request.persona_in_messages
    platform = _platform_in(request.messages[-1].content) if request.messages else ""
    platform = (persona.platform if own else "") or platform
    return [
        *([f"{persona.user_name or 'The user'} writes from: {platform}."] if platform else []),
        *([f"It is {_about(persona.local_time)}."] if own and persona.local_time and not timed else []),
        *([_CANNOT_SEE] if request.has_image else []),
    ]


def describe_persona(persona: Persona, purpose: Purpose = Purpose.CHAT) -> str:
    """Return the system message for a request whose server added the character itself."""
    parts = [cards.rewrite(persona.character_card, persona.char_name, persona.user_name), persona.task]
    known = any(part.strip() for part in parts)
    parts.append(_who_talks(persona, "" if purpose is Purpose.SUMMARY else _BEHAVE, known))
    return "\n\n".join(_named(part.strip(), persona) for part in parts if part.strip())


def _who_talks(persona: Persona, behave: str, known: bool) -> str:
    """Say who the companion is and who the user is; add ``behave`` if there is a character to play."""
    facts = [
        f"You are {persona.char_name}." if persona.char_name else "",
        f"You are talking with {persona.user_name}." if persona.user_name else "",
        _address(persona),
    ]
    return " ".join(filter(None, [*facts, behave if known or any(facts) else ""]))


_ADDRESSED = {
    "stranger": "{user} is new to you: be polite and welcoming.",
    "acquaintance": "You have met {user} a few times: be friendly.",
    "friend": "{user} is your friend: talk casually and warmly.",
    "close_friend": "{user} is your close friend, one of your favorites: be open, warm and lively.",
    "vip": "{user} is very special to you: show how glad you are to talk with them.",
}
"""How the companion talks with a user, by the relationship levels of v1.14-R4."""


def _address(persona: Persona) -> str:
    if not persona.relationship:
        return ""
    known = _ADDRESSED.get(persona.relationship, f"To you, they are: {persona.relationship.replace('_', ' ')}.")
    sentence = known.replace("{user}", persona.user_name or _NAMELESS)
    return sentence[:1].upper() + sentence[1:]


def _about(local_time: str) -> str:
    """Return ``2026-11-23 14:07`` as ``2026-11-23, about 14:00``: as precise as people are."""
    day, _, clock = local_time.strip().partition(" ")
    return f"{day}, about {clock[:4]}0" if re.fullmatch(r"\d\d:\d\d.*", clock) else local_time


def _named(text: str, persona: Persona) -> str:
    return cards.fill_in_names(text, persona.char_name, persona.user_name)


# --- cleaning -------------------------------------------------------------------------------------------------------

_IMAGE_TAG = re.compile(r"<img\b[^<>]*\bdata:[^<>]*>?", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[a-z]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,[A-Za-z0-9+/=_-]*", re.IGNORECASE)
_THOUGHTS = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
"""Thoughts of a reasoning model before its reply; the templates of such models drop them from earlier turns."""
_PLATFORM = re.compile(r"\[Platform: ([^\]\n]{1,80})\][ \t]*")
_HEADER = re.compile(r"\[System [A-Z]\];?[ \t]*")
"""Z-Waif's internal markers, such as ``[System C]`` before a picture; the text after one is for the model."""


def _clean(message: Message, model: ModelInfo) -> Message:
    thought = _THOUGHTS.match(message.content) if message.role == "assistant" else None
    return Message(message.role, _cleaned(message.content[thought.end() if thought else 0 :], model))


def _cleaned(text: str, model: ModelInfo) -> str:
    """Remove pictures and Z-Waif's markers, and escape the markers of the model."""
    text = _DATA_URI.sub("", _IMAGE_TAG.sub("", text))
    return formats.escape(_HEADER.sub("", _PLATFORM.sub("", text)).strip(), model)


def _platform_in(text: str) -> str:
    """Return ``Voice Chat`` for ``[Platform: Voice Chat - Personal Conversation]``."""
    found = _PLATFORM.search(text)
    return found.group(1).partition(" - ")[0].strip() if found else ""


def _assemble(system: str, notes: Sequence[str], history: Sequence[Message], newest: str) -> list[Message]:
    told = "\n\n".join([_NOTES.format("\n".join(notes)), newest]) if notes else newest
    turns = _merge([*history, Message("user", told)])
    return [Message("system", system), *turns] if system else turns


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _merge(messages: Sequence[Message]) -> list[Message]:
    """Merge messages into alternating turns that start with the user."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = Message(message.role, f"{merged[-1].content}\n\n{message.content}")
        elif merged or message.role == "user":
            merged.append(message)
    return merged


# --- fitting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fitter:
    model: ModelInfo
    count: CountTokens
    partial: str
    space: int
    """Tokens for the whole prompt, including ``partial``."""
    keep: float = 1.0
    """The share of the room for earlier turns that is filled if not all of them fit."""

    def fit(self, draft: _Draft) -> tuple[list[Message], int]:
        """Return the messages, and how many of the earlier turns were dropped."""
        last = len(draft.history)
        for begin in self._beginnings(draft):
            messages = _assemble(_joined(draft.system, draft.summary), draft.notes, draft.history[begin:], draft.newest)
            if self._fits(messages):
                return messages, begin
        for left_out in range(len(draft.notes) + 1):
            messages = _assemble(draft.system, draft.notes[left_out:], [], draft.newest)
            if self._fits(messages):
                return messages, last
        return self._cut(draft), last

    def _beginnings(self, draft: _Draft) -> Iterator[int]:
        """Yield the turns to begin with, best first: all of them, or so many that there is room for turns to come.

        They are found by the sum of tokens, which leaves out only the tokens of the chat format.
        """
        fixed = [draft.system, draft.summary, *draft.notes, draft.newest, self.partial]
        counts = self.count([*fixed, *(m.content for m in draft.history)])
        room, turns = self.space - sum(counts[: len(fixed)]), counts[len(fixed) :]
        if sum(turns) <= room:
            yield 0
        yield from range(_first_that_fits(turns, int(room * self.keep)), len(turns) + 1)

    def _cut(self, draft: _Draft) -> list[Message]:
        """Shorten the persona, then the newest turn, until they fit: the two alone are too long."""
        spare = self.space - self._size([Message("user", "")])
        system_tokens, newest_tokens = self.count([draft.system, draft.newest])
        log.warning(
            "The character and the newest message are too long for %s (%d tokens for a window of %d): shortened",
            self.model.name, system_tokens + newest_tokens, self.model.context_window,
        )  # fmt: skip
        for share in (1.0, 0.9, 0.75, 0.5, 0.25, 0.0):
            budget = int(spare * share)
            system_budget = max(budget - newest_tokens, min(system_tokens, budget // 4))
            system = cards.shorten(draft.system, partial(self._has_at_most, system_budget))
            newest = _ends_of(draft.newest, budget - system_budget, self.count)
            messages = _assemble(system, [], [], newest)
            if self._fits(messages):
                return messages
        return [Message("user", "")]

    def _size(self, messages: Sequence[Message]) -> int:
        return self.count([formats.write(messages, self.model, self.partial)])[0]

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
