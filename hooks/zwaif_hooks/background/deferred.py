"""Small things that may wait for a moment, done by one thread that need not be woken.

To wake a thread in the middle of a turn costs the turn as much as all else that we do there: the woken one wants the
interpreter just when the reply needs it. This one looks by itself, a few times a second while there are conversations.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

LOOK_SECONDS = 0.05
"""Between two looks; an errand waits so long at most."""
LINGER_SECONDS = 60.0
"""After the last errand, until the thread ends."""

Errand = Callable[[], object]


class DeferredTasks:
    """``defer`` may be called from any thread; an errand must not block for long."""

    def __init__(self, look: float = LOOK_SECONDS, linger: float = LINGER_SECONDS) -> None:
        self._look = look
        self._linger = linger
        self._waiting: deque[Errand] = deque()
        self._lock = threading.Lock()
        self._looking = False

    def defer(self, errand: Errand) -> None:
        """Have it done in a moment, in a thread of ours."""
        self._waiting.append(errand)
        if not self._looking:
            self._begin()

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
            if self._waiting:
                last = time.monotonic()
                self._do_all()
            elif time.monotonic() - last > self._linger and self._may_end():
                return

    def _do_all(self) -> None:
        while self._waiting:
            try:
                self._waiting.popleft()()
            except Exception as error:  # the next ones are other people's, and nobody else would do them
                import logging

                logging.getLogger("zwaif").debug("an errand failed: %r", error)

    def _may_end(self) -> bool:
        """False when an errand came at the last moment and nobody else was begun for it."""
        with self._lock:
            self._looking = False
        if not self._waiting:
            return True
        with self._lock:
            mine = not self._looking
            self._looking = True
        return not mine


deferred = DeferredTasks()
