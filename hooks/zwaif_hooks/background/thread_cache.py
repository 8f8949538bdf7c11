"""Reuses threads: starting one takes a few hundred microseconds, handing it a job a few tens."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from zwaif_hooks.background.deferred import deferred

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

MOST_IDLE_THREADS = 4
"""Idle threads that are kept for the next jobs."""
IDLE_SECONDS = 60.0
"""After this time an idle thread ends."""
IDLE_NAME = "idle reader"

Job = Callable[[], None]


class ThreadCache:
    """Runs each job at once in a daemon thread of its own. A job must not raise."""

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
            if len(self._idle) >= MOST_IDLE_THREADS:
                return False
            self._idle.append(jobs)
            return True

    def _retire(self, jobs: queue.SimpleQueue[Job]) -> bool:
        """Return False if a job is on its way after all."""
        with self._lock:
            if jobs not in self._idle:
                return False
            self._idle.remove(jobs)
            return True


threads = ThreadCache("zwaif-primary")
"""The threads in which replies are read."""


def in_background(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a background thread."""
    from concurrent.futures import Future  # late, because Z-Waif's start waits and only a local model needs it

    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threads.run(run)
    return future


class JobQueue:
    """Runs small jobs for one plugin in order, in a thread of their own, because the plugin may be slow or hang.

    ``late`` is called once when more than ``most`` jobs wait; new ones are then dropped until there is room.
    """

    def __init__(self, late: Callable[[], object], most: int = 100) -> None:
        self._late = late
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._running = self._complained = False

    def send(self, job: Job) -> None:
        """Queue ``job``, which must not raise. Returns at once."""
        with self._lock:
            if len(self._waiting) >= self._most:
                complain, self._complained = not self._complained, True
            else:
                complain = False
                self._waiting.append(job)
            start, self._running = not self._running, True
        if start:  # a moment later: waking a thread now would cost the turn more than all else that is done here
            deferred.defer(partial(threads.run, self._run))
        if complain:
            self._late()

    def reached(self) -> threading.Event:
        """Return an event that is set once the jobs that wait now are done."""
        event = threading.Event()
        with self._lock:
            if self._running:
                self._waiting.append(event.set)
                return event
        event.set()
        return event

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                job = self._waiting.popleft()
            job()
