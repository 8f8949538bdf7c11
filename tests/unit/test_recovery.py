"""Recovery, simulated second by second: quick when it is real, slow to believe a server that flaps."""

from __future__ import annotations

import random
import statistics
import threading
from collections.abc import Callable

import pytest

from zwaif_hooks.failover import probe, recovery
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.recovery import Recovery
from zwaif_hooks.failover.silence import Limits
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.stream import Chunk, PrimaryError

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
        monkeypatch.setattr(probe, "listens", lambda name: self.up(self.time))
        monkeypatch.setattr(Recovery, "_start_thread", lambda recovery: self._remember(recovery))
        self.primary = Primary("127.0.0.1:5000", self._changed, self)

    def now(self) -> float:
        return self.time

    def real(self, seconds: float) -> float:
        return seconds

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        if predicate():
            return True
        self.time += timeout
        if self.time >= self.end:
            self.primary._recovery._stopped = True
        return predicate()

    def _remember(self, recovery: Recovery) -> None:
        self.prober = recovery._probe_until_well

    def _changed(self, name: str, failure: PrimaryFailure | None, seconds: float) -> None:
        self.switches.append((self.time, "fallback" if failure else "primary"))

    def user_turn(self) -> str:
        """Who answers; a turn that meets a dead server is taken over, none is lost."""
        if self.primary.is_open:
            return "fallback"
        if self.up(self.time):
            self.primary.succeeded()
            return "primary"
        self.primary.failed(REFUSED)
        return "fallback"

    def probe_until_back_or(self, end: float) -> None:
        self.end = end
        if self.prober is not None and self.primary.is_open:
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
        run.primary._recovery._stopped = False
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
    assert waits[-1] > 3 * waits[0]


@pytest.mark.parametrize("kind", [FailureKind.MISCONFIGURED, FailureKind.NO_MODEL, FailureKind.RATE_LIMITED])
def test_a_server_that_says_no_is_not_held_to_flap(monkeypatch: pytest.MonkeyPatch, kind: FailureKind) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    run = Simulation(monkeypatch, lambda now: True)
    for failure in (REFUSED, REFUSED, PrimaryFailure(kind, "no")):
        run.primary.failed(failure)
        began = run.time
        run.probe_until_back_or(began + 1000.0)
    assert run.time - began < 5.0


def test_after_a_quiet_minute_a_recovery_is_believed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    run = Simulation(monkeypatch, lambda now: True)
    waits = []
    for _ in range(3):
        run.primary.failed(REFUSED)
        began = run.time
        run.probe_until_back_or(began + 1000.0)
        waits.append(run.time - began)
        run.time += recovery.FLAPPING_SECONDS + 1
    assert waits[0] == pytest.approx(waits[1]) == pytest.approx(waits[2])


class _Request:
    """Stands in for a probe's reader: what hung stays hung, whatever becomes of the server meanwhile."""

    def __init__(self, run: Simulation, first_word: Callable[[float], float]) -> None:
        self._run, self._first_word = run, first_word

    def start(self) -> None:
        self._takes = self._first_word(self._run.time)

    def take(self, limits: Limits) -> Chunk:
        self._run.time += min(limits.first, self._takes)
        if self._takes > limits.first:
            raise PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, f"no text within {limits.first:g} s")
        return Chunk("Hi")

    def abandon(self) -> None:
        """Nothing is left open."""


def recovered_at(monkeypatch: pytest.MonkeyPatch, began: PrimaryFailure, first_word: Callable[[float], float]) -> float:
    """When the server is believed to be well that needs ``first_word(time)`` seconds for a word asked at ``time``."""
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    run = Simulation(monkeypatch, lambda now: True)
    monkeypatch.setattr(probe, "BackgroundReader", lambda probe, clock: _Request(run, first_word))
    run.primary.failed(began, lambda scope: iter(()))
    run.primary._open(began)
    run.probe_until_back_or(1000.0)
    assert not run.primary.is_open
    return run.time


def test_a_probe_that_hangs_does_not_hide_that_the_server_is_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = PrimaryFailure(FailureKind.FIRST_TOKEN_TIMEOUT, "silent")
    forever = float("inf")
    assert recovered_at(monkeypatch, hung, lambda asked: forever if asked < 1.0 else 0.1) < 1.0 + 4.0


@pytest.mark.parametrize(("kind", "seconds"), [(FailureKind.REFUSED, 17.0), (FailureKind.FIRST_TOKEN_TIMEOUT, 34.0)])
def test_a_server_that_loads_its_model_first_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, kind: FailureKind, seconds: float
) -> None:
    """One that was away at once; one that was not, once it has been silent for long. It begins anew when given up."""
    asked: list[float] = []

    def first_word(now: float) -> float:
        loaded = bool(asked) and now - asked[-1] >= 14.0
        asked.append(now)
        return 0.1 if loaded else 14.0

    assert recovered_at(monkeypatch, PrimaryFailure(kind, "why"), first_word) < seconds


def test_the_most_stubborn_doubt_ends_within_six_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that failed again and again within a minute and is well at last."""
    random.seed(7)
    run = Simulation(monkeypatch, lambda now: True)
    for _ in range(12):
        run.primary.failed(REFUSED)
        began = run.time
        run.probe_until_back_or(began + 1000.0)
        assert run.time - began < 6.0
