"""What changes from turn to turn, told apart from what stays.

A prompt whose beginning stays put is read once: a model's cache holds good up to the first token that differs. Z-Waif
mixes what changes with each message (the time, a memory, the lorebook, an old summary) into the system message (Ollama,
LM Studio) or between earlier turns (Oobabooga). Here it is taken out, to be told beside the newest turn instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from zwaif_hooks.messages import Message

_TIME = r"The current time now is [^\n]*"
_CHANGING = (
    re.compile(r"\[System M\].*?(?:;\s*This is the end of the memory!;?|\Z)", re.DOTALL),
    re.compile(rf"Here is some lore about the current topic.*?(?=\n{_TIME}|\Z)", re.DOTALL),
    re.compile(_TIME),
)
"""How Z-Waif begins and ends what it adds to each message, in all releases: a memory, lore, the time."""
_NO_MEMORY = "No memory currently!"
"""Z-Waif's words for a memory it does not have: no fact."""


@dataclass
class Separated:
    """A request in two: what stays, and the notes."""

    system: str = ""
    turns: list[Message] = field(default_factory=list)
    """User and assistant, as sent but without notes between them."""
    summaries: list[str] = field(default_factory=list)
    """What the assistant once summed up; changes every few turns."""
    notes: list[str] = field(default_factory=list)
    """Memories, lore and the time, in the order they were sent."""


def separate_notes(messages: Sequence[Message]) -> Separated:
    """Tell notes from conversation. The newest message is never a note: a user may say whatever it looks like."""
    parted = Separated()
    systems: list[str] = []
    previous = ""
    for place, message in enumerate(messages):
        if message.role == "system":
            stable, notes = _without_notes(message.content)
            systems.append(stable)
            parted.notes += notes
        elif message.role == "user" and place < len(messages) - 1 and _is_note(message.content):
            parted.notes += _without_notes(message.content)[1]
        elif message.role == "assistant" and previous != "user":
            # Before everything else, or behind a whole pair of turns: there v1.15 puts a summary.
            parted.summaries.append(message.content)
        else:
            parted.turns.append(message)
            previous = message.role
    parted.system = "\n\n".join(text for text in systems if text)
    return parted


def is_time(note: str) -> bool:
    return re.match(_TIME, note) is not None


def _without_notes(text: str) -> tuple[str, list[str]]:
    """The text that stays, and the notes in it."""
    notes: list[str] = []
    stays = text.replace(_NO_MEMORY, "")
    for pattern in _CHANGING:
        notes += [found.strip() for found in pattern.findall(stays)]
        stays = pattern.sub("", stays)
    return (text if stays == text else re.sub(r"\n{3,}", "\n\n", stays)).strip(), notes


def _is_note(text: str) -> bool:
    begun = text.lstrip()
    return begun == _NO_MEMORY or any(pattern.match(begun) for pattern in _CHANGING)
