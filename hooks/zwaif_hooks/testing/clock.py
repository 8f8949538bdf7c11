"""A clock for tests, which runs faster than the real one and can be moved forward."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SLICE = 0.02
"""Real seconds after which a wait notices that the clock was moved forward."""


class FakeClock:
    """Pass it to ``FakeHost``: the deadlines of answers and the pauses after failures are measured by it.

    The deadlines of the other hooks (half a second to five) are real time, because a thread that hangs cannot be told
    to hang faster.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """``speed``: seconds of this clock that pass in one real second."""
        self._speed = speed
        self._moved = 0.0

    def now(self) -> float:
        return time.monotonic() * self._speed + self._moved

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._moved += seconds

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        end = self.now() + timeout
        while not predicate():
            left = end - self.now()
            if left <= 0:
                return False
            condition.wait(min(self.real(left), SLICE))
        return True

    def real(self, seconds: float) -> float:
        return max(0.001, seconds / self._speed)
