"""The circuit breaker, second by second, on a clock that only the test moves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from zwaif_hooks.failover import probe as probing
from zwaif_hooks.failover import recovery
from zwaif_hooks.failover.breaker import HARD, Primary
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network import loopback
from zwaif_hooks.network.connect import listens
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

SOFT = sorted(set(FailureKind) - HARD - {FailureKind.OPEN})
WAIT = 10.0


class HandClock:
    """Stands still until the test moves it, and tells when the prober has begun to wait, so that no test sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self._asleep = threading.Semaphore(0)
        self._prober: threading.Condition | None = None

    def now(self) -> float:
        return self.time

    def real(self, seconds: float) -> float:
        return seconds

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        if threading.current_thread().name != "zwaif-probe" or timeout in probing.PROBE_PATIENCE:
            return condition.wait_for(predicate, WAIT)
        if predicate():
            return True
        until = self.time + timeout
        self.waits.append(timeout)
        self._prober = condition
        self._asleep.release()
        while not predicate() and self.time < until:
            condition.wait(WAIT)
        return predicate()

    def move(self, seconds: float) -> None:
        """To be called while the prober waits."""
        assert self._prober is not None
        with self._prober:
            self.time += seconds
            self._prober.notify_all()

    def next_wait(self) -> float:
        """Blocks until the prober begins to wait; how many seconds it wants to."""
        assert self._asleep.acquire(timeout=WAIT)
        return self.waits[-1]


class Watched(SimpleNamespace):
    """``primary``, its ``clock`` and what was said about it: ``changes``, ``back``."""


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(autouse=True)
def plain_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter, and one probe is proof: what confirms a recovery is in test_recovery.py."""
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    monkeypatch.setattr(recovery, "CONFIRMATIONS", 1)
    monkeypatch.setattr(recovery, "MOST_CONFIRMATIONS", 1)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whether something listens at the primary's address, and how often that was asked (``looks``)."""
    there = threading.Event()
    monkeypatch.setattr(probing, "listens", lambda name: there.is_set())
    yield there


@pytest.fixture
def watched(clock: HandClock, there: threading.Event) -> Iterator[Watched]:
    watched = make(clock)
    yield watched
    watched.primary.shut_down()


def make(clock: Any) -> Watched:
    changes: list[tuple[str, PrimaryFailure | None, float]] = []
    back = threading.Event()

    def changed(name: str, failure: PrimaryFailure | None, seconds: float) -> None:
        changes.append((name, failure, seconds))
        if failure is None:
            back.set()

    return Watched(primary=Primary("127.0.0.1:5000", changed, clock), clock=clock, changes=changes, back=back)


def failure(kind: FailureKind, **more: Any) -> PrimaryFailure:
    return PrimaryFailure(kind, f"it was {kind.value}", **more)


def begin_outage(watched: Watched, told: PrimaryFailure, probe: Any = None) -> None:
    """As a failure does after which the neutral question failed as well."""
    watched.primary.failed(told, probe)
    watched.primary._open(told)


class Probe:
    """A probe of one token that is counted, and answers as it is told."""

    def __init__(self, answer: Any = "ok") -> None:
        self.answer = answer
        self.asked = threading.Semaphore(0)
        self.count = 0
        self.running = 0
        self.most_at_once = 0

    def __call__(self, scope: CancelScope) -> Iterator[Chunk]:
        self.count += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.asked.release()
        try:
            if isinstance(self.answer, BaseException):
                raise self.answer
            yield Chunk(self.answer)
        finally:
            self.running -= 1


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(HARD))
def test_a_hard_failure_opens_at_once(watched: Watched, kind: FailureKind) -> None:
    watched.primary.failed(failure(kind))
    assert watched.primary.is_open
    assert watched.primary.status().state == "open"


@pytest.mark.parametrize("kind", SOFT)
def test_after_any_other_failure_a_neutral_question_decides(
    watched: Watched, there: threading.Event, kind: FailureKind
) -> None:
    there.set()
    probe = Probe()
    for _ in range(5):
        assert not watched.primary.failed(failure(kind), probe)
        watched.primary.check(failure(kind))
        assert watched.primary.status().state == "failing"
    assert not watched.primary.is_open, "the server speaks: one request does not decide for others"
    assert watched.changes == []
    probe.answer = PrimaryError(FailureKind.HTTP_ERROR, "broken", status=500)
    watched.primary.check(failure(kind))
    assert watched.primary.is_open
    ((_, told, _),) = watched.changes
    assert told.kind is kind


@pytest.mark.parametrize("answer", ["", "Sorry, I'm having connection issues right now"])
def test_a_server_that_has_no_words_for_a_neutral_question_is_broken(
    watched: Watched, there: threading.Event, answer: str
) -> None:
    there.set()
    watched.primary.failed(failure(FailureKind.EMPTY), Probe(answer))
    watched.primary.check(failure(FailureKind.EMPTY))
    assert watched.primary.is_open


def test_a_server_that_is_busy_with_another_request_is_not_broken(watched: Watched, there: threading.Event) -> None:
    there.set()
    probe = Probe(PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, "silent"))
    watched.primary.failed(failure(FailureKind.EMPTY), probe)
    watched.primary.check(failure(FailureKind.EMPTY))
    assert not watched.primary.is_open


def test_a_server_that_is_gone_needs_no_question(watched: Watched) -> None:
    probe = Probe()
    watched.primary.failed(failure(FailureKind.CUT), probe)
    watched.primary.check(failure(FailureKind.CUT))
    assert watched.primary.is_open
    assert probe.count == 0


def test_a_reply_that_came_meanwhile_is_believed(watched: Watched, there: threading.Event) -> None:
    there.set()

    def probe(scope: CancelScope) -> Iterator[Chunk]:
        watched.primary.succeeded()
        raise PrimaryError(FailureKind.HTTP_ERROR, "broken", status=500)
        yield Chunk("")

    watched.primary.failed(failure(FailureKind.CUT), probe)
    watched.primary.check(failure(FailureKind.CUT))
    assert not watched.primary.is_open
    assert watched.primary.status().state == "healthy"


def test_one_question_at_a_time(watched: Watched, there: threading.Event) -> None:
    there.set()
    probe, release = Probe(), threading.Event()

    def slow(scope: CancelScope) -> Iterator[Chunk]:
        release.wait(WAIT)
        yield from probe(scope)

    watched.primary.failed(failure(FailureKind.CUT), slow)
    first = threading.Thread(target=watched.primary.check, args=(failure(FailureKind.CUT),))
    first.start()
    while not watched.primary._checking:
        pass
    watched.primary.check(failure(FailureKind.CUT))
    release.set()
    first.join(WAIT)
    assert probe.count == 1


def test_an_outage_is_told_once_with_its_failure(watched: Watched) -> None:
    for _ in range(4):
        watched.primary.failed(failure(FailureKind.REFUSED))
    ((name, told, seconds),) = watched.changes
    assert (name, told.kind, seconds) == ("127.0.0.1:5000", FailureKind.REFUSED, 0.0)


def test_what_a_plugin_hears_about_a_request_that_was_not_asked(watched: Watched) -> None:
    assert "127.0.0.1:5000" in watched.primary.open_failure().cause
    watched.primary.failed(failure(FailureKind.REFUSED))
    told = watched.primary.open_failure()
    assert told.kind is FailureKind.OPEN
    assert "it was refused" in told.cause


def test_fifty_threads_that_fail_at_once_make_one_outage_and_one_prober(watched: Watched) -> None:
    gate = threading.Barrier(50)

    def fail() -> None:
        gate.wait(WAIT)
        watched.primary.failed(failure(FailureKind.REFUSED))

    threads = [threading.Thread(target=fail) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(watched.changes) == 1
    assert probers() == 1


# --- probing ---------------------------------------------------------------------------------------------------------


def probers() -> int:
    return sum(thread.name == "zwaif-probe" for thread in threading.enumerate())


def test_nobody_is_admitted_until_a_probe_has_generated(watched: Watched, there: threading.Event) -> None:
    probe = Probe(PrimaryError(FailureKind.HTTP_ERROR, "still loading", status=503))
    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), probe)
    for _ in range(3):
        watched.clock.next_wait()
        assert all(watched.primary.is_open for _ in range(100))
        watched.clock.move(1.0)
        assert probe.asked.acquire(timeout=WAIT)
    watched.clock.next_wait()
    probe.answer = "!"
    watched.clock.move(100.0)
    assert watched.back.wait(WAIT)
    assert not watched.primary.is_open
    assert watched.primary.status().state == "healthy"


def test_the_end_of_an_outage_is_told_once_with_its_length(watched: Watched, there: threading.Event) -> None:
    watched.primary.failed(failure(FailureKind.REFUSED), Probe())
    watched.clock.next_wait()
    there.set()
    watched.clock.move(7.0)
    assert watched.back.wait(WAIT)
    watched.primary.succeeded()
    assert [(told is None, seconds) for _, told, seconds in watched.changes] == [(False, 0.0), (True, 7.0)]


def test_a_server_that_is_not_there_is_not_asked(watched: Watched) -> None:
    probe = Probe()
    watched.primary.failed(failure(FailureKind.REFUSED), probe)
    watched.clock.next_wait()
    watched.clock.move(1.0)
    watched.clock.next_wait()
    assert probe.count == 0


def test_a_probe_that_a_mistake_of_ours_breaks_keeps_no_server_away(watched: Watched, there: threading.Event) -> None:
    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), Probe(ValueError("bug")))
    watched.clock.next_wait()
    watched.clock.move(1.0)
    assert watched.back.wait(WAIT)
    assert watched.primary.failed(failure(FailureKind.CUT)), "nothing was proven: the next failure begins an outage"


def test_one_whose_way_to_ask_is_unknown_is_well_when_it_listens(watched: Watched, there: threading.Event) -> None:
    watched.primary.failed(failure(FailureKind.REFUSED))
    watched.clock.next_wait()
    there.set()
    watched.clock.move(1.0)
    assert watched.back.wait(WAIT)


@pytest.mark.parametrize("answer", ["", PrimaryError(FailureKind.EMPTY, "blank"), SystemExit(), MemoryError()])
def test_a_probe_that_does_not_generate_is_no_recovery(watched: Watched, there: threading.Event, answer: Any) -> None:
    probe = Probe(answer)
    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), probe)
    for _ in range(3):
        watched.clock.next_wait()
        watched.clock.move(1.0)
        assert probe.asked.acquire(timeout=WAIT)
    assert watched.primary.is_open
    watched.clock.next_wait()
    probe.answer = "x"
    watched.clock.move(10.0)
    assert watched.back.wait(WAIT)


def test_fifty_threads_at_the_moment_of_the_probe_start_only_one(watched: Watched, there: threading.Event) -> None:
    release = threading.Event()
    probe = Probe()

    def slow(scope: CancelScope) -> Iterator[Chunk]:
        for chunk in probe(scope):
            release.wait(WAIT)
            yield chunk

    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), slow)
    watched.clock.next_wait()
    watched.clock.move(1.0)
    assert probe.asked.acquire(timeout=WAIT)

    def use() -> None:
        assert watched.primary.is_open
        watched.primary.failed(failure(FailureKind.REFUSED), slow)

    threads = [threading.Thread(target=use) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    release.set()
    assert watched.back.wait(WAIT)
    assert (probe.count, probe.most_at_once) == (1, 1)


def test_the_server_is_left_alone_as_long_as_it_asked_for(watched: Watched, there: threading.Event) -> None:
    there.set()
    watched.primary.failed(failure(FailureKind.RATE_LIMITED, retry_after=30.0), Probe())
    assert watched.clock.next_wait() == pytest.approx(30.0)


def test_a_probe_that_is_told_to_come_back_later_does(watched: Watched, there: threading.Event) -> None:
    probe = Probe(PrimaryError(FailureKind.RATE_LIMITED, "slow down", status=429, retry_after=60.0))
    there.set()
    watched.primary.failed(failure(FailureKind.RATE_LIMITED, retry_after=30.0), probe)
    watched.clock.next_wait()
    watched.clock.move(30.0)
    assert probe.asked.acquire(timeout=WAIT)
    assert watched.clock.next_wait() == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(FailureKind.REFUSED, recovery.PROBE_SECONDS), (FailureKind.MISCONFIGURED, recovery.SLOW_PROBE_SECONDS)],
)
def test_what_only_the_user_can_mend_is_probed_at_a_slower_pace(
    watched: Watched, kind: FailureKind, seconds: float
) -> None:
    begin_outage(watched, failure(kind))
    assert watched.clock.next_wait() == pytest.approx(seconds)


def test_what_nobody_mends_for_long_is_probed_at_a_quarter_of_the_pace(watched: Watched) -> None:
    begin_outage(watched, failure(FailureKind.MISCONFIGURED))
    watched.clock.next_wait()
    watched.clock.move(recovery.SLOWER_AFTER_SECONDS + 1)
    assert watched.clock.next_wait() == pytest.approx(4 * recovery.SLOW_PROBE_SECONDS)


def test_probing_begins_again_with_the_next_outage(watched: Watched, there: threading.Event) -> None:
    for _ in range(3):
        watched.back.clear()
        there.clear()
        watched.primary.failed(failure(FailureKind.REFUSED), Probe())
        assert watched.primary.is_open
        watched.clock.next_wait()
        there.set()
        watched.clock.move(2.0)
        assert watched.back.wait(WAIT)
    assert len(watched.changes) == 6


def test_an_outage_right_after_a_recovery_has_its_prober(watched: Watched, there: threading.Event) -> None:
    """The old prober may be on its way out at the moment the new outage begins."""
    outages: list[PrimaryFailure] = []

    def changed(name: str, told: PrimaryFailure | None, seconds: float) -> None:
        if told is not None:
            outages.append(told)
        elif len(outages) == 1:
            watched.primary.failed(failure(FailureKind.REFUSED), Probe())
        else:
            watched.back.set()

    watched.primary._on_change = changed
    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), Probe())
    for _ in range(2):
        watched.clock.next_wait()
        watched.clock.move(2.0)
    assert watched.back.wait(WAIT)


def test_an_outage_right_after_a_recovery_is_probed_afresh(
    watched: Watched, there: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old prober may go on with the new outage: what it saw before counts no more."""
    monkeypatch.setattr(recovery, "CONFIRMATIONS", 2)
    monkeypatch.setattr(recovery, "MOST_CONFIRMATIONS", 32)
    probes = [Probe(), Probe()]

    def changed(name: str, told: PrimaryFailure | None, seconds: float) -> None:
        if told is None and probes[1].count == 0:
            watched.primary.failed(failure(FailureKind.REFUSED), probes[1])
        elif told is None:
            watched.back.set()

    watched.primary._on_change = changed
    there.set()
    watched.primary.failed(failure(FailureKind.REFUSED), probes[0])
    for _ in range(2 + 4):
        assert not watched.back.is_set()
        watched.clock.next_wait()
        watched.clock.move(2.0)
    assert watched.back.wait(WAIT)
    assert [probe.count for probe in probes] == [2, 4]


# --- a model that its user has unloaded ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        (FailureKind.REFUSED, True),
        (FailureKind.CUT, True),
        (FailureKind.MISCONFIGURED, True),
        (FailureKind.NO_MODEL, True),
        (FailureKind.STALLED, False),
        (FailureKind.HTTP_ERROR, False),
        (FailureKind.RATE_LIMITED, False),
    ],
)
def test_a_probe_may_load_a_model_that_nobody_has_unloaded(watched: Watched, kind: FailureKind, may: bool) -> None:
    watched.primary.failed(failure(kind))
    assert watched.primary.may_load() == may


def test_a_server_that_was_found_away_may_load_its_model_in_this_outage(
    watched: Watched, there: threading.Event
) -> None:
    watched.primary.failed(failure(FailureKind.RATE_LIMITED), Probe())
    watched.clock.next_wait()
    watched.clock.move(1.0)
    watched.clock.next_wait()
    assert watched.primary.may_load()
    there.set()
    watched.clock.move(1.0)
    assert watched.back.wait(WAIT)
    watched.primary.failed(failure(FailureKind.STALLED))
    assert not watched.primary.may_load()


def test_a_silent_probe_does_not_take_back_that_there_is_no_such_model(
    watched: Watched, there: threading.Event
) -> None:
    """Otherwise the next probe finds the model out of memory, takes that for health, and the outage begins again."""
    there.set()
    probe = Probe(PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, "silent"))
    begin_outage(watched, failure(FailureKind.NO_MODEL), probe)
    watched.clock.next_wait()
    watched.clock.move(recovery.SLOW_PROBE_SECONDS * 2)
    watched.clock.next_wait()
    assert probe.count == 1
    assert watched.primary.may_load()


def not_loaded(_: CancelScope) -> Iterator[Chunk]:
    yield probing.NOT_LOADED


def test_that_it_is_there_must_do_where_the_model_is_not_loaded(
    watched: Watched, there: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CONFIRMATIONS", 2)
    there.set()
    begin_outage(watched, failure(FailureKind.HTTP_ERROR), not_loaded)
    watched.clock.next_wait()
    watched.clock.move(1.0)
    assert watched.clock.next_wait() == recovery.UNPROVEN_SECONDS
    watched.clock.move(recovery.UNPROVEN_SECONDS)
    assert watched.back.wait(WAIT)
    assert not watched.primary.is_open


def test_what_came_back_without_proof_is_given_up_at_its_first_failure(
    watched: Watched, there: threading.Event
) -> None:
    there.set()
    begin_outage(watched, failure(FailureKind.HTTP_ERROR), not_loaded)
    watched.clock.next_wait()
    watched.clock.move(1.0)
    assert watched.back.wait(WAIT)
    watched.primary.failed(failure(FailureKind.HTTP_ERROR))
    assert watched.primary.is_open


def test_a_reply_is_proof(watched: Watched, there: threading.Event) -> None:
    there.set()
    begin_outage(watched, failure(FailureKind.HTTP_ERROR), not_loaded)
    watched.clock.next_wait()
    watched.clock.move(1.0)
    assert watched.back.wait(WAIT)
    watched.primary.succeeded()
    watched.primary.failed(failure(FailureKind.HTTP_ERROR))
    assert not watched.primary.is_open


def test_shutting_down_ends_the_prober(watched: Watched) -> None:
    watched.primary.failed(failure(FailureKind.REFUSED))
    watched.clock.next_wait()
    (prober,) = [thread for thread in threading.enumerate() if thread.name == "zwaif-probe"]
    watched.primary.shut_down()
    prober.join(WAIT)
    assert not prober.is_alive()


def test_after_shutting_down_no_prober_starts(watched: Watched) -> None:
    watched.primary.shut_down()
    watched.primary.failed(failure(FailureKind.REFUSED))
    for thread in threading.enumerate():
        if thread.name == "zwaif-probe":
            thread.join(WAIT)
    assert probers() == 0


# --- the book --------------------------------------------------------------------------------------------------------


def test_each_address_has_one_state_of_its_own(clock: HandClock, there: threading.Event) -> None:
    book = PrimaryRegistry(lambda *_: None, clock)
    book.get("a:1").failed(failure(FailureKind.REFUSED))
    assert book.get("a:1").is_open
    assert not book.get("b:2").is_open
    assert [(status.name, status.state) for status in book.statuses()] == [("a:1", "open"), ("b:2", "healthy")]
    clock.next_wait()
    book.shut_down()


def test_fifty_threads_get_the_same_primary(clock: HandClock) -> None:
    book = PrimaryRegistry(lambda *_: None, clock)
    gate = threading.Barrier(50)
    found: list[Primary] = []

    def get() -> None:
        gate.wait(WAIT)
        found.append(book.get("a:1"))

    threads = [threading.Thread(target=get) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(set(map(id, found))) == 1


def test_the_state_counts_its_seconds(watched: Watched) -> None:
    watched.primary.failed(failure(FailureKind.REFUSED))
    watched.clock.next_wait()
    watched.clock.time += 12.0
    assert watched.primary.status().since == pytest.approx(12.0)


# --- listens ---------------------------------------------------------------------------------------------------------


def test_an_open_port_and_a_closed_one() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.listen()
        assert listens(f"127.0.0.1:{port}")
    assert not listens(f"127.0.0.1:{port}")


def test_a_name_without_a_port_cannot_be_tried() -> None:
    assert listens("LM Studio")


@pytest.mark.parametrize("name", ["127.0.0.1:99999", f"{'a' * 70}.invalid:80", "..:80", "\ud800:80"])
def test_an_impossible_address_is_nobody(name: str) -> None:
    assert not listens(name)


@pytest.mark.parametrize("name", ["[::1]:5000", "::1:5000"])
def test_an_ipv6_address(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: list[Any] = []

    def refuse(host: str, port: int, timeout: float) -> Any:
        asked.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(loopback, "connect", refuse)
    assert not listens(name)
    assert asked == [("::1", 5000)]
