"""Starts a program that goes on after Z-Waif has ended, with its output in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from zwaif_fallback.restart.start_command import StartCommand
from zwaif_hooks.storage import files

LARGEST_OUTPUT = 1_000_000
"""Bytes of the server's output that are kept; before a start, the older output moves to a second file."""


class Started:
    """A program that was started. It is never ended by us."""

    def __init__(self, command: StartCommand, output: Path, heading: str, folder: Path | None) -> None:
        """Start it.

        Args:
            output: the file for its output.
            heading: the line before its output.
            folder: where it runs, unless the command names a folder.

        Raises:
            OSError: it cannot be started.
        """
        older = [output.with_name(f"{output.name}.1")]
        files.append(output, f"{heading}\n".encode("utf-8", "backslashreplace"), LARGEST_OUTPUT, older)
        with _opened_to_append(output) as file:
            self._process = subprocess.Popen(
                command.arguments,
                cwd=command.folder or folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                close_fds=True,
                start_new_session=True,  # no Ctrl+C or hang-up of Z-Waif's console; not used on Windows
                creationflags=_DETACHED,
            )
        self._output = output
        threading.Thread(target=self._process.wait, name="zwaif-llm-server", daemon=True).start()  # no zombie is left

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def shorten_output(self) -> None:
        """Empty the file if it has become too large. Costs one ``stat`` if it has not.

        Raises:
            OSError: it cannot be read or written.
        """
        if self._output.stat().st_size > LARGEST_OUTPUT:
            os.truncate(self._output, 0)  # the program appends, so it goes on at the beginning


if sys.platform == "win32":
    import msvcrt

    # A new console without a window: the server's own child processes use it too. With DETACHED_PROCESS, each of them
    # would open a window.
    _DETACHED = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    _FILE_APPEND_DATA, _SHARED, _OPEN_ALWAYS, _NORMAL = 0x4, 0x7, 4, 0x80

    @contextlib.contextmanager
    def _opened_to_append(path: Path) -> Iterator[int]:
        """Python's own mode "a" is not passed on to a child process on Windows."""
        import _winapi

        handle = _winapi.CreateFile(str(path), _FILE_APPEND_DATA, _SHARED, 0, _OPEN_ALWAYS, _NORMAL, 0)
        descriptor = msvcrt.open_osfhandle(handle, os.O_APPEND)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

else:
    _DETACHED = 0

    @contextlib.contextmanager
    def _opened_to_append(path: Path) -> Iterator[int]:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
