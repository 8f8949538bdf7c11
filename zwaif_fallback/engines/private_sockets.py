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
    return sys.platform != "win32" and hasattr(socket, "AF_UNIX")


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
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*") if available() else ():
        with contextlib.suppress(OSError):  # another user's, or gone by now
            if folder.stat().st_uid == os.getuid() and not _somebody_listens(folder / NAME):
                shutil.rmtree(folder, ignore_errors=True)


def _somebody_listens(path: Path) -> bool:
    """Also True while a server is only about to listen there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
