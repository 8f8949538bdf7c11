"""Leaving a process at once, whatever native code is doing, without leaving files behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from typing import NoReturn

_works: list[Callable[[], None]] = []


def before_leaving(work: Callable[[], None]) -> None:
    """Have ``work`` done by :func:`leave`. It must be quick and may use nothing that another thread may hold."""
    _works.append(work)


def leave(status: int = 0) -> NoReturn:
    """End the process without unwinding it: destructors of native code that is busy crash or wait for minutes."""
    try:
        for work in _works:
            with contextlib.suppress(OSError):  # the process ends: a file that stays is nobody's trouble now
                work()
    finally:
        _end(status)


if sys.platform == "win32":

    def _end(status: int) -> NoReturn:
        """Windows' ``_exit`` still has each DLL clean up, after all other threads were ended wherever they were."""
        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.TerminateProcess.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        kernel32.TerminateProcess(ctypes.c_void_p(-1), status)  # -1: this process
        os._exit(status)

else:
    _end = os._exit
