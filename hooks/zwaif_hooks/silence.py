"""How long a reply may be silent, and what follows: waiting on, a local answer beside it, giving it up, or its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks.chunks import Chunk, PrimaryError
from zwaif_hooks.clock import Clock
from zwaif_hooks.deadlines import FOREVER, Limits
from zwaif_hooks.messages import FailureKind

if TYPE_CHECKING:
    from zwaif_hooks.race import Race

FINISHED_SECONDS = 5.0
"""How long a server may keep the connection open behind a finish reason. More text may follow one, or nothing. Where it
did follow, a finish reason says nothing about the end, and the limit for a pause counts."""
SLICE_SECONDS = 0.02
"""How late a deadline, a local answer that is ready or a hang-up may be noticed."""
AWAY_SECONDS = 0.1
"""Whoever did not read for longer was busy (Z-Waif speaks a sentence); what came meanwhile is still to be read."""


Late = Callable[[PrimaryError], "Race"]
"""Begins a local answer beside a primary that is late."""


class Silence:
    """Of one reply: whoever reads it tells what was ``heard``, whoever waits for it takes a ``look``. These may be two
    threads.

    Only text counts: comments, empty deltas and role chunks move no deadline.
    """

    def __init__(self, clock: Clock) -> None:
        self.had_content = False
        self.spoke_at = 0.0
        """When the first text was there, by the clock; somebody may have come for it later."""
        self.longest_pause = 0.0
        """Seconds between two pieces of text, as far as somebody was there to see."""
        self._clock = clock
        self._limits: Limits = FOREVER
        self._late: Late | None = None
        self._race: Race | None = None
        self._finished = self._goes_on = False
        """A finish reason came; text came behind one."""
        self._last = self._back = self._read_at = clock.now()

    def allow(self, limits: Limits, late: Late | None = None) -> None:
        """``late`` is called once when there is no text within ``limits.first``; whoever is first is then heard."""
        self._limits, self._late = limits, late

    def came_back(self) -> None:
        """Whoever waits reads by himself, and does so now. While he is away nothing is late."""
        now = self._clock.now()
        if now - self._read_at > AWAY_SECONDS:
            self._back = now

    def heard(self, chunk: Chunk) -> None:
        self._read_at = now = self._clock.now()
        if chunk.text and not chunk.text.isspace():
            if not self.had_content:
                self.had_content, self.spoke_at = True, now
            elif now - self._last > self.longest_pause and self._back <= self._last:
                self.longest_pause = now - self._last
            self._goes_on = self._goes_on or self._finished
            self._finished = bool(chunk.reason)
            self._last = now
        elif chunk.reason:
            self._finished = True
            self._last = now

    def left(self) -> float:
        """Seconds until it is worth while to ``look``."""
        return SLICE_SECONDS if self._race is not None else self._last + self._limit() - self._clock.now()

    def look(self) -> None:
        """Nothing is there to be read.

        Raises:
            PrimaryError: it was silent for too long, or the local answer is to be heard.
        """
        if self._race is not None or self._clock.now() >= self._last + self._limit():
            self._overdue()

    def look_beside_bytes(self) -> None:
        """The same where there may be something: comments may come for ever, and are no text."""
        silent = self._clock.now() - max(self._last, self._back)
        if silent >= SLICE_SECONDS and silent >= self._limit():  # at first there is no silence to look up a limit for
            self._overdue()

    def settle(self) -> None:
        """Whoever waits has got something. With the first text a race is over."""
        if self._race is not None and self.had_content:
            self._race.won()
            self._race = None

    def end(self, error: PrimaryError | None) -> PrimaryError | None:
        """What becomes of a reply that ended, failed, or was silent for too long (``error``); None at a regular end."""
        if self._race is not None:
            self._race.wait()
            return self._race.late
        return None if self._finished else error

    def _limit(self) -> float:
        """Seconds that the present silence may last."""
        if self._finished and not self._goes_on:
            return FINISHED_SECONDS
        return self._limits.stall if self.had_content else self._limits.first

    def _overdue(self) -> None:
        if self._race is not None:
            if self._race.is_lost():
                raise self._race.late
            return
        error = too_long(self.had_content, self._limit())
        if self.had_content or self._finished or self._late is None:
            raise error
        self._race = self._late(error)


def too_long(had_content: bool, limit: float) -> PrimaryError:
    """What ``limit`` seconds without text are called, before the first text and behind it."""
    if had_content:
        return PrimaryError(FailureKind.STALLED, f"the reply stopped for {limit:g} s in the middle")
    return PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, f"no text within {limit:g} s")
