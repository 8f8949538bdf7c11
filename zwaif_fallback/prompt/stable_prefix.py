"""Where the conversation in a prompt begins, and that it goes on beginning there.

Z-Waif sends its last pairs of turns, so once its limit is reached the first one changes with every message, and a
window that is kept full loses a pair with every message too. Either makes a model read everything anew. So the
beginning of each conversation's last prompt is remembered, found again in the next request by its content, and kept:
turns that Z-Waif has just stopped sending stay in the prompt until a whole block of them can go at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from zwaif_hooks.messages import Message

CONVERSATIONS = 4
"""How many are remembered: the microphone, the web page, Discord and one more."""
KEEP = 2 / 3
"""Of the room for earlier turns, how much is filled again when a block has to go: the rest is for turns to come."""
_LEAST_EXTRA = 16
"""Messages that may stay beyond what Z-Waif sends: v1.14-R4 sends ten, and half of that is gone in two turns."""
A_TURN = 4
"""Messages Z-Waif may stop sending after a turn: a pair, or two in v1.14-R4, which logs web chats twice."""
_SURE = 4
"""Messages in a row that must agree before two histories count as one conversation."""


@dataclass(frozen=True)
class Beginning:
    """What a prompt began with, behind the character."""

    turns: list[Message]
    summary: str = ""
    """Of earlier days, as it was when this beginning was first read; a newer one is told as a note until then."""


class PromptPrefixes:
    """The beginnings of the last prompts. Any number of threads may use one."""

    def __init__(self, conversations: int = CONVERSATIONS) -> None:
        self._conversations = conversations
        self._known: list[Beginning] = []
        """Of each conversation's last prompt; the one used last stands last."""
        self._lock = threading.Lock()

    def extended(self, turns: Sequence[Message], to_come: int = 0) -> Beginning | None:
        """``turns`` beginning where the last prompt of this conversation began; None where that is not known.

        At most half as many messages as Z-Waif sends (but sixteen at least) are kept beyond what it sends, ``to_come``
        of which it may stop sending next.
        """
        with self._lock:
            found = self._find(turns)
        if found is None:
            return None
        known, shift = found
        if shift >= 0:
            return Beginning(list(turns[shift:]), known.summary)
        if to_come - shift > max(_LEAST_EXTRA, len(turns) // 2):
            return None
        return Beginning([*known.turns[:-shift], *turns], known.summary)

    def begin_with(self, beginning: Beginning) -> None:
        """Remember how the prompt that is written now begins."""
        with self._lock:
            found = self._find(beginning.turns)
            if found is not None:
                self._known.remove(found[0])
            if beginning.turns:
                self._known = [*self._known, beginning][-self._conversations :]

    def _find(self, turns: Sequence[Message]) -> tuple[Beginning, int] | None:
        """The remembered conversation that agrees with ``turns`` longest, and where its first message is in them.

        A negative place means that it begins that many messages before them.
        """
        best, found = 0, None
        for known in self._known:
            for shift in range(1 - len(known.turns), len(turns)):
                agreed = _agreement(known.turns[max(0, -shift) :], turns[max(0, shift) :])
                if agreed >= min(_SURE, len(known.turns), len(turns)) and agreed >= best:
                    best, found = agreed, (known, shift)
        return found


def _agreement(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many messages are alike from the first on."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
