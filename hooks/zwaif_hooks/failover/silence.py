"""How long a reply may be silent, and what follows: waiting on, a local answer beside it, giving it up, or its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.stream import Chunk, PrimaryError

if TYPE_CHECKING:
    from zwaif_hooks.failover.race import Race

FINISHED_SECONDS = 5.0
"""How long a server may keep the connection open behind a finish reason. More text may follow one, or nothing. Where it
did follow, a finish reason says nothing about the end, and the limit for a pause counts."""
SLICE_SECONDS = 0.02
"""How late a deadline, a local answer that is ready or a hang-up may be noticed."""
AWAY_SECONDS = 0.1
"""Whoever did not read for longer was busy (Z-Waif speaks a sentence); what came meanwhile is still to be read."""


class Limits(Protocol):
    """How much silence one reply may hold, in seconds. Asked for once there is some, as the question goes out first."""

    @property
    def first(self) -> float:
        """Before the first text."""

    @property
    def stall(self) -> float:
        """Between two pieces of text."""


class FixedLimits(NamedTuple):
    """Limits that are known beforehand."""

    first: float
    stall: float


FOREVER = FixedLimits(3600.0, 3600.0)
"""Plugins have their own deadlines; this only keeps a lost wake-up from lasting for ever."""


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
        self.limits: Limits = FOREVER
        self.late: Late | None = None
        """Called once when there is no text within ``limits.first``; whoever is first is then heard."""
        self.on_unusual: Callable[[], object] | None = None
        """Called once when half of the silence that may be is over and it is unusual: it may be wise to get ready."""
        self.unusual_after: Callable[[bool], float] = lambda had_content: 0.0
        """Seconds of silence that this server's replies do not hold, before the first text and (True) behind it."""
        self.race: Race | None = None
        self._finished = self._goes_on = False
        """A finish reason came; text came behind one."""
        self._last = self._back = self._since = self._read_at = clock.now()
        """When the last text came, when whoever waits came back, the later of the two, when anything came."""

    def came_back(self) -> None:
        """Whoever waits reads by himself, and does so now. While he is away nothing is late."""
        now = self._clock.now()
        if now - self._read_at > AWAY_SECONDS:
            self._back = self._since = now

    def heard(self, chunk: Chunk) -> None:
        self._read_at = now = self._clock.now()
        if chunk.text and not chunk.text.isspace():
            if not self.had_content:
                self.had_content, self.spoke_at = True, now
            elif now - self._last > self.longest_pause and self._back <= self._last:
                self.longest_pause = now - self._last
            self._goes_on = self._goes_on or self._finished
            self._finished = bool(chunk.reason)
            self._last = self._since = now
        elif chunk.reason:
            self._finished = True
            self._last = self._since = now

    def left(self) -> float:
        """Seconds until it is worth while to ``look``."""
        if self.race is not None:
            return SLICE_SECONDS
        limit, silent = self._limit(), self._clock.now() - self._last
        early = self._early(limit) if self.on_unusual is not None else limit
        return (early if silent < early < limit else limit) - silent

    def look(self) -> None:
        """Nothing is there to be read.

        Raises:
            PrimaryError: it was silent for too long, or the local answer is to be heard.
        """
        self._judge(self._clock.now() - self._last)

    def look_beside_bytes(self) -> None:
        """The same where there may be something: comments may come for ever, and are no text."""
        silent = self._clock.now() - self._since
        if silent >= SLICE_SECONDS:  # at first there is no silence to look up a limit for
            self._judge(silent)

    def settle(self) -> None:
        """Whoever waits has got something, and there is a race, which the first text ends."""
        if self.race is not None and self.had_content:
            self.race.won()
            self.race = None

    def end(self, error: PrimaryError | None) -> PrimaryError | None:
        """What becomes of a reply that ended, failed, or was silent for too long (``error``); None at a regular end."""
        if self.race is not None:
            self.race.wait()
            return self.race.late
        return None if self._finished else error

    def _limit(self) -> float:
        """Seconds that the present silence may last."""
        if self._finished and not self._goes_on:
            return FINISHED_SECONDS
        return self.limits.stall if self.had_content else self.limits.first

    def _judge(self, silent: float) -> None:
        limit = self._limit()
        if self.race is not None or silent >= limit:
            self._overdue()
        elif (
            self.on_unusual is not None and silent >= limit / 2 and silent >= self._early(limit) and not self._finished
        ):
            tell, self.on_unusual = self.on_unusual, None
            tell()

    def _early(self, limit: float) -> float:
        return max(limit / 2, self.unusual_after(self.had_content))

    def _overdue(self) -> None:
        if self.race is not None:
            if self.race.is_lost():
                raise self.race.late
            return
        error = too_long(self.had_content, self._limit())
        if self.had_content or self._finished or self.late is None:
            raise error
        self.race = self.late(error)


def too_long(had_content: bool, limit: float) -> PrimaryError:
    """What ``limit`` seconds without text are called, before the first text and behind it."""
    if had_content:
        return PrimaryError(FailureKind.STALLED, f"the reply stopped for {limit:g} s in the middle")
    return PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, f"no text within {limit:g} s")
