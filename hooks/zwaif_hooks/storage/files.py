"""Files that several programs use at once, and file names that are valid on every system.

On Windows a file cannot be replaced or removed while another program has it open, for example a virus scanner for a
tenth of a second (https://learn.microsoft.com/windows/win32/fileio/creating-and-opening-files: sharing modes). Some
names mean a device or another place there (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each retry to replace, remove or read a file that another program has open."""
LOCK_SECONDS = 5.0
"""How long to wait for another process of this package that is writing."""
_HELD = frozenset({5, 32, 33})
"""ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
_POLL_SECONDS = 0.002
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?", re.I | re.S)
_NOT_IN_A_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_T = TypeVar("_T")
_logger = logging.getLogger("zwaif")

Wait = Callable[[float], object]


class Busy(OSError):
    """Another process of this package keeps holding the lock of a file."""


def retry_while_open(act: Callable[[], _T], wait: Wait = time.sleep) -> _T:
    """Call ``act``; on Windows, retry while another program has the file open.

    Raises:
        OSError: what ``act`` raised, at once or in the last try.
    """
    for pause in PAUSES:
        try:
            return act()
        except OSError as error:
            if getattr(error, "winerror", None) not in _HELD:
                raise
            wait(pause)
    return act()


def in_use(error: BaseException) -> bool:
    """Return whether Windows says that another program has the file open."""
    return getattr(error, "winerror", None) in (32, 33)


def replace(source: Path, target: Path, wait: Wait = time.sleep) -> None:
    """Replace ``target`` with ``source`` in one step: a reader sees the old or the new file.

    Raises:
        OSError: impossible, or another program kept one of them open.
    """
    retry_while_open(lambda: source.replace(target), wait)


def remove(path: Path, wait: Wait = time.sleep) -> None:
    """Remove a file, which may be gone already.

    Raises:
        OSError: impossible, or another program kept it open.
    """
    retry_while_open(lambda: path.unlink(missing_ok=True), wait)


def write_atomically(path: Path, data: bytes, wait: Wait = time.sleep) -> None:
    """Write a file, and its folder if needed; a kill leaves the old or the new content.

    Raises:
        OSError: impossible; no half-written file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        replace(Path(name), path, wait)
    except BaseException:
        remove(Path(name), wait)
        raise


def append(path: Path, data: bytes, largest: int, older: Sequence[Path]) -> None:
    """Append to a file that several processes write; no line is lost or torn. Only its owner may read it.

    Args:
        largest: bytes after which the content moves to the first of ``older``, that one's to the next, and so on.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path))
            if path.exists() and path.stat().st_size + len(data) > largest:
                _move_on(path, older)
        except Busy as error:
            _logger.debug("%s is written without its lock: %s", path, error)
        with open(path, "ab", buffering=0, opener=_private) as file:
            file.write(data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _move_on(path: Path, older: Sequence[Path]) -> None:
    """Copy each file and then empty it: on Windows a file that a viewer has open cannot be renamed."""
    for source, target in reversed(list(pairwise([path, *older]))):
        if source.exists():
            with source.open("rb") as read, open(target, "wb", opener=_private) as written:
                shutil.copyfileobj(read, written)
    path.open("wb").close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file against other processes of this package. The lock ends with its holder, even if that is killed.

    If the lock cannot be created, continue without it.

    Raises:
        Busy: another process held the lock for :data:`LOCK_SECONDS`.
    """
    import filelock
    import platformdirs

    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:24]
    folder = Path(platformdirs.user_cache_dir("zwaif-fallback", appauthor=False)) / "locks"
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(folder / f"{name}.lock")
            held.enter_context(lock.acquire(timeout=LOCK_SECONDS, poll_interval=_POLL_SECONDS))
        except filelock.Timeout as error:
            raise Busy(f"another program holds {path}") from error
        except (OSError, NotImplementedError) as error:
            _logger.debug("Changing %s without a lock: %s", path, error)
        yield


def is_plain_name(name: str) -> bool:
    """Return whether this is a file name on every system, and not a path, drive, stream or device."""
    return bool(name) and not _NOT_IN_A_NAME.search(name) and name[-1] not in ". " and not _DEVICE.fullmatch(name)


def is_plain_path(path: str) -> bool:
    """Return whether this is a relative path on every system: plain names with ``/`` between them."""
    return all(is_plain_name(part) for part in path.split("/"))


def plain_name(text: str) -> str:
    """Return a file or folder name for ``text``: the text itself if it is valid on every system.

    ``"D:aux."`` becomes ``"D_aux_"``, ``"con"`` becomes ``"_con"``.
    """
    name = _NOT_IN_A_NAME.sub("_", text)
    name = re.sub(r"[. ]+\Z", lambda end: "_" * len(end[0]), name) or "_"
    return f"_{name}" if _DEVICE.fullmatch(name) else name
