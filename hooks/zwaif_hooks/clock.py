"""Time as the guards see it, so that tests can inject their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds, monotonic."""

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait (holding ``condition``) until ``predicate`` holds; False when ``timeout`` seconds went by."""


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(predicate, max(0.0, timeout))
