"""Calls with a deadline in threads that are used again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from zwaif_hooks.background import plugin_threads
from zwaif_hooks.background.plugin_threads import StillRunning, in_time, is_a_plugins_thread

WAIT = 10.0
FOREVER = 60.0


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Start without idle threads."""
    idle: list[Any] = []
    monkeypatch.setattr(plugin_threads, "_idle", idle)
    return idle


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_result_and_an_error_come_back_and_the_thread_is_used_again(threads: list[Any]) -> None:
    made_by = {in_time(threading.get_ident, (), WAIT) for _ in range(5)}
    with pytest.raises(ZeroDivisionError):
        in_time(divmod, (7, 0), WAIT)
    assert in_time(divmod, (7, 2), WAIT) == (3, 1)
    assert len(made_by) == 1 and threading.get_ident() not in made_by
    assert made_by == {thread.ident for thread in threads}


def test_it_runs_in_a_plugins_thread() -> None:
    assert in_time(is_a_plugins_thread, (), WAIT) and not is_a_plugins_thread()


def test_calls_do_not_wait_for_each_other_and_may_be_nested() -> None:
    together, results = threading.Barrier(5), []

    def meet(depth: int) -> int:
        return depth if depth == 0 else 1 + in_time(meet, (depth - 1,), WAIT)

    def call() -> None:
        in_time(together.wait, (), WAIT)
        results.append(in_time(meet, (3,), WAIT))

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(WAIT)
    assert results == [3] * 5


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_a_late_call_goes_on_in_its_thread_and_another_takes_the_next(
    threads: list[Any], gate: threading.Event, seconds: float
) -> None:
    with pytest.raises(StillRunning, match=f"not done within {seconds:g} s") as late:
        in_time(gate.wait, (), seconds)
    assert not late.value.is_over()
    assert in_time(divmod, (7, 2), WAIT) == (3, 1)
    gate.set()
    assert late.value.result() is True and late.value.is_over()
    assert len(threads) == 1, "the late one is not used again"


def test_an_error_of_a_late_call_is_raised_where_its_result_is_wanted(gate: threading.Event) -> None:
    def fail() -> None:
        gate.wait(WAIT)
        raise KeyError("voice")

    with pytest.raises(StillRunning) as late:
        in_time(fail, (), 0.01)
    gate.set()
    with pytest.raises(KeyError, match="voice"):
        late.value.result()


def test_nothing_of_a_call_is_kept_for_the_next() -> None:
    class Request:
        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    in_time(id, (Request(),), WAIT)
    assert Request.gone.wait(WAIT)


@pytest.mark.parametrize("late", [False, True])
def test_an_idle_thread_ends(monkeypatch: pytest.MonkeyPatch, gate: threading.Event, late: bool) -> None:
    monkeypatch.setattr(plugin_threads, "IDLE_SECONDS", 0.01)
    made: list[threading.Thread] = []

    def call() -> None:
        made.append(threading.current_thread())
        if late:
            gate.wait(WAIT)

    if late:
        with pytest.raises(StillRunning):
            in_time(call, (), 0.05)
        gate.set()
    else:
        in_time(call, (), WAIT)
    made[0].join(WAIT)
    assert not made[0].is_alive()
    assert in_time(divmod, (7, 2), WAIT) == (3, 1)


def test_no_call_is_lost_when_threads_end_all_the_time(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    monkeypatch.setattr(plugin_threads, "IDLE_SECONDS", 0.001)
    made_by: set[threading.Thread] = set()
    for _ in range(300):
        made_by.add(in_time(threading.current_thread, (), WAIT))
        gate.wait(0.001)
    assert len(made_by) > 1


def test_a_call_that_ctrl_c_ended_leaves_no_thread_for_ever(
    monkeypatch: pytest.MonkeyPatch, threads: list[Any]
) -> None:
    import _thread

    monkeypatch.setattr(plugin_threads, "IDLE_SECONDS", 0.01)
    made: list[threading.Thread] = []

    def interrupt() -> None:
        made.append(threading.current_thread())
        _thread.interrupt_main()
        time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        in_time(interrupt, (), FOREVER)
    made[0].join(WAIT)
    assert not made[0].is_alive() and threads == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # what is cleared in the child is the module's own list
    in_time(abs, (-1,), WAIT)
    child = os.fork()
    if child == 0:
        try:
            os._exit(in_time(abs, (-7,), WAIT))
        except StillRunning:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
