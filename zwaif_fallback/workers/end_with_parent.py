"""Makes the operating system end a worker process when its parent ends, however that happens.

Noticing the closed request pipe is not enough: a library that loads a model may hold Python's interpreter for minutes,
and until then no Python thread runs. On Windows the worker is in a job object that is closed with its last handle, as
is the process that the ``python.exe`` of a virtual environment starts. Elsewhere the worker holds one end of a second
pipe, to which nothing is ever written: the kernel sends a signal when the other end is closed.
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
"""The worker's end of the pipe, as descriptor and inode: a wrapper script may have reused the number for a file."""

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
        """The parent's side, for one worker."""

        def __init__(self) -> None:
            self.popen: dict[str, Any] = {}
            """Arguments for ``subprocess.Popen``."""
            self.environment: dict[str, str] = {}
            """Environment variables for the worker."""
            limits = _Limits(flags=_KILL_ON_JOB_CLOSE)
            self._job = _checked(_kernel32.CreateJobObjectW(None, None))
            self.cut = weakref.finalize(self, _kernel32.CloseHandle, self._job)
            """End the worker. May be called more than once."""
            size = ctypes.sizeof(limits)
            _checked(_kernel32.SetInformationJobObject(self._job, _EXTENDED_LIMITS, ctypes.byref(limits), size))

        def hold(self, process: subprocess.Popen[bytes]) -> None:
            """Put the newly started ``process`` into the job. Processes that it starts belong to it too."""
            try:
                handle = _checked(_kernel32.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, process.pid))
                try:
                    _checked(_kernel32.AssignProcessToJobObject(self._job, handle))
                finally:
                    _kernel32.CloseHandle(handle)
            except OSError as error:  # it has already exited, or jobs are not allowed here
                logger.warning("The worker only ends when its pipe is closed: %s", error)

    def end_with_parent() -> None:
        """Nothing to do in the worker: it is in the parent's job."""

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
        """The parent's side, for one worker."""

        def __init__(self) -> None:
            far, near = os.pipe()
            self.popen: dict[str, Any] = {"pass_fds": (far,)}
            """Arguments for ``subprocess.Popen``."""
            if sys.version_info >= (3, 11):  # Ctrl+C in the terminal is for the parent; a session would undo ``nice``
                self.popen["process_group"] = 0
            self.environment = {VARIABLE: f"{far}:{os.fstat(far).st_ino}"}
            """Environment variables for the worker."""
            self._close_far = weakref.finalize(self, os.close, far)
            self.cut = weakref.finalize(self, os.close, near)
            """End the worker. May be called more than once."""

        def hold(self, process: subprocess.Popen[bytes]) -> None:
            """Close our copy of the end that ``process`` has inherited."""
            self._close_far()

    def end_with_parent() -> None:
        """End this process as soon as the parent's end is closed. Does nothing if there is no such pipe."""
        pipe = _lifeline()
        if pipe is None:
            return
        # The handler is C's _exit: a Python handler would wait for the interpreter. The signal's default action ends
        # the process on Linux, but not on macOS.
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(signal.SIGIO, ctypes.cast(libc._exit, ctypes.c_void_p))
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | fcntl.FASYNC)
        if select.select([pipe], [], [], 0)[0]:
            os._exit(0)  # it was closed before the signal was set up

    def _lifeline() -> int | None:
        number, _, inode = os.environ.pop(VARIABLE, "").partition(":")
        try:
            found = os.fstat(int(number))
        except (ValueError, OSError):
            return None
        return int(number) if stat.S_ISFIFO(found.st_mode) and str(found.st_ino) == inode else None
