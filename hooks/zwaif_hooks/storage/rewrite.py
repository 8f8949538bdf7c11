"""New content for a file of the user's of which everything else stays: owner, mode, ACL, attributes, hard links.

Where a new file can be given all of that, it takes the old one's place in one step, so that a kill leaves the one or
the other. Where it cannot (a second hard link, an owner or an attribute that may not be given), the old file is written
over, and a copy of what it is to hold lies beside it meanwhile: the next change finishes what a kill interrupted.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from zwaif_hooks.storage import files

TEMPORARY, UNFINISHED = ".zwaif-tmp", ".zwaif-unfinished"
_OLD_SECONDS = 60.0
"""A temporary file this old belongs to nobody who is still writing."""
_SAME_MOMENT = 2.0
"""Seconds between a copy and the write that it was made for: file systems round."""
_logger = logging.getLogger("zwaif")


def rewrite(path: Path, data: bytes, is_unchanged: Callable[[], bool]) -> bool:
    """Make ``data`` the content of ``path``. A new file is readable by its owner only.

    Args:
        is_unchanged: asked right before; where it says False nothing is done.

    Returns:
        Whether it was done.

    Raises:
        OSError: not possible; the file holds what it held.
    """
    _remove_leftovers(path)
    descriptor, name = tempfile.mkstemp(prefix=path.name, suffix=TEMPORARY, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        takes_its_place = not path.exists() or _give_all(path, temporary)
        if not is_unchanged():
            files.remove(temporary)
            return False
        if takes_its_place:
            files.replace(temporary, path)
        else:
            _write_over(path, data, temporary)
        return True
    except BaseException:
        files.remove(temporary)
        raise


def finish(path: Path) -> None:
    """Finish what a process was killed at while it wrote over ``path``. For the holder of the file's lock.

    Raises:
        OSError: not possible.
    """
    copy = path.with_name(path.name + UNFINISHED)
    if not copy.exists():
        return
    if path.exists() and path.stat().st_mtime - copy.stat().st_mtime < _SAME_MOMENT:
        _write_over(path, copy.read_bytes(), copy)
    else:  # Somebody has changed the file since.
        files.remove(copy)


if sys.platform == "linux":

    def _give_all(path: Path, temporary: Path) -> bool:
        """Whether the new file now has all that the old one has but its content."""
        old, new = path.stat(), temporary.stat()
        try:
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                os.chown(temporary, old.st_uid, old.st_gid)
            shutil.copymode(path, temporary)
            has = {attribute: os.getxattr(temporary, attribute) for attribute in os.listxattr(temporary)}
            for attribute in os.listxattr(path):
                value = os.getxattr(path, attribute)
                if has.get(attribute) != value:
                    os.setxattr(temporary, attribute, value)
        except OSError as error:
            _logger.debug("%s cannot be given to a new file (%s): it is written over", path, error)
            return False
        return old.st_nlink == 1

elif sys.platform == "win32":
    _MARKS = stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_SYSTEM | stat.FILE_ATTRIBUTE_ENCRYPTED
    _DACL = 4
    """DACL_SECURITY_INFORMATION"""

    def _give_all(path: Path, temporary: Path) -> bool:
        """Whether the old one has nothing that the new one lacks."""
        return path.stat().st_nlink == 1 and _marks(path) == _marks(temporary)

    def _marks(path: Path) -> object:
        """What a file in that folder does not have by itself: attributes, and an ACL of its own.

        https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-getfilesecurityw
        """
        import ctypes

        get = ctypes.WinDLL("advapi32").GetFileSecurityW
        needed = ctypes.c_ulong()
        get(str(path), _DACL, None, 0, ctypes.byref(needed))
        acl = ctypes.create_string_buffer(needed.value)
        found = get(str(path), _DACL, acl, needed.value, ctypes.byref(needed))
        return path.stat().st_file_attributes & _MARKS, acl.raw if found else None

else:

    def _give_all(path: Path, temporary: Path) -> bool:
        """On macOS nobody tells Python what a file has: it is written over."""
        return False


def _write_over(path: Path, data: bytes, temporary: Path) -> None:
    """In one write, which no kill cuts within a page; what is shorter ends in empty lines until the file is cut."""
    before = path.read_bytes()
    copy = path.with_name(path.name + UNFINISHED)
    if temporary != copy:
        files.replace(temporary, copy)
    with files.patiently(lambda: path.open("r+b", buffering=0)) as file:
        try:
            _write_all(file.fileno(), data.ljust(len(before), b"\n"))
        except OSError:  # The disk is full, most often: what was there fits.
            _write_all(file.fileno(), before)
            os.ftruncate(file.fileno(), len(before))
            files.remove(copy)
            raise
        os.ftruncate(file.fileno(), len(data))
        os.fsync(file.fileno())
    files.remove(copy)


def _write_all(descriptor: int, data: bytes) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]


def _remove_leftovers(path: Path) -> None:
    """Temporary files of a process that was killed while it wrote."""
    for leftover in path.parent.glob(f"{path.name}*{TEMPORARY}"):
        try:
            if time.time() - leftover.stat().st_mtime > _OLD_SECONDS:
                leftover.unlink()
        except OSError as error:
            _logger.debug("Could not remove %s: %s", leftover, error)
