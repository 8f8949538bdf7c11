"""What a worker process hangs on: when its parent ends, however that happens, the system ends the worker.

The end of the worker's pipe is not enough for that. A library that loads a model may hold Python's interpreter for
minutes, and as long no thread of ours notices anything. On Windows the worker is in a job that is closed with its last
handle, together with the process that a virtual environment's ``python.exe`` starts. Elsewhere it holds one end of a
second pipe, on which nothing is ever written: the kernel signals its end.
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import weakref
from typing import Any

logger = logging.getLogger(__name__)

VARIABLE = "ZWAIF_LIFELINE"
"""Names the worker's end of the pipe: descriptor and inode, as a wrapper script may have used the number for a file."""

if sys.platform == "win32":
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateJobObjectW.restype = _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.CreateJobObjectW.argtypes = [wintypes.LPVOID, wintypes.LPCWSTR]
    _kernel32.SetInformationJobObject.argtypes = [wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD]
    _kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    _kernel32.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    _kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    _EXTENDED_LIMITS = 9
    _KILL_ON_JOB_CLOSE = 0x2000
    _SET_QUOTA_AND_TERMINATE = 0x101

    class _Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; only the flags are used."""

        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", wintypes.DWORD),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("classes", wintypes.DWORD * 2),
            ("transfers", ctypes.c_uint64 * 6),
            ("memory", ctypes.c_size_t * 4),
        )

    class ParentTie:
        """The parent's end, for one worker."""

        def __init__(self) -> None:
            self.popen: dict[str, Any] = {}
            """Arguments for ``subprocess.Popen``."""
            self.environment: dict[str, str] = {}
            """Variables for the worker."""
            limits = _Limits(flags=_KILL_ON_JOB_CLOSE)
            self._job = _checked(_kernel32.CreateJobObjectW(None, None))
            self.cut = weakref.finalize(self, _kernel32.CloseHandle, self._job)
            """End the worker. May be called again."""
            size = ctypes.sizeof(limits)
            _checked(_kernel32.SetInformationJobObject(self._job, _EXTENDED_LIMITS, ctypes.byref(limits), size))

        def hold(self, process: subprocess.Popen[bytes]) -> None:
            """Tie ``process``, just started. What it starts itself is tied to it by the redirector or by this job."""
            try:
                handle = _checked(_kernel32.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, process.pid))
                try:
                    _checked(_kernel32.AssignProcessToJobObject(self._job, handle))
                finally:
                    _kernel32.CloseHandle(handle)
            except OSError as error:  # it has ended already, or nothing may be put into a job here
                logger.warning("The worker ends with its pipe only: %s", error)

    def end_with_parent() -> None:
        """Nothing to do on the worker's side: its parent holds it."""

    def _checked(result: Any) -> Any:
        if not result:
            raise ctypes.WinError(ctypes.get_last_error())
        return result

else:
    import fcntl
    import select
    import signal
    import stat

    class ParentTie:
        """The parent's end, for one worker."""

        def __init__(self) -> None:
            far, near = os.pipe()
            self.popen: dict[str, Any] = {"pass_fds": (far,)}
            """Arguments for ``subprocess.Popen``."""
            self.environment = {VARIABLE: f"{far}:{os.fstat(far).st_ino}"}
            """Variables for the worker."""
            self._close_far = weakref.finalize(self, os.close, far)
            self.cut = weakref.finalize(self, os.close, near)
            """End the worker. May be called again."""

        def hold(self, process: subprocess.Popen[bytes]) -> None:
            """``process`` has its end now."""
            self._close_far()

    def end_with_parent() -> None:
        """The worker's side: end as soon as nobody holds the other end. Does nothing without a lifeline."""
        pipe = _lifeline()
        if pipe is None:
            return
        # Straight to the C library's _exit: a handler of Python's would wait for the interpreter. The default action
        # of this signal ends a process on Linux, but not on macOS.
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(signal.SIGIO, ctypes.cast(libc._exit, ctypes.c_void_p))
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | fcntl.FASYNC)
        if select.select([pipe], [], [], 0)[0]:
            os._exit(0)  # it was cut before the signal was asked for

    def _lifeline() -> int | None:
        number, _, inode = os.environ.pop(VARIABLE, "").partition(":")
        try:
            found = os.fstat(int(number))
        except (ValueError, OSError):
            return None
        return int(number) if stat.S_ISFIFO(found.st_mode) and str(found.st_ino) == inode else None
