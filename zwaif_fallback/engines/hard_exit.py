"""End a process at once, whatever native code is doing, without leaving files behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from typing import NoReturn

_works: list[Callable[[], None]] = []


def before_leaving(work: Callable[[], None]) -> None:
    """Register ``work`` for :func:`leave`. It must be quick and must not wait for anything that a thread may hold."""
    _works.append(work)


def leave(status: int = 0) -> NoReturn:
    """End the process without unwinding it: destructors of busy native code crash, or wait for minutes."""
    try:
        for work in _works:
            with contextlib.suppress(OSError):  # the process ends, so nobody could handle a file that stays
                work()
    finally:
        _end(status)


if sys.platform == "win32":

    def _end(status: int) -> NoReturn:
        """End the process: Windows' ``_exit`` would still run each DLL's clean-up after killing all other threads."""
        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.TerminateProcess.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        kernel32.TerminateProcess(ctypes.c_void_p(-1), status)  # -1: this process
        os._exit(status)

else:
    _end = os._exit
