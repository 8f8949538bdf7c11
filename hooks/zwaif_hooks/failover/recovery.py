"""Decides when a server that is down is back: probes it in the background until it answers several times in a row."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.failover.probe import Probe
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.stream import PrimaryError

FOR_THE_USER = frozenset({FailureKind.MISCONFIGURED, FailureKind.NO_MODEL})
"""Failures that do not pass by themselves, but that the user can fix."""
STEADY = FOR_THE_USER | {FailureKind.RATE_LIMITED}
"""Failures of a server that is up and answers on purpose: no sign that it comes and goes."""
GONE = frozenset({FailureKind.REFUSED, FailureKind.CONNECT_TIMEOUT})
"""Failures that mean that the server is down."""
PROBE_SECONDS = 0.8
"""Between two probes of a server that may be back at any moment: people want their own model back at once."""
CONFIRM_SECONDS = 0.5
"""Between the probes that confirm a recovery: half the period of a server that flaps once a second, so one fails."""
UNPROVEN_SECONDS = 5.0
"""The same if the probes may not ask for a token. Each wrong guess makes one message a moment late."""
CONFIRMATIONS = 2
"""Good probes in a row that are needed; doubled for each outage that begins soon after a recovery."""
MOST_CONFIRMATIONS = 8
"""Keeps the confirmation of a server that is well again below about five seconds."""
FLAPPING_SECONDS = 60.0
"""An outage that begins within this time after a recovery means that the server is flapping."""
SLOW_PROBE_SECONDS = 3.0
"""Between two probes of a server that answers with an error only its owner can fix."""
SLOWER_AFTER_SECONDS = 120.0
"""After this time such a server is probed at a quarter of the pace."""


class Recovery:
    """Probes one server while it is down. Thread-safe.

    ``failed`` is called with the failure of each probe, ``recovered`` when the server is believed to be back.
    """

    def __init__(
        self,
        probe: Probe,
        clock: Clock,
        failed: Callable[[PrimaryFailure], None],
        recovered: Callable[[], None],
    ) -> None:
        self.last_end: float | None = None
        """When the last outage ended, by the clock."""
        self._probe = probe
        self._clock = clock
        self._failed = failed
        self._recovered = recovered
        self._changed = threading.Condition()
        self._under_way = self._stopped = False
        self._thread: threading.Thread | None = None
        self._kind = FailureKind.UNKNOWN
        self._began = 0.0
        self._not_before = 0.0
        self._needed = CONFIRMATIONS

    def begin(self, kind: FailureKind) -> None:
        """An outage began: probe until it is over."""
        with self._changed:
            self._under_way, self._kind, self._began = True, kind, self._clock.now()
            self._needed = self._confirmations_needed(kind)
            self._probe.outage_began(server_is_gone=kind in GONE)
            if self._thread is None or not self._thread.is_alive():
                self._start_thread()

    def end(self) -> None:
        """The outage is over."""
        with self._changed:
            self._under_way, self.last_end = False, self._clock.now()
            self._changed.notify_all()

    def wait_for(self, seconds: float) -> None:
        """Do not probe again before ``seconds`` have passed: the server asked for a pause."""
        self._not_before = self._clock.now() + seconds

    def shut_down(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._probe_until_well, name="zwaif-probe", daemon=True)
        self._thread.start()

    def _confirmations_needed(self, kind: FailureKind) -> int:
        recent = self.last_end is not None and self._clock.now() - self.last_end < FLAPPING_SECONDS
        flapping = recent and kind not in STEADY
        return min(MOST_CONFIRMATIONS, self._needed * 2) if flapping else CONFIRMATIONS

    def _probe_until_well(self) -> None:
        confirmed = 0
        while True:
            with self._changed:
                confirm = CONFIRM_SECONDS if self._probe.proven else UNPROVEN_SECONDS
                pause = confirm if confirmed else self._pause()
                self._clock.wait(self._changed, lambda: not self._under_way or self._stopped, pause)
                if not self._under_way or self._stopped:
                    self._thread = None
                    return
            confirmed = confirmed + 1 if self._is_well() else 0
            if confirmed >= self._needed:
                confirmed = 0
                self._recovered()

    def _pause(self) -> float:
        pause = PROBE_SECONDS
        if self._kind in FOR_THE_USER:
            long = self._clock.now() - self._began > SLOWER_AFTER_SECONDS
            pause = SLOW_PROBE_SECONDS * (4 if long else 1)
        return max(pause * random.uniform(0.8, 1.2), self._not_before - self._clock.now())

    def _is_well(self) -> bool:
        try:
            return self._probe.succeeds()
        except PrimaryError as error:
            silent = error.kind is FailureKind.FIRST_TOKEN_TIMEOUT
            if not (silent and self._kind in FOR_THE_USER):  # silence does not prove that the model is there now
                self._kind = error.kind
                self._failed(PrimaryFailure(error.kind, error.cause, status=error.status, said=error.said))
            self.wait_for(error.retry_after or 0.0)
            return False
