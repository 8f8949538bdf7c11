"""A caller may stop waiting; the work continues, and the next caller gets its result."""

from __future__ import annotations

import threading

import pytest

from zwaif_fallback.errors import EngineError, ModelError
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_hooks.stream import CancelScope

WAIT = 10.0


class Work:
    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.done = 0

    def __call__(self) -> int:
        self.begun.release()
        assert self.release.wait(WAIT)
        self.done += 1
        return self.done


def waiting(shared: SingleFlight[int]) -> tuple[threading.Thread, CancelScope, list[object]]:
    """A reply that waits in a thread, what gives it up, and what became of it."""
    scope, outcome = CancelScope(), list[object]()

    def run() -> None:
        try:
            outcome.append(shared.result(scope))
        except EngineError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, scope, outcome


def test_a_cancelled_caller_leaves_and_the_others_get_the_result() -> None:
    work = Work()
    shared = SingleFlight(work)
    given_up, stays = [waiting(shared) for _ in range(5)], waiting(shared)
    assert work.begun.acquire(timeout=WAIT)
    for thread, scope, outcome in given_up:
        scope.cancel()
        thread.join(WAIT)
        assert not thread.is_alive()
        assert isinstance(outcome[0], EngineError)
    assert stays[0].is_alive()
    work.release.set()
    stays[0].join(WAIT)
    assert stays[2] == [1]
    assert not work.begun.acquire(blocking=False), "done once for all of them"
    assert shared.result(CancelScope()) == 2, "and anew for the next"


def test_a_caller_that_is_already_cancelled_does_not_wait() -> None:
    scope = CancelScope()
    scope.cancel()
    work = Work()
    with pytest.raises(EngineError, match="cancelled"):
        SingleFlight(work).result(scope)
    work.release.set()


def test_an_error_of_the_work_is_raised_for_every_caller() -> None:
    def fails() -> int:
        raise ModelError("too big")

    shared: SingleFlight[int] = SingleFlight(fails)
    for _ in range(2):
        with pytest.raises(ModelError, match="too big"):
            shared.result(CancelScope())
