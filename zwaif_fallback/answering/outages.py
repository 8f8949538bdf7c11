"""The outages of this run, kept in memory for the timeline in the Settings tab."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

OUTAGES_KEPT = 200


@dataclass(frozen=True)
class Outage:
    """A time when a server was not asked. Times are in seconds since 1970."""

    primary: str
    began: float
    ended: float | None = None
    """None while it lasts."""
    cause: str = ""

    def seconds(self, now: float) -> float:
        return max(0.0, (now if self.ended is None else self.ended) - self.began)


class Outages:
    """The last outages of all servers. ``began`` and ``ended`` may be called from any thread."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._past: deque[Outage] = deque(maxlen=OUTAGES_KEPT)
        self._running: dict[str, Outage] = {}

    def began(self, primary: str, cause: str) -> None:
        self._running.setdefault(primary, Outage(primary, self._now(), cause=cause))

    def ended(self, primary: str, seconds: float) -> None:
        """Record the end of an outage that lasted ``seconds``, as measured by the circuit breaker."""
        now = self._now()
        begun = self._running.pop(primary, None)
        self._past.append(Outage(primary, now - seconds, now, begun.cause if begun else ""))

    def since(self, moment: float) -> list[Outage]:
        """Return outages that had not ended before ``moment``, oldest first."""
        every = [*self._past, *self._running.values()]
        return sorted((one for one in every if one.ended is None or one.ended >= moment), key=lambda one: one.began)
