"""Threads that are used again: every job runs, at once, whatever the others do."""

from __future__ import annotations

import queue
import threading

import pytest

from zwaif_hooks.background import thread_cache
from zwaif_hooks.background.thread_cache import MOST_IDLE_THREADS, Job, ThreadCache

WAIT = 10.0


class Watched(ThreadCache):
    """Says when a thread has gone idle."""

    def __init__(self) -> None:
        super().__init__("reader")
        self.went_idle = threading.Semaphore(0)

    def _rest(self, jobs: queue.SimpleQueue[Job]) -> bool:
        kept = super()._rest(jobs)
        self.went_idle.release()
        return kept


def test_a_thread_is_used_again() -> None:
    cache, seen = Watched(), []
    for _ in range(5):
        cache.run(lambda: seen.append(threading.get_ident()))
        assert cache.went_idle.acquire(timeout=WAIT)
    assert len(seen) == 5
    assert len(set(seen)) == 1


def test_jobs_never_wait_for_each_other() -> None:
    cache, together = ThreadCache("reader"), threading.Barrier(20)
    done = threading.Semaphore(0)

    def job() -> None:
        together.wait(WAIT)
        done.release()

    for _ in range(20):
        cache.run(job)
    assert all(done.acquire(timeout=WAIT) for _ in range(20))


def test_only_a_few_idle_threads_are_kept() -> None:
    cache, gate, ended = ThreadCache("reader"), threading.Event(), threading.Semaphore(0)

    def job() -> None:
        gate.wait(WAIT)
        ended.release()

    for _ in range(30):
        cache.run(job)
    gate.set()
    assert all(ended.acquire(timeout=WAIT) for _ in range(30))
    assert len(cache._idle) <= MOST_IDLE_THREADS


@pytest.mark.slow
def test_an_idle_thread_ends_after_a_while_and_loses_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_cache, "IDLE_SECONDS", 0.0)
    cache, done = ThreadCache("short-lived"), threading.Semaphore(0)
    for _ in range(300):
        cache.run(done.release)  # type: ignore[arg-type]
    assert all(done.acquire(timeout=WAIT) for _ in range(300))
