"""Takes out of a request what changes with every message: the time, a memory, the lorebook, an old summary.

Z-Waif mixes these into the system message (Ollama, LM Studio) or between earlier turns (Oobabooga). They go to the
newest turn instead, because a model's cache is only valid up to the first token that differs.
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
"""How a memory, lore and the time begin and end in all releases of Z-Waif."""
_NO_MEMORY = "No memory currently!"
"""Z-Waif's text when it has no memory."""


@dataclass
class Separated:
    """A request, with what changes apart from what stays."""

    system: str = ""
    turns: list[Message] = field(default_factory=list)
    """User and assistant, without notes between them."""
    summaries: list[str] = field(default_factory=list)
    """Summaries of earlier days; they change every few turns."""
    notes: list[str] = field(default_factory=list)
    """Memories, lore and the time, in the order in which they were sent."""


def separate_notes(messages: Sequence[Message]) -> Separated:
    """Separate notes from the conversation. The newest message is the user's, so it is never a note."""
    parted = Separated()
    systems: list[str] = []
    newest = max((place for place, message in enumerate(messages) if message.role != "system"), default=-1)
    previous = ""
    for place, message in enumerate(messages):
        if message.role == "system":
            stable, notes = _without_notes(message.content)
            systems.append(stable)
            parted.notes += notes
        elif message.role == "user" and place < newest and _is_note(message.content):
            parted.notes += _without_notes(message.content)[1]
        elif message.role == "assistant" and previous != "user":
            # v1.15 puts a summary before everything else, or after a whole pair of turns.
            parted.summaries.append(message.content)
        else:
            parted.turns.append(message)
            previous = message.role
    parted.system = "\n\n".join(text for text in systems if text)
    return parted


def is_time(note: str) -> bool:
    return re.match(_TIME, note) is not None


def _without_notes(text: str) -> tuple[str, list[str]]:
    """Return the text without its notes, and the notes."""
    notes: list[str] = []
    stays = text.replace(_NO_MEMORY, "")
    for pattern in _CHANGING:
        notes += [found.strip() for found in pattern.findall(stays)]
        stays = pattern.sub("", stays)
    return (text if stays == text else re.sub(r"\n{3,}", "\n\n", stays)).strip(), notes


def _is_note(text: str) -> bool:
    begun = text.lstrip()
    return begun == _NO_MEMORY or any(pattern.match(begun) for pattern in _CHANGING)
