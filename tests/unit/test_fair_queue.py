"""Replies in order, and work that can wait gives way to them at once."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from zwaif_fallback.local.fair_queue import FairQueue, Ticket
from zwaif_fallback.local.low_priority import LOWEST, LowPriorityRunner
from zwaif_hooks.stream import CancelScope


def test_idle_work_ends_when_a_reply_is_wanted() -> None:
    queue, stopped = FairQueue(), list[str]()
    idle = queue.take_idle()
    assert idle is not None
    idle.stop_with(lambda: stopped.append("stopped"))
    ticket = queue.take()
    assert stopped == ["stopped"] and idle.evicted
    idle.give_back()
    assert queue.take_idle() is None, "the speaker has the turn still"
    ticket.give_back()
    assert queue.take_idle() is not None


def test_idle_work_that_lost_its_place_before_it_began_is_stopped() -> None:
    queue, stopped = FairQueue(), list[str]()
    idle = queue.take_idle()
    queue.take()
    assert idle is not None
    idle.stop_with(lambda: stopped.append("stopped"))
    assert stopped == ["stopped"]


def test_there_is_one_idle_job_at_a_time() -> None:
    queue = FairQueue()
    assert queue.take_idle() is not None
    assert queue.take_idle() is None


def test_a_cancelled_caller_stops_waiting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zwaif_fallback.local.fair_queue._LOOK_SECONDS", 600.0)
    queue, scope, left = FairQueue(clock=lambda: 0.0), CancelScope(), list[Ticket]()
    holder = queue.take()
    waiter = threading.Thread(target=lambda: left.append(queue.take(scope)), daemon=True)
    waiter.start()
    while len(queue._tickets) < 2:
        waiter.join(0.001)
    scope.cancel()
    waiter.join(10)
    assert not waiter.is_alive()
    left[0].give_back()
    assert list(queue._tickets) == [holder]
    holder.give_back()
    queue.take().give_back()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_idle_work_and_nothing_else_runs_at_the_lowest_priority() -> None:
    seen = list[int]()

    def look() -> None:
        here = threading.get_native_id()
        child = threading.Thread(target=lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        seen.append(os.getpriority(os.PRIO_PROCESS, here))
        child.start()
        child.join()

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    idle = LowPriorityRunner()
    for _ in range(2):
        idle.run(look)
    assert seen == [LOWEST] * 4, "threads that the work starts inherit it"
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_on_windows_the_priority_of_the_process_is_lowered_and_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from zwaif_fallback.local import low_priority as idle

    classes = list[object]()

    class Process:
        def nice(self, value: object) -> None:
            classes.append(value)

    monkeypatch.setattr(idle, "_EACH_THREAD", False)
    monkeypatch.setattr(idle.psutil, "Process", Process)
    monkeypatch.setattr(idle.psutil, "IDLE_PRIORITY_CLASS", "idle", raising=False)
    monkeypatch.setattr(idle.psutil, "NORMAL_PRIORITY_CLASS", "normal", raising=False)
    with pytest.raises(ZeroDivisionError):
        LowPriorityRunner().run(lambda: classes.append(1 // 0))
    assert classes == ["idle", "normal"]
