"""Tells each fault of a plugin in one line, once in a while and not each time."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from zwaif_hooks.background.clock import Clock

Report = Callable[[str, "BaseException | None"], None]
"""Tells the user one line; the exception's traceback goes to the log file."""

REPEAT_SECONDS = 600.0
"""After this time a fault that goes on is told again, with the number of times."""


@dataclass
class _Told:
    at: float
    since: int = 0
    """How often it happened again and was not told."""


class Complaints:
    """Thread-safe. ``report`` gets each line that is to be told."""

    def __init__(self, report: Report, clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[object, _Told] = {}

    def tell(self, key: object, line: str, error: BaseException | None = None) -> None:
        """Report ``line``, unless the same fault was told within ``REPEAT_SECONDS``.

        Args:
            key: the fault. Together with the place where ``error`` was raised it says whether two are the same.
        """
        now = self._clock.now()
        fault = (key, type(error), _place(error))
        with self._lock:
            told = self._told.get(fault)
            if told is not None and now - told.at < REPEAT_SECONDS:
                told.since += 1
                return
            self._told[fault] = _Told(now)
        if told is not None and told.since:
            times = "once" if told.since == 1 else f"{told.since} times"
            line = f"{line} (and {times} since this was last said)"
        self._report(line, error)


def _place(error: BaseException | None) -> tuple[str, int] | None:
    """Return file and line where an exception was raised: one bug may have many messages (``KeyError: 'a'``)."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__ if error is not None else None):
        place = (frame.f_code.co_filename, line)
    return place
