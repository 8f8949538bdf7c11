"""DeferredTasks: each is done once, soon, and none is lost when the thread that does them ends."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from zwaif_hooks.background.deferred import DeferredTasks

WAIT = 10.0


def test_an_task_is_done_by_somebody_else() -> None:
    tasks, done = DeferredTasks(look=0.001), threading.Event()
    threads: list[int] = []

    def task() -> None:
        threads.append(threading.get_ident())
        done.set()

    tasks.defer(task)
    assert done.wait(WAIT)
    assert threads != [threading.get_ident()]


def test_one_that_fails_takes_no_other_with_it() -> None:
    tasks, done = DeferredTasks(look=0.001), threading.Event()

    def fails() -> None:
        raise RuntimeError("can't start new thread")

    tasks.defer(fails)
    tasks.defer(done.set)
    assert done.wait(WAIT)
    done.clear()
    tasks.defer(done.set)
    assert done.wait(WAIT)


@pytest.mark.parametrize("linger", [0.0, 60.0], ids=["ends at once", "lingers"])
def test_none_is_lost_and_none_is_done_twice(linger: float) -> None:
    tasks, finished = DeferredTasks(look=0.0, linger=linger), threading.Semaphore(0)
    done: list[int] = []

    def do(number: int) -> None:
        done.append(number)
        finished.release()

    def send(first: int) -> None:
        for number in range(first, first + 200):
            tasks.defer(partial(do, number))

    senders = [threading.Thread(target=send, args=(n * 200,)) for n in range(4)]
    for sender in senders:
        sender.start()
    assert all(finished.acquire(timeout=WAIT) for _ in range(800))
    assert sorted(done) == list(range(800))


def test_its_thread_ends_when_there_is_nothing_to_do() -> None:
    tasks = DeferredTasks(look=0.001, linger=0.0)
    threads: list[threading.Thread] = []
    tasks.defer(lambda: threads.append(threading.current_thread()))
    while not threads:
        threading.Event().wait(0.001)
    threads[0].join(WAIT)
    assert not threads[0].is_alive()
