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

    def real(self, seconds: float) -> float:
        """How long that is for a socket, which knows no clock but the machine's."""


class SystemClock:
    now = staticmethod(time.monotonic)

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(predicate, max(0.0, timeout))

    def real(self, seconds: float) -> float:
        return seconds
