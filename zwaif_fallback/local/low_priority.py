"""Work that may only have what nobody else wants: inside the worker, while it reads ahead."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

logger = logging.getLogger(__name__)

LOWEST = 19
"""``nice`` on Linux: a hundredth of the share of a program at 0."""
_EACH_THREAD = sys.platform == "linux"
"""Whether a thread has a priority of its own."""


class LowPriorityRunner:
    """Runs one piece of work at a time at the lowest priority, and gives it back when somebody waits.

    On Windows the whole process is lowered and raised again. On Linux nobody may raise what was lowered, but each
    thread has a priority of its own, which the threads that torch starts for it inherit: so the work runs on a thread
    kept for this. Elsewhere it runs as it is.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Do ``work`` and return when it is done."""
        if _EACH_THREAD:
            self._thread = self._thread or ThreadPoolExecutor(1, "idle", initializer=_lower_this_thread)
            self._thread.submit(work).result()
            return
        _set_class("IDLE_PRIORITY_CLASS")
        try:
            work()
        finally:
            self.hurry()

    def hurry(self) -> None:
        """Somebody waits for what is being done; from any thread."""
        _set_class("NORMAL_PRIORITY_CLASS")


def _lower_this_thread() -> None:
    """On Linux only."""
    if sys.platform != "win32":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
        except OSError as error:  # it is a courtesy, no need
            logger.debug("This thread keeps its priority: %s", error)


def _set_class(name: str) -> None:
    """On Windows only."""
    value: Any = getattr(psutil, name, None)
    if value is None:
        return
    try:
        psutil.Process().nice(value)
    except psutil.Error as error:
        logger.debug("The priority stays as it is: %s", error)
