"""The circuit breaker of one LLM server.

Closed: requests go to the server. Open: none does, and background probes watch for its return (``recovery``). The probe
takes the place of a half-open state, so no user's message is spent on finding out. The libraries for this (pybreaker,
aiobreaker, purgatory) spend the next request, and none tells a refused connection from a slow answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover.deadlines import FirstTokenHistory, PauseHistory
from zwaif_hooks.failover.end_history import EndHistory
from zwaif_hooks.failover.probe import Probe
from zwaif_hooks.failover.recovery import FOR_THE_USER, GONE, Recovery
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.stream import Source

SILENT = frozenset({FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED})
"""Failures of a server that hangs: the next message would wait just as long, and a probe finds out without one."""
HARD = SILENT | {FailureKind.REFUSED, FailureKind.CONNECT_TIMEOUT, FailureKind.RATE_LIMITED, FailureKind.NO_MODEL}
"""Failures of the server itself, which the next request would meet too. After any other failure a probe decides, as one
request must not decide for all others."""
AWAY = GONE | {FailureKind.CUT}
"""Failures after which the server may be a new process with an empty memory."""

Listener = Callable[[str, "PrimaryFailure | None", float], None]


@dataclass(frozen=True)
class PrimaryStatus:
    """What the Settings tab and ``status`` show."""

    name: str
    state: str
    """``healthy``, ``failing`` (failures that have not opened the breaker) or ``open``."""
    since: float
    """Seconds the state has lasted."""
    last_failure: PrimaryFailure | None


@dataclass(frozen=True)
class Learned:
    """What one run of Z-Waif knew about a server, for the next."""

    idle: float
    """Seconds since the first text of its last reply."""
    first: list[list[float]]
    """For each recent reply, the seconds to its first text, and these for each character of the prompt."""
    missed: int
    """First-token deadlines missed in a row."""
    pauses: list[float]
    """The longest pause in each recent reply, in seconds."""
    unmarked: int
    """Replies in a row without an end mark, of a server that never marked one."""
    outage: str
    """The kind of failure of the outage under way, or empty."""
    lasted: float
    """Seconds since the outage began."""


class Primary:
    """The breaker of one LLM server, with what was learned about it. Thread-safe.

    ``on_change(name, failure, seconds)`` is called when an outage begins (with its failure) and when it ends (with None
    and the outage's length in seconds).
    """

    def __init__(self, name: str, on_change: Listener, clock: Clock | None = None) -> None:
        self.name = name
        self.is_open = False
        """The server must not be asked now."""
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._failing = self._checking = self._shut_down = False
        self._changed_at = self._clock.now()
        self._last_failure: PrimaryFailure | None = None
        self._probe = Probe(name, self._clock)
        self._recovery = Recovery(self._probe, self._clock, self._probe_failed, self._close)
        self.first_token = FirstTokenHistory(self._clock)
        self.pauses = PauseHistory()
        self.ends = EndHistory()

    def open_failure(self) -> PrimaryFailure:
        """Return the failure of a request that was not sent because the breaker is open."""
        last = self._last_failure
        cause = f"{self.name} failed a moment ago ({last.cause})" if last else f"{self.name} is not answering"
        return PrimaryFailure(FailureKind.OPEN, cause)

    def succeeded(self) -> None:
        """A whole reply came."""
        self._probe.proven = True
        if self._failing or self.is_open:
            self._close()

    def failed(self, failure: PrimaryFailure, probe: Source | None = None) -> bool:
        """Count a failed request. Return whether the breaker is open now; if not, ``check`` decides.

        Args:
            probe: how to ask this server for one token later; None: only see whether it accepts connections.
        """
        self.ends.failed(failure.exception)
        with self._lock:
            self._last_failure = failure
            self._failing = True
            if failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT:
                self.first_token.missed()
            if probe is not None:
                self._probe.source = probe
            if failure.retry_after:
                self._recovery.wait_for(failure.retry_after)
            self._probe.was_away = self._probe.was_away or failure.kind in AWAY
        if failure.kind in HARD or not self._probe.proven:
            self._open(failure)
        return self.is_open

    def check(self, failure: PrimaryFailure) -> None:
        """Probe the server after ``failure``, and open the breaker if that fails as well.

        Takes up to ``probe.CHECK_SECONDS``. Does nothing if a check is under way already.
        """
        with self._lock:
            if self._checking or self.is_open or self._shut_down:
                return
            self._checking = True
        try:
            broken = self._probe.fails()
        finally:
            self._checking = False
        if broken and self._failing:
            self._open(failure)

    def may_load(self) -> bool:
        """Return whether a probe may make the server load its model.

        Not if only the user can have unloaded it. A server that was down has an empty memory by itself, and one that
        has no such model loads none.
        """
        last = self._last_failure
        return self._probe.was_away or (last is not None and last.kind in FOR_THE_USER)

    def recovered_since(self, time: float) -> bool:
        """Return whether the server was well again after a failure since ``time``, by the clock."""
        return self._recovery.last_end is not None and self._recovery.last_end >= time

    def status(self) -> PrimaryStatus:
        state = "open" if self.is_open else "failing" if self._failing else "healthy"
        return PrimaryStatus(self.name, state, self._clock.now() - self._changed_at, self._last_failure)

    def learned(self) -> Learned:
        """Return what the next run of Z-Waif should know."""
        lasted = self._clock.now() - self._changed_at if self.is_open else 0.0
        kind = self._last_failure.kind.value if self.is_open and self._last_failure else ""
        return Learned(
            **self.first_token.learned(),
            pauses=self.pauses.learned(),
            unmarked=self.ends.unmarked,
            outage=kind,
            lasted=lasted,
        )

    def restore(self, learned: Learned, hung: bool) -> None:
        """Start with what an earlier run knew.

        Args:
            hung: the server was silent a moment ago. It is asked as usual, but with a short deadline.
        """
        self.first_token.restore(learned.idle, learned.first, learned.missed, hung)
        self.pauses.restore(learned.pauses)
        self.ends.unmarked = learned.unmarked

    def is_open_since(self, seconds: float) -> None:
        """Correct the beginning of the outage under way: it began before Z-Waif started."""
        with self._lock:
            if self.is_open:
                self._changed_at = self._clock.now() - seconds

    def shut_down(self) -> None:
        with self._lock:
            self._shut_down = True
        self._recovery.shut_down()

    def _open(self, failure: PrimaryFailure) -> None:
        with self._lock:
            if self.is_open or self._shut_down:
                return
            self.is_open = True
            self._last_failure = failure
            self._changed_at = self._clock.now()
            self._recovery.begin(failure.kind)
        self._on_change(self.name, failure, 0.0)

    def _close(self) -> None:
        with self._lock:
            was_open, lasted = self.is_open, self._clock.now() - self._changed_at
            self.is_open = self._failing = self._probe.was_away = False
            self._changed_at = self._clock.now()
            self._recovery.end()
        if was_open:
            self._on_change(self.name, None, lasted)

    def _probe_failed(self, failure: PrimaryFailure) -> None:
        self._last_failure = failure
