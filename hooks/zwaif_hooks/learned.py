"""What a primary usually needs for its first token, so that a dead one is noticed sooner than the setting says."""

from __future__ import annotations

from collections import deque

from zwaif_hooks.clock import Clock

ENOUGH = 5
"""Replies to have seen before anything is concluded from them."""
PATIENCE = 4.0
"""Times the slowest recent reply, scaled to this prompt's length, before silence is suspicious."""
SHORTEST = 3.0
"""Seconds; nothing below is ever concluded, a busy machine can always be that slow."""
COLD_AFTER = 240.0
"""Seconds without a reply after which the server may have unloaded its model (Ollama's default is 300)."""


class FirstTokenHistory:
    """Seconds to the first token of one primary's recent replies, with the length of the prompts they answered."""

    def __init__(self, clock: Clock, keep: int = 64) -> None:
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=keep)
        self._seconds_a_char: deque[float] = deque(maxlen=keep)
        self._last = 0.0

    def observe(self, prompt_chars: int, seconds: float) -> None:
        self._seconds.append(seconds)
        self._seconds_a_char.append(seconds / max(1, prompt_chars))
        self._last = self._clock.now()

    def deadline(self, prompt_chars: int, longest: float) -> float:
        """Seconds of silence to accept for a prompt of this length; never more than ``longest`` (the setting)."""
        if len(self._seconds) < ENOUGH or self._clock.now() - self._last > COLD_AFTER:
            return longest
        slowest = max(*self._seconds.copy(), prompt_chars * max(self._seconds_a_char.copy()))
        return min(longest, max(SHORTEST, PATIENCE * slowest))
