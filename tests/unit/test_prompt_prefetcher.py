"""Work between turns: on a background thread, only the newest job, and errors are only logged."""

from __future__ import annotations

import threading

from zwaif_fallback.local.prompt_prefetcher import PromptPrefetcher

WAIT = 20.0


def test_a_job_runs_in_another_thread() -> None:
    seen = list[bool]()
    ahead = PromptPrefetcher()
    ahead.defer(lambda: seen.append(threading.current_thread() is threading.main_thread()))
    assert ahead.wait(WAIT)
    assert seen == [False]


def test_only_the_newest_waiting_job_runs() -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        assert go_on.wait(WAIT)
        seen.append("one")

    ahead = PromptPrefetcher()
    ahead.defer(slow)
    assert begun.wait(WAIT)
    ahead.defer(lambda: seen.append("two"))
    ahead.defer(lambda: seen.append("three"))
    go_on.set()
    assert ahead.wait(WAIT)
    assert seen == ["one", "three"]


def test_a_failed_job_does_not_stop_the_next() -> None:
    seen = list[str]()

    def bad() -> None:
        raise ValueError("bad")

    ahead = PromptPrefetcher()
    for job in (bad, lambda: seen.append("good")):
        ahead.defer(job)
        assert ahead.wait(WAIT)
    assert seen == ["good"]
