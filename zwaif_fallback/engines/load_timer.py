"""Times the steps of a load."""

from __future__ import annotations

import time
from collections.abc import Callable


class LoadTimer:
    """The steps of one load. Each begins where the one before it ended, so together they are the whole time.

    Args:
        now: returns monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last = now()
        self.seconds: dict[str, float] = {}
        """Seconds of each step, in order."""

    def done(self, step: str) -> None:
        """End a step. One that is repeated, because the first attempt failed, counts as one."""
        now = self._now()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now
