"""Runs small tasks a moment later, in one thread that is never woken for them.

Waking a thread in the middle of a turn costs the turn as much as everything else the guard does, because that thread
wants the interpreter just when the reply needs it. This thread polls instead, while there are conversations.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

LOOK_SECONDS = 0.05
"""Poll interval: the longest a task waits."""
LINGER_SECONDS = 60.0
"""How long the thread stays after its last task."""

Task = Callable[[], object]
Look = Callable[[], bool]


class DeferredTasks:
    """``defer`` and ``follow`` may be called from any thread; a task must not block for long."""

    def __init__(self, look: float = LOOK_SECONDS, linger: float = LINGER_SECONDS) -> None:
        self._look = look
        self._linger = linger
        self._waiting: deque[Task] = deque()
        self._followed: deque[Look] = deque()
        self._lock = threading.Lock()
        self._looking = False

    def defer(self, task: Task) -> None:
        """Run ``task`` in the background within a moment."""
        self._waiting.append(task)
        if not self._looking:
            self._begin()

    def follow(self, look: Look) -> None:
        """Call ``look`` every ``LOOK_SECONDS`` until it returns False."""
        self._followed.append(look)
        if not self._looking:
            self._begin()

    def catch_up(self, seconds: float) -> bool:
        """Wait until all that was sent before has been done. Return False if it takes longer than ``seconds``."""
        if not self._looking:  # nothing waits, and Python 3.12 starts no thread while it ends
            return True
        reached = threading.Event()
        self.defer(reached.set)
        return reached.wait(seconds)

    def _begin(self) -> None:
        with self._lock:
            if self._looking:
                return
            self._looking = True
        threading.Thread(target=self._go_on_looking, name="zwaif-deferred", daemon=True).start()

    def _go_on_looking(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(self._look)
            if self._waiting or self._followed:
                last = time.monotonic()
                self._look_at_all()
                self._do_all()
            elif time.monotonic() - last > self._linger and self._may_end():
                return

    def _look_at_all(self) -> None:
        for _ in range(len(self._followed)):
            look = self._followed.popleft()
            if _done(look):
                self._followed.append(look)

    def _do_all(self) -> None:
        while self._waiting:
            _done(self._waiting.popleft())

    def _may_end(self) -> bool:
        """Return False if a task came at the last moment and no other thread was started for it."""
        with self._lock:
            self._looking = False
        if not self._waiting and not self._followed:
            return True
        with self._lock:
            mine = not self._looking
            self._looking = True
        return not mine


def _done(task: Task) -> object:
    """Return what the task returns; None if it fails, because the next tasks belong to others."""
    try:
        return task()
    except Exception as error:
        import logging

        logging.getLogger("zwaif").debug("a deferred task failed: %r", error)
        return None


deferred = DeferredTasks()
