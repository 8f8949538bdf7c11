"""Where the conversation in a prompt begins, and that it goes on beginning there.

Z-Waif sends its last pairs of turns, so once its limit is reached the first one changes with every message, and a
window that is kept full loses a pair with every message too. Either makes a model read everything anew. So the
beginning of each conversation's last prompt is remembered, found again in the next request by its content, and kept:
turns that Z-Waif has just stopped sending stay in the prompt until a whole block of them can go at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

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


class History:
    """The beginnings of the last prompts. Any number of threads may use one."""

    def __init__(self, conversations: int = CONVERSATIONS) -> None:
        self._conversations = conversations
        self._known: list[list[Message]] = []
        """Earlier turns of each conversation's last prompt; the one used last stands last."""
        self._lock = threading.Lock()

    def extended(self, turns: Sequence[Message], to_come: int = 0) -> list[Message]:
        """``turns`` beginning where the last prompt of this conversation began; as they are where that is not known.

        At most half as many messages as Z-Waif sends (but sixteen at least) are kept beyond what it sends, ``to_come``
        of which it may stop sending next.
        """
        with self._lock:
            found = self._find(turns)
            if found is None:
                return list(turns)
            known, shift = found
        if shift >= 0:
            return list(turns[shift:])
        extra = to_come - shift
        return [*known[:-shift], *turns] if extra <= max(_LEAST_EXTRA, len(turns) // 2) else list(turns)

    def begin_with(self, turns: Sequence[Message]) -> None:
        """Remember the earlier turns of the prompt that is written now."""
        with self._lock:
            found = self._find(turns)
            if found is not None:
                self._known.remove(found[0])
            if turns:
                self._known = [*self._known, list(turns)][-self._conversations :]

    def _find(self, turns: Sequence[Message]) -> tuple[list[Message], int] | None:
        """The remembered conversation that agrees with ``turns`` longest, and where its first message is in them.

        A negative place means that it begins that many messages before them.
        """
        best, found = 0, None
        for known in self._known:
            for shift in range(1 - len(known), len(turns)):
                agreed = _agreement(known[max(0, -shift) :], turns[max(0, shift) :])
                if agreed >= min(_SURE, len(known), len(turns)) and agreed >= best:
                    best, found = agreed, (known, shift)
        return found


def _agreement(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many messages are alike from the first on."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
