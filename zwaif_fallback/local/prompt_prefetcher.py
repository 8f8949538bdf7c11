"""After each reply, in the background: the worker reads what the next prompt will begin with."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from zwaif_hooks.messages import ChatRequest

logger = logging.getLogger(__name__)

Describe = Callable[[], ChatRequest]
Job = Callable[[], object]


class PromptPrefetcher:
    """Runs jobs on one background thread. Only the newest waiting job is run; older ones are outdated and dropped."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()

    def defer(self, job: Job) -> None:
        """Schedule a job, which may be slow, and return at once."""
        self._idle.clear()
        self._jobs.put(job)
        if self._thread is None:
            self._start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is left. False if that took longer than ``timeout`` seconds."""
        return self._idle.wait(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="zwaif-read-ahead", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            job = self._newest()
            try:
                job()
            except Exception:  # nobody waits for it; the next reply just takes longer
                logger.debug("Reading ahead failed", exc_info=True)
            del job
            if self._jobs.empty():
                self._idle.set()

    def _newest(self) -> Job:
        job = self._jobs.get()
        while not self._jobs.empty():
            job = self._jobs.get()
        return job
