"""Recovery, simulated second by second: quick when it is real, slow to believe a server that flaps."""

from __future__ import annotations

import random
import statistics
import threading
from collections.abc import Callable

import pytest

from zwaif_hooks import primary as module
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.primary import Primary

REFUSED = PrimaryFailure(FailureKind.REFUSED, "refused")


class Simulation:
    """A clock that jumps to the end of every wait, a server that is up when ``up(time)`` says so, and no threads: the
    prober runs where the test calls it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, up: Callable[[float], bool]) -> None:
        self.time = 0.0
        self.up = up
        self.end = float("inf")
        self.switches: list[tuple[float, str]] = []
        self.prober: Callable[[], None] | None = None
        monkeypatch.setattr(module, "listens", lambda name: self.up(self.time))
        monkeypatch.setattr(Primary, "_start_prober", lambda primary: self._remember(primary))
        self.primary = Primary("127.0.0.1:5000", self._changed, self)

    def now(self) -> float:
        return self.time

    def real(self, seconds: float) -> float:
        return seconds

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        self.time += timeout
        if self.time >= self.end:
            self.primary._closed_for_good = True
        return predicate()

    def _remember(self, primary: Primary) -> None:
        self.prober = primary._probe_until_well

    def _changed(self, name: str, failure: PrimaryFailure | None, seconds: float) -> None:
        self.switches.append((self.time, "fallback" if failure else "primary"))

    def user_turn(self) -> str:
        """Who answers; a turn that meets a dead server is taken over, none is lost."""
        if not self.primary.admit():
            return "fallback"
        if self.up(self.time):
            self.primary.succeeded()
            return "primary"
        self.primary.failed(REFUSED)
        return "fallback"

    def probe_until_back_or(self, end: float) -> None:
        self.end = end
        if self.prober is not None and not self.primary.admit():
            self.prober()


def test_hand_back_comes_within_two_seconds_of_a_real_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(3)
    delays = []
    for _ in range(400):
        back_at = random.uniform(0.1, 300.0)
        run = Simulation(monkeypatch, lambda now, back_at=back_at: now >= back_at)
        run.user_turn()
        run.probe_until_back_or(1000.0)
        assert run.user_turn() == "primary"
        delays.append(run.switches[-1][0] - back_at)
    assert statistics.quantiles(delays, n=20)[18] <= 2.0


def test_a_server_that_flaps_once_a_second_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(5)
    run = Simulation(monkeypatch, lambda now: now % 1.0 < 0.5)
    for _ in range(600):
        run.probe_until_back_or(run.time + 1.0)
        run.primary._closed_for_good = False
        run.time += 0.37
        assert run.user_turn() in ("primary", "fallback")
    for start in range(0, int(run.time) - 60):
        inside = [at for at, _ in run.switches if start <= at < start + 60]
        assert len(inside) <= 2


def test_each_relapse_makes_the_next_recovery_harder_to_believe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    run = Simulation(monkeypatch, lambda now: True)
    waits = []
    for _ in range(4):
        run.primary.failed(REFUSED)
        began = run.time
        run.probe_until_back_or(began + 1000.0)
        waits.append(run.time - began)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_after_a_quiet_minute_a_recovery_is_believed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    run = Simulation(monkeypatch, lambda now: True)
    waits = []
    for _ in range(3):
        run.primary.failed(REFUSED)
        began = run.time
        run.probe_until_back_or(began + 1000.0)
        waits.append(run.time - began)
        run.time += module.FLAPPING_SECONDS + 1
    assert waits[0] == pytest.approx(waits[1]) == pytest.approx(waits[2])
