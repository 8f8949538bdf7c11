"""After each reply, in a thread of its own: what the next prompt will begin with is read already."""

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
    """Does what there is to do after a turn, one job after the other; one that is no longer the newest is left out."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()

    def defer(self, job: Job) -> None:
        """Returns at once; the job is done in this object's thread and may be slow."""
        self._idle.clear()
        self._jobs.put(job)
        if self._thread is None:
            self._start()

    def wait(self, timeout: float | None = None) -> bool:
        """Until everything is read; False when it took longer than ``timeout`` seconds."""
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
            except Exception:  # nobody waits for this: the next reply takes longer, that is all
                logger.debug("Reading ahead failed", exc_info=True)
            del job
            if self._jobs.empty():
                self._idle.set()

    def _newest(self) -> Job:
        job = self._jobs.get()
        while not self._jobs.empty():
            job = self._jobs.get()
        return job
