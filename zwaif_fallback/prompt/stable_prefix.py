"""Keeps the beginning of a conversation's prompt the same, so the model's cache can be reused.

Z-Waif sends its last pairs of turns, so once its limit is reached the first one changes with every message. A window
that is kept full loses a pair with every message too. Both would make a model read everything again. So the beginning
of each conversation's last prompt is remembered and recognised in the next request by its content: turns that Z-Waif
no longer sends stay in the prompt until a whole block of them is dropped at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from zwaif_hooks.messages import Message

CONVERSATIONS = 4
"""How many conversations are remembered: microphone, web page, Discord and one more."""
FILLED_SHARE = 2 / 3
"""The share of the room for earlier turns that stays filled when a block is dropped; the rest is for later turns."""
_LEAST_EXTRA = 16
"""Messages that may always stay besides those Z-Waif sends: v1.14-R4 sends ten, and half of that is two turns."""
MESSAGES_A_TURN = 4
"""Messages that Z-Waif may stop sending after a turn: a pair, or two in v1.14-R4, which logs web chats twice."""
_SURE = 4
"""Messages in a row that must be equal for two histories to count as one conversation."""


@dataclass(frozen=True)
class Beginning:
    """What a prompt began with, after the character."""

    turns: list[Message]
    summary: str = ""
    """The summary of earlier days when this beginning was first read. A newer one is added as a note."""


class PromptPrefixes:
    """The beginnings of the last prompts. Thread-safe."""

    def __init__(self, conversations: int = CONVERSATIONS) -> None:
        self._conversations = conversations
        self._known: list[Beginning] = []
        """One for each conversation; the one used last is last."""
        self._lock = threading.Lock()

    def extended(self, turns: Sequence[Message], to_come: int = 0) -> Beginning | None:
        """Return ``turns`` from where the last prompt of this conversation began; None if it is not known.

        In addition to what Z-Waif sends, up to half as many messages are kept, or sixteen if that is more. ``to_come``
        is how many more it may stop sending by the next turn.
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
        """Remember the beginning of the current prompt."""
        with self._lock:
            found = self._find(beginning.turns)
            if found is not None:
                self._known.remove(found[0])
            if beginning.turns:
                self._known = [*self._known, beginning][-self._conversations :]

    def _find(self, turns: Sequence[Message]) -> tuple[Beginning, int] | None:
        """Return the remembered conversation with the longest match, and where its first message is in ``turns``.

        A negative place means that it begins that many messages before ``turns``.
        """
        best, found = 0, None
        for known in self._known:
            for shift in range(1 - len(known.turns), len(turns)):
                agreed = _agreement(known.turns[max(0, -shift) :], turns[max(0, shift) :])
                if agreed >= min(_SURE, len(known.turns), len(turns)) and agreed >= best:
                    best, found = agreed, (known, shift)
        return found


def _agreement(one: Sequence[Message], other: Sequence[Message]) -> int:
    """Return how many messages are equal from the start."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
