"""Running work at the lowest priority inside the worker, while it reads a prompt ahead."""

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
"""``nice`` value on Linux: about a hundredth of the processor time of a program at 0."""
_EACH_THREAD = sys.platform == "linux"
"""Whether each thread has its own priority."""


class LowPriorityRunner:
    """Runs one piece of work at a time at the lowest priority, and raises it when somebody waits for it.

    On Windows the priority of the whole process is lowered and raised again. On Linux a lowered priority cannot be
    raised without privileges, but it belongs to a thread and is inherited by the threads that torch starts from it: so
    the work runs on a thread of its own. On other systems the priority stays as it is.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Run ``work`` and return when it is done."""
        if _EACH_THREAD:
            self._thread = self._thread or ThreadPoolExecutor(1, "low-priority", initializer=_lower_this_thread)
            self._thread.submit(work).result()
            return
        _set_class("IDLE_PRIORITY_CLASS")
        try:
            work()
        finally:
            self.hurry()

    def hurry(self) -> None:
        """Raise the priority again, as somebody waits for the running work. May be called from any thread."""
        _set_class("NORMAL_PRIORITY_CLASS")


def _lower_this_thread() -> None:
    """On Linux only."""
    if sys.platform != "win32":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
        except OSError as error:  # the work is still done, at normal priority
            logger.debug("The priority of this thread cannot be lowered: %s", error)


def _set_class(name: str) -> None:
    """On Windows only."""
    value: Any = getattr(psutil, name, None)
    if value is None:
        return
    try:
        psutil.Process().nice(value)
    except psutil.Error as error:
        logger.debug("The priority of this process cannot be changed: %s", error)
