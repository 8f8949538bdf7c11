"""A process is working while its CPU time or memory, or that of a child, changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from zwaif_fallback.workers.process_activity import ProcessActivity

STEP = 5.0


def process(*children: Any) -> Any:
    now = SimpleNamespace(user=1.0, system=0.0, rss=10)
    return SimpleNamespace(
        now=now, cpu_times=lambda: now, memory_info=lambda: now, children=lambda recursive: list(children)
    )


@pytest.mark.parametrize("whose", ["its own", "its child's"])
@pytest.mark.parametrize(
    ("cpu", "memory", "idle"), [(1.0, 10, True), (1.0, 20, False), (2.0, 10, False)], ids=["neither", "memory", "cpu"]
)
def test_a_process_is_working_while_its_cpu_time_or_memory_changes(
    whose: str, cpu: float, memory: int, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = process()
    parent = process(child)
    monkeypatch.setattr("psutil.Process", lambda pid: parent)
    busy = ProcessActivity(lambda: 1)
    now = (parent if whose == "its own" else child).now
    now.user, now.rss = cpu, memory
    assert busy.idle_for(STEP) == (STEP if idle else 0.0)


def test_polling_does_not_count_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = process()
    monkeypatch.setattr("psutil.Process", lambda pid: polls)
    busy = ProcessActivity(lambda: 1, least=0.02)
    polls.now.user += 0.05
    assert busy.idle_for(STEP) == STEP
    polls.now.user += 0.2
    assert busy.idle_for(STEP) == 0.0


def test_reported_progress_resets_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    still = process()
    monkeypatch.setattr("psutil.Process", lambda pid: still)
    busy = ProcessActivity(lambda: 1)
    assert [busy.idle_for(STEP), busy.idle_for(STEP)] == [STEP, 2 * STEP]
    busy.stirred()
    assert busy.idle_for(STEP) == STEP


def test_a_process_or_child_that_is_gone_counts_as_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(pid: int = 1) -> Any:
        raise psutil.NoSuchProcess(pid)

    child = process()
    child.cpu_times = gone
    parent = process(child)
    monkeypatch.setattr("psutil.Process", lambda pid: parent)
    busy = ProcessActivity(lambda: 1)
    assert busy.idle_for(STEP) == STEP
    parent.now.user = 9.0
    assert busy.idle_for(STEP) == 0.0
    monkeypatch.setattr("psutil.Process", gone)
    assert [busy.idle_for(STEP), busy.idle_for(STEP)] == [0.0, STEP]
