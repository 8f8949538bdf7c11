"""The clock of the guards, which tests replace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Return monotonic seconds."""

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait (holding ``condition``) until ``predicate`` is true; return False after ``timeout`` seconds."""

    def real(self, seconds: float) -> float:
        """Convert ``seconds`` of this clock to real seconds, for a socket."""


class SystemClock:
    now = staticmethod(time.monotonic)

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(predicate, max(0.0, timeout))

    def real(self, seconds: float) -> float:
        return seconds
