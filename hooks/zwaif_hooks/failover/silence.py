"""Watches a reply for silence, and decides what follows: wait on, start a local answer beside it, give up, or end it.

How long a reply may be silent is decided in ``deadlines``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.stream import Chunk, PrimaryError

if TYPE_CHECKING:
    from zwaif_hooks.failover.race import Race

FINISHED_SECONDS = 5.0
"""How long a server may keep the connection open after a finish reason. If text follows one, the finish reason says
nothing about the end, and the limit for a pause applies."""
SLICE_SECONDS = 0.02
"""Poll interval: the latest at which a deadline, a ready rival or a cancellation is noticed."""
AWAY_SECONDS = 0.1
"""A longer gap between reads means that the consumer was busy (Z-Waif speaks a sentence), not that the server was
silent."""


class Limits(Protocol):
    """How long a reply may be silent, in seconds. Read only once there is silence: the request goes out first."""

    @property
    def first(self) -> float:
        """Before the first text."""

    @property
    def stall(self) -> float:
        """Between two pieces of text."""


class FixedLimits(NamedTuple):
    """Limits that are known in advance."""

    first: float
    stall: float


FOREVER = FixedLimits(3600.0, 3600.0)
"""For answers with their own deadlines: this only keeps a lost wake-up from lasting for ever."""


Late = Callable[[PrimaryError], "Race"]
"""Starts a local answer beside a late primary."""


class Silence:
    """The silence of one reply.

    The thread that reads calls ``on_chunk``, the thread that waits calls ``check``; they may be two threads. Only
    text counts: comments, empty deltas and role chunks do not reset a deadline.
    """

    def __init__(self, clock: Clock) -> None:
        self.had_content = False
        self.spoke_at = 0.0
        """When the first text arrived, by the clock. The consumer may have taken it later."""
        self.longest_pause = 0.0
        """Longest pause between two pieces of text, in seconds, as far as the consumer was there to see it."""
        self._clock = clock
        self.limits: Limits = FOREVER
        self.late: Late | None = None
        """Called once if there is no text within ``limits.first``."""
        self.on_unusual: Callable[[], object] | None = None
        """Called once when half of the allowed silence is over and it is unusual for this server: time to get ready."""
        self.unusual_after: Callable[[bool], float] = lambda had_content: 0.0
        """Seconds after which a silence is unusual for this server: before the first text, or (True) after it."""
        self.race: Race | None = None
        self._finished = self._goes_on = False
        """A finish reason came; text came after one."""
        self._last = self._back = self._since = self._read_at = clock.now()
        """When the last text came; when the consumer came back; the later of the two; when anything came."""

    def consumer_returned(self) -> None:
        """The consumer, which reads by itself, reads now. While it is away nothing is late."""
        now = self._clock.now()
        if now - self._read_at > AWAY_SECONDS:
            self._back = self._since = now

    def on_chunk(self, chunk: Chunk) -> None:
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

    def seconds_to_check(self) -> float:
        """Return the seconds until the next ``check`` is due."""
        if self.race is not None:
            return SLICE_SECONDS
        limit, silent = self._limit(), self._clock.now() - self._last
        early = self._early(limit) if self.on_unusual is not None else limit
        return (early if silent < early < limit else limit) - silent

    def check(self) -> None:
        """Check the clock; there is nothing to read.

        Raises:
            PrimaryError: the silence was too long, or the local answer was first.
        """
        self._judge(self._clock.now() - self._last)

    def check_before_read(self) -> None:
        """As ``check``, if there may be something to read: comments may come for ever, and are not text."""
        silent = self._clock.now() - self._since
        if silent >= SLICE_SECONDS:  # at first there is no silence to look up a limit for
            self._judge(silent)

    def end_race(self) -> None:
        """End a race once the primary has text."""
        if self.race is not None and self.had_content:
            self.race.won()
            self.race = None

    def end(self, error: PrimaryError | None) -> PrimaryError | None:
        """Return the error with which the reply ends; None at a regular end.

        Args:
            error: with which it failed or was too silent; None if it just ended.
        """
        if self.race is not None:
            self.race.wait()
            return self.race.late
        return None if self._finished else error

    def _limit(self) -> float:
        """Return how long the present silence may last, in seconds."""
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
    """Return the error for ``limit`` seconds without text, before the first text or after it."""
    if had_content:
        return PrimaryError(FailureKind.STALLED, f"the reply stopped for {limit:.3g} s in the middle")
    return PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, f"no text within {limit:.3g} s")
