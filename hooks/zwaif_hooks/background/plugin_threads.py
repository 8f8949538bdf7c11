"""The threads in which a plugin's code runs: calls that have a deadline, and what is known of a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

IDLE_SECONDS = 60.0
"""After this time an idle thread ends."""

_thread = threading.local()


def is_a_plugins_thread() -> bool:
    """Return whether a plugin's code runs in this thread now. Its own requests to an LLM server are not guarded."""
    return getattr(_thread, "is_in_a_plugin", False)


@contextmanager
def in_a_plugin() -> Iterator[None]:
    """Run a plugin's code."""
    before = is_a_plugins_thread()
    _thread.is_in_a_plugin = True
    try:
        yield
    finally:
        _thread.is_in_a_plugin = before


def in_time(function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> Any:
    """Call a function of a plugin in another thread, and return its result.

    Raises:
        StillRunning: it took longer than ``seconds``. Its thread is left to it.
        BaseException: whatever ``function`` raises.
    """
    try:
        thread = _idle.pop()
    except IndexError:
        thread = _CallThread()
    return thread.call(function, args, seconds)


class StillRunning(TimeoutError):
    """A call is late and still running."""

    def __init__(self, seconds: float, thread: _CallThread) -> None:
        super().__init__(f"not done within {seconds:g} s")
        self._thread = thread

    def is_over(self) -> bool:
        """Return whether the call has ended in the meantime."""
        return not self._thread.done.locked()

    def result(self) -> Any:
        """Wait until the call ends, and return its result.

        Raises:
            BaseException: whatever the function raised.
        """
        with self._thread.done:
            return self._thread.result()


class _CallThread(threading.Thread):
    """Makes one call at a time for a thread that waits.

    One lock wakes this thread, another its caller, and each of them does nothing more before it waits: a healthy turn
    pays for every step here, because both need the interpreter.
    """

    def __init__(self) -> None:
        super().__init__(name="zwaif-plugin", daemon=True)
        self._go, self.done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self.done.acquire()
        self._left = False
        self._function: Callable[..., Any] = _nothing
        self._args: tuple[Any, ...] = ()
        self._outcome: Any = None
        self._error: BaseException | None = None
        self.start()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> Any:
        self._function, self._args = function, args
        self._go.release()
        ended = False
        try:
            ended = self.done.acquire(True, seconds)
        finally:
            self._left = not ended  # late, or Ctrl+C
        if not ended:
            raise StillRunning(seconds, self)
        return self.result()

    def result(self) -> Any:
        """Return or raise what came of the call, and be there for the next one."""
        outcome, error = self._outcome, self._error
        self._function, self._args, self._outcome, self._error = _nothing, (), None, None
        if not self._left:
            _idle.append(self)
        if error is not None:
            raise error
        return outcome

    def run(self) -> None:
        _thread.is_in_a_plugin = True
        go, done = self._go, self.done
        while True:
            if go.acquire(True, IDLE_SECONDS):
                try:
                    self._outcome = self._function(*self._args)
                except BaseException as error:
                    self._error = error
                done.release()
            elif (self._left and go.locked()) or self._retires():
                return

    def _retires(self) -> bool:
        """Return False if a call is under way after all."""
        try:
            _idle.remove(self)
        except ValueError:
            return False
        return True


def _nothing() -> None:
    """Stand for the next call."""


_idle: list[_CallThread] = []
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_idle.clear)
