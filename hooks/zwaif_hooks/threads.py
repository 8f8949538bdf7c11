"""Threads that are used again. Starting one takes a few hundred microseconds, handing it work takes a few tens."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

KEPT = 4
"""Idle threads that are kept."""
IDLE_SECONDS = 60.0
"""After which an idle one ends."""
IDLE_NAME = "idle reader"

Job = Callable[[], None]


class ThreadCache:
    """Runs jobs at once, each in a daemon thread of its own; a job must not raise."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Job]] = []

    def run(self, job: Job) -> None:
        with self._lock:
            jobs = self._idle.pop() if self._idle else None
        if jobs is None:
            jobs = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(jobs,), name=self._name, daemon=True).start()
        jobs.put(job)

    def _work(self, jobs: queue.SimpleQueue[Job]) -> None:
        thread = threading.current_thread()
        while True:
            try:
                job = jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if self._retire(jobs):
                    return
                continue
            thread.name = self._name
            job()
            thread.name = IDLE_NAME
            if not self._rest(jobs):
                return

    def _rest(self, jobs: queue.SimpleQueue[Job]) -> bool:
        with self._lock:
            if len(self._idle) >= KEPT:
                return False
            self._idle.append(jobs)
            return True

    def _retire(self, jobs: queue.SimpleQueue[Job]) -> bool:
        """False when a job is on its way after all."""
        with self._lock:
            if jobs not in self._idle:
                return False
            self._idle.remove(jobs)
            return True


readers = ThreadCache("zwaif-primary")
"""The threads in which replies are read."""
