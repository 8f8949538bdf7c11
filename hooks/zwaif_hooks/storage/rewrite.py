"""Gives a file of the user new content and keeps everything else: owner, mode, ACL, attributes, hard links.

If a new file can have all of that, it replaces the old one in one step, and a kill leaves one or the other. If not (a
second hard link, an owner or attribute that cannot be set), the old file is overwritten, with a copy of the new content
beside it meanwhile: the next change completes what a kill interrupted.
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
"""Seconds after which a temporary file was left behind by a killed process."""
_SAME_MOMENT = 2.0
"""Seconds of tolerance between a copy and the write it belongs to, because file systems round times."""
_logger = logging.getLogger("zwaif")


def rewrite(path: Path, data: bytes, is_unchanged: Callable[[], bool]) -> bool:
    """Write ``data`` to ``path``. A new file is readable by its owner only.

    Args:
        is_unchanged: called right before; if it returns False, nothing is written.

    Returns:
        Whether it was written.

    Raises:
        OSError: impossible; the file is unchanged.
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
    """Complete an overwrite of ``path`` during which a process was killed. The caller must hold the file's lock.

    Raises:
        OSError: impossible.
    """
    copy = path.with_name(path.name + UNFINISHED)
    if not copy.exists():
        return
    if path.exists() and path.stat().st_mtime - copy.stat().st_mtime < _SAME_MOMENT:
        _write_over(path, copy.read_bytes(), copy)
    else:  # the file was changed since
        files.remove(copy)


if sys.platform == "linux":

    def _give_all(path: Path, temporary: Path) -> bool:
        """Copy everything but the content to the new file. Return whether that succeeded."""
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
        """Return whether the new file has everything the old one has."""
        return path.stat().st_nlink == 1 and _marks(path) == _marks(temporary)

    def _marks(path: Path) -> object:
        """Return what a new file in that folder does not have by default: attributes, and an ACL of its own.

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
        """Return False: on macOS Python cannot read everything a file has, so it is overwritten."""
        return False


def _write_over(path: Path, data: bytes, temporary: Path) -> None:
    """Overwrite in one write, which no kill cuts within a page; shorter data is padded with empty lines, then cut."""
    before = path.read_bytes()
    copy = path.with_name(path.name + UNFINISHED)
    if temporary != copy:
        files.replace(temporary, copy)
    with files.retry_while_open(lambda: path.open("r+b", buffering=0)) as file:
        try:
            _write_all(file.fileno(), data.ljust(len(before), b"\n"))
        except OSError:  # mostly a full disk: the old content fits
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
    """Remove temporary files of a process that was killed while it wrote."""
    for leftover in path.parent.glob(f"{path.name}*{TEMPORARY}"):
        try:
            if time.time() - leftover.stat().st_mtime > _OLD_SECONDS:
                leftover.unlink()
        except OSError as error:
            _logger.debug("Could not remove %s: %s", leftover, error)
