"""Folders for sockets that only this user may enter, and their removal."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

NAME = "llama.sock"
"""Of the socket in its folder; llama.cpp knows a Unix socket by the ending."""
_PREFIX = "zwaif-llama-"
_LONGEST = 100
"""Bytes of a socket's path; macOS takes 103."""


def available() -> bool:
    """Python on Windows has none."""
    return sys.platform != "win32"


def new_folder() -> Path | None:
    """An empty folder, entered by this user only; None where sockets have no path here or it would be too long."""
    if not available():
        return None
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(os.fsencode(folder / NAME)) <= _LONGEST:
        return folder
    folder.rmdir()
    return None


def remove_leftovers() -> None:
    """Take away folders of workers that were killed: nobody listens on their sockets any more."""
    if sys.platform != "win32":
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another user's, or gone by now
                if folder.stat().st_uid == os.getuid() and not _somebody_listens(folder / NAME):
                    shutil.rmtree(folder, ignore_errors=True)


def connect(path: str, timeout: float) -> socket.socket:
    """A socket connected to the one at ``path``; ``timeout`` is in seconds, for this and for what follows.

    Raises:
        OSError: nobody listens there, or there are no such sockets.
    """
    if sys.platform != "win32":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection
    else:
        raise OSError("Python on Windows has no sockets with a path")


def _somebody_listens(path: Path) -> bool:
    """Also True while a server is only about to listen there."""
    try:
        connect(str(path), timeout=1.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True
