"""How long the primary is waited for: to connect, to its first token, and between two.

A server is given up sooner than the settings say once its recent replies have shown what it usually needs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.network.addresses import is_this_machine

LOOPBACK_CONNECT_SECONDS = 0.5
"""A server on this machine accepts in microseconds, unless its queue is full."""
ENOUGH_REPLIES = 5
"""Replies after which the history counts in full. After fewer the deadline is longer: five times after the first."""
FIRST_TOKEN_FACTOR = 4.0
"""A silence is too long when it lasts this many times the slowest recent reply, scaled to the prompt's length."""
SHORTEST_WAIT = 3.0
"""Seconds. A busy machine can always be this slow, so no deadline is shorter."""
NOT_UNUSUAL = 1.5
"""A server that hung is given this many times its slowest recent reply all the same."""
MOST_MISSED = 16
"""Missed deadlines that are counted; the setting limits the wait long before."""
COLD_AFTER = 240.0
"""Seconds without a reply after which the server may have unloaded its model (Ollama's default is 300)."""


class FirstTokenHistory:
    """Seconds to the first token in a server's recent replies, with the lengths of their prompts."""

    def __init__(self, clock: Clock, keep: int = 64) -> None:
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=keep)
        self._seconds_a_char: deque[float] = deque(maxlen=keep)
        self._last = 0.0
        self._missed = 0
        self._hung = False

    def observe(self, prompt_chars: int, seconds: float) -> None:
        self._seconds.append(seconds)
        self._seconds_a_char.append(seconds / max(1, prompt_chars))
        self._last = self._clock.now()
        self._missed = 0
        self._hung = False

    def missed(self) -> None:
        """A deadline passed in silence. Double the next one: another model, or a busier machine, may need it."""
        self._missed = min(MOST_MISSED, self._missed + 1)
        self._hung = False

    def learned(self) -> dict[str, Any]:
        """Return the fields of ``breaker.Learned`` that belong here."""
        return {
            "idle": max(0.0, self._clock.now() - self._last) if self._seconds else 0.0,
            "first": [list(pair) for pair in zip(self._seconds.copy(), self._seconds_a_char.copy(), strict=False)],
            "missed": self._missed,
        }

    def restore(self, idle: float, first: Sequence[Sequence[float]], missed: int, hung: bool) -> None:
        """Start with what an earlier run of Z-Waif learned, unless there was a reply already."""
        if self._seconds:
            return
        self._seconds.extend(seconds for seconds, _ in first)
        self._seconds_a_char.extend(a_char for _, a_char in first)
        self._last = self._clock.now() - idle
        self._missed = missed
        self._hung = hung

    def deadline(self, prompt_chars: int, longest: float) -> float:
        """Return the seconds to wait for a prompt of this length; never more than ``longest`` (the setting)."""
        slowest = self.usual(prompt_chars)
        if self._hung:
            return min(longest, max(SHORTEST_WAIT, NOT_UNUSUAL * self._slowest(prompt_chars)))
        if slowest == math.inf:
            return longest
        return min(
            longest,
            max(SHORTEST_WAIT, FIRST_TOKEN_FACTOR * slowest) * _caution(len(self._seconds)) * 2.0**self._missed,
        )

    def usual(self, prompt_chars: int) -> float:
        """Return the seconds that the slowest recent reply would have needed for a prompt of this length.

        Infinite if nothing is known: the server may have to load its model first.
        """
        if not self._seconds or self._clock.now() - self._last > COLD_AFTER:
            return math.inf
        return self._slowest(prompt_chars)

    def _slowest(self, prompt_chars: int) -> float:
        a_char = max(self._seconds_a_char.copy(), default=0.0)
        return max([prompt_chars * a_char, *self._seconds.copy()])


PAUSE_FACTOR = 8.0
"""A pause is too long when it lasts this many times the longest pause of the recent replies."""
SHORTEST_PAUSE = 5.0
"""Seconds. Other programs on the server's machine (speech, a game, a screen recorder) may hold it up for so long."""
FEWEST_PIECES = 10
"""A reply in fewer pieces says little about pauses."""


class PauseHistory:
    """The longest pause between two pieces of text in each of a server's recent replies, in seconds."""

    def __init__(self, keep: int = 64) -> None:
        self._longest: deque[float] = deque(maxlen=keep)

    def observe(self, longest_pause: float, pieces: int) -> None:
        """Add a whole reply that came in this number of pieces."""
        if pieces >= FEWEST_PIECES:
            self._longest.append(longest_pause)

    def learned(self) -> list[float]:
        return list(self._longest.copy())

    def restore(self, longest: Sequence[float]) -> None:
        """Start with what an earlier run of Z-Waif learned, unless there was a reply already."""
        if not self._longest:
            self._longest.extend(longest)

    def deadline(self, longest: float) -> float:
        """Return the seconds to wait in the middle of a reply; never more than ``longest`` (the setting)."""
        seen = len(self._longest)
        return min(longest, max(SHORTEST_PAUSE, PAUSE_FACTOR * self.usual()) * _caution(seen)) if seen else longest

    def usual(self) -> float:
        """Return the longest pause in the recent replies, in seconds; infinite if nothing is known."""
        return max(self._longest.copy(), default=math.inf)


class Reads(Protocol):
    def get(self, name: str) -> Any: ...


def connect_seconds(settings: Reads, host: str) -> float:
    """Return the seconds ``host`` may take to accept a connection; fewer on this machine."""
    seconds = float(settings.get("API_FALLBACK_CONNECT_TIMEOUT"))
    return min(seconds, LOOPBACK_CONNECT_SECONDS) if is_this_machine(host) else seconds


def _caution(seen: int) -> float:
    """Return how many times longer to wait because only a few replies were seen."""
    return max(1.0, ENOUGH_REPLIES / seen)
