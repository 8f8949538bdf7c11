"""The parts of a conversation: the system message, notes, earlier turns and the newest message, in plain text.

This is where the persona is described, Z-Waif's markers and pictures are removed, and the markers of the model's chat
format are escaped. What is left out when the window is too small is decided in :mod:`.fit_to_window`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zwaif_fallback.prompt import cards
from zwaif_fallback.prompt.card_lookup import answering, asked_about, is_question
from zwaif_fallback.prompt.changing_notes import is_time, separate_notes
from zwaif_fallback.prompt.length_hint import closing_line
from zwaif_fallback.prompt.usual_length import usual_words
from zwaif_hooks.messages import ChatRequest, Message, Persona, Purpose

Escape = Callable[[str], str]
"""Escapes the markers of a chat format."""
SILENCE = "(says nothing and waits for you to go on)"
_SHOWS_PICTURE = "(shows you a picture)"
_CANNOT_SEE = (
    "A picture was sent with this message, but you cannot see pictures just now: "
    "say so briefly in your own way, stay in character, and do not make up what it shows."
)
_NAMELESS = "the user"
_BEHAVE = "Write only your own next reply, in character."
_LANGUAGE_MESSAGES = 6
"""How many earlier messages help to detect the language when the newest is too short."""
_NOTES = "(Keep in mind: {})"
"""Goes before the user's words, because the model replies to what comes last."""
_TIME = re.compile(r"(?:The current time now is|It is) (.+?)\.?")
"""The note with the time. It is put in brackets like the time stamps of chats; otherwise small models reply to it."""


@dataclass
class Parts:
    """The parts of a conversation before they are cut to fit."""

    system: str
    summary: str
    """Goes to the end of the system message if there is room."""
    notes: list[str]
    """Go into the newest turn if there is room, least important first."""
    history: list[Message]
    newest: str


def name_the_user(request: ChatRequest) -> ChatRequest:
    """Replace Z-Waif's default user name, ``You``: in a prompt, "you" is the character."""
    if request.persona.user_name.casefold() != "you":
        return request
    return replace(request, persona=replace(request.persona, user_name=_NAMELESS))


def parts_of(request: ChatRequest, escape: Escape) -> Parts:
    """Take a request apart, with everything escaped."""
    parted, persona = separate_notes(request.messages), request.persona
    turns = [m for m in (_clean(m, escape) for m in parted.turns) if m.content]
    ends_with_user = bool(turns) and turns[-1].role == "user"
    newest = turns.pop().content if ends_with_user else _SHOWS_PICTURE if request.has_image else SILENCE
    own = "" if request.persona_in_messages else describe_persona(persona, request.purpose)
    sent = cards.rewrite(parted.system, persona.char_name, persona.user_name)
    system = joined(escape(own), _cleaned(sent, escape))
    told = [_cleaned(text, escape) for text in parted.summaries]
    summary = "\n\n".join(f"What you said earlier: {text}" for text in told if text)
    notes = [text for text in (_cleaned(note, escape) for note in parted.notes) if text]
    timed = any(is_time(text) for text in notes)
    now = [escape(text) for text in _circumstances(request, timed)]
    return Parts(system, summary, [*notes, *now], turns, newest)


def remind(parts: Parts, request: ChatRequest, escape: Escape) -> tuple[str, ...]:
    """Repeat what a small model forgets: who it is, what the card says about the newest message, how long to reply.

    Return the words that would answer a question.
    """
    persona = request.persona
    card = cards.rewrite(persona.character_card or separate_notes(request.messages).system, "{{char}}", "{{user}}")
    if request.persona_in_messages and parts.system:
        parts.system = joined(parts.system, escape(_who_talks(persona, _BEHAVE, True)))
    words, line = parts.newest, ""
    told = [escape(_named(sentence, persona)) for sentence in asked_about(card, words)]
    if parts.system:
        earlier = " ".join(turn.content for turn in parts.history[-_LANGUAGE_MESSAGES:])
        line = closing_line([words, earlier, card], usual_words(request))
    stamps = [found for found in map(_TIME.fullmatch, parts.notes) if found]
    parts.notes = [note for note in parts.notes if not _TIME.fullmatch(note)]
    newest = [*(f"[{found[1]}]" for found in stamps), words, f"({' '.join(told)})" if told else "", line]
    parts.newest = " ".join(filter(None, newest))
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


def _clean(message: Message, escape: Escape) -> Message:
    thought = _THOUGHTS.match(message.content) if message.role == "assistant" else None
    return Message(message.role, _cleaned(message.content[thought.end() if thought else 0 :], escape))


def _cleaned(text: str, escape: Escape) -> str:
    """Remove pictures and Z-Waif's markers, and escape markers."""
    text = _DATA_URI.sub("", _IMAGE_TAG.sub("", text))
    return escape(_HEADER.sub("", _PLATFORM.sub("", text)).strip())


def _platform_in(text: str) -> str:
    """Return ``Voice Chat`` for ``[Platform: Voice Chat - Personal Conversation]``."""
    found = _PLATFORM.search(text)
    return found.group(1).partition(" - ")[0].strip() if found else ""


def assemble(system: str, notes: Sequence[str], history: Sequence[Message], newest: str) -> list[Message]:
    """Put parts together as messages with legal roles."""
    told = "\n\n".join([_NOTES.format("\n".join(notes)), newest]) if notes else newest
    turns = _merge([*history, Message("user", told)])
    return [Message("system", system), *turns] if system else turns


def joined(*parts: str) -> str:
    """Join paragraphs that are not empty."""
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
