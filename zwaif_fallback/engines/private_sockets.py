"""Create and remove folders for sockets that only this user may enter."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

NAME = "llama.sock"
"""Name of the socket in its folder; llama.cpp recognizes a Unix socket by the extension."""
_PREFIX = "zwaif-llama-"
_LONGEST = 100
"""Most bytes of a socket's path; macOS allows 103."""


def available() -> bool:
    """Return whether Python has Unix sockets here; on Windows it has none."""
    return sys.platform != "win32"


def new_folder() -> Path | None:
    """Return a new folder for this user only; None without Unix sockets, or if the path would be too long."""
    if not available():
        return None
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(os.fsencode(folder / NAME)) <= _LONGEST:
        return folder
    folder.rmdir()
    return None


def remove_leftovers() -> None:
    """Remove the folders of workers that were killed: nobody listens on their sockets any more."""
    if sys.platform != "win32":
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another user's, or already gone
                if folder.stat().st_uid == os.getuid() and not _is_listening(folder / NAME):
                    shutil.rmtree(folder, ignore_errors=True)


def connect(path: str, timeout: float) -> socket.socket:
    """Return a socket connected to ``path``, with ``timeout`` in seconds for this and all later calls.

    Raises:
        OSError: nobody listens there, or there are no Unix sockets.
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


def _is_listening(path: Path) -> bool:
    """Return whether a server listens, or is about to."""
    try:
        connect(str(path), timeout=1.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True
