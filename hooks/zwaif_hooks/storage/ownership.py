"""Who can change a file of code: one that other users of this computer can change is not run.

Sources: https://learn.microsoft.com/windows/win32/secauthz/access-control-lists,
https://learn.microsoft.com/windows/win32/fileio/file-access-rights-constants,
https://learn.microsoft.com/windows-server/identity/ad-ds/manage/understand-security-identifiers.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_ADD_OR_WRITE = 0x2 | 0x4
"""FILE_WRITE_DATA and FILE_APPEND_DATA of a file; of a folder, the right to put files and folders into it."""
_REPLACE = 0x40 | 0x10000 | 0x40000 | 0x80000 | 0x10000000
"""FILE_DELETE_CHILD, DELETE, WRITE_DAC, WRITE_OWNER, GENERIC_ALL: enough to put another folder in its place."""
_CHANGE = _ADD_OR_WRITE | _REPLACE | 0x40000000
"""With GENERIC_WRITE."""
_TRUSTED = frozenset(
    {
        "S-1-5-18",  # SYSTEM
        "S-1-5-32-544",  # Administrators
        "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",  # TrustedInstaller
        "S-1-3-0",  # CREATOR OWNER: whoever owns it, which is looked at
        "S-1-3-4",  # OWNER RIGHTS
    }
)


class Grant(NamedTuple):
    """What an access list allows somebody."""

    sid: str
    mask: int


def strangers(owner: str, grants: Iterable[Grant] | None, me: str, rights: int = _CHANGE) -> frozenset[str]:
    """Return who has one of these rights besides the system, administrators, and the user ``me``.

    Args:
        grants: None if there is no access list, which allows everybody everything.
    """
    everyone = Grant("S-1-1-0", rights)
    allowed = [everyone] if grants is None else grants
    return frozenset({owner, *(grant.sid for grant in allowed if grant.mask & rights)}) - _TRUSTED - {me}


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _out = wintypes.LPVOID
    _advapi32.GetNamedSecurityInfoW.argtypes = (wintypes.LPCWSTR, ctypes.c_int, wintypes.DWORD, *(_out,) * 5)
    _advapi32.GetAce.argtypes = (wintypes.LPVOID, wintypes.DWORD, _out)
    _advapi32.ConvertSidToStringSidW.argtypes = (wintypes.LPVOID, _out)
    _advapi32.OpenProcessToken.argtypes = (wintypes.HANDLE, wintypes.DWORD, _out)
    _advapi32.GetTokenInformation.argtypes = (wintypes.HANDLE, ctypes.c_int, _out, wintypes.DWORD, _out)
    _kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    _kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    _kernel32.LocalFree.argtypes = (wintypes.LPVOID,)
    _FILE_OBJECT, _OWNER_AND_DACL, _TOKEN_QUERY, _TOKEN_USER = 1, 0x5, 0x8, 1
    _ALLOWS = (0, 9)
    """ACCESS_ALLOWED_ACE_TYPE, and the one with a condition."""
    _INHERIT_ONLY = 0x8

    class _Acl(ctypes.Structure):
        _fields_ = (
            ("revision", wintypes.BYTE),
            ("unused", wintypes.BYTE),
            ("size", wintypes.WORD),
            ("count", wintypes.WORD),
            ("unused_too", wintypes.WORD),
        )

    class _Ace(ctypes.Structure):
        """ACCESS_ALLOWED_ACE."""

        _fields_ = (
            ("type", ctypes.c_ubyte),
            ("flags", ctypes.c_ubyte),
            ("size", wintypes.WORD),
            ("mask", wintypes.DWORD),
            ("sid", wintypes.DWORD),
        )

    def others_can_change(path: Path) -> str:
        """Return why another user of this computer could change this file or its folder; empty if none could.

        Who can change Python's own environment, too, is not counted: what is refused to them here they could do there.
        Windows lets every user change what is in a new folder of another drive.

        Raises:
            OSError: the access list of the file or of a folder cannot be read.
        """
        me = _own_sid()
        known = _strangers(Path(sys.prefix), me, _CHANGE)
        for place in (path, *path.parents):
            rights = _CHANGE if place in (path, path.parent) else _REPLACE
            if _strangers(place, me, rights) - known:
                return f"other users can change {place}"
        return ""

    def _strangers(place: Path, me: str, rights: int) -> frozenset[str]:
        owner, acl, descriptor = wintypes.LPVOID(), ctypes.POINTER(_Acl)(), wintypes.LPVOID()
        pointers = (ctypes.byref(owner), None, ctypes.byref(acl), None, ctypes.byref(descriptor))
        if code := _advapi32.GetNamedSecurityInfoW(str(place), _FILE_OBJECT, _OWNER_AND_DACL, *pointers):
            raise ctypes.WinError(code)
        try:
            return strangers(_text(owner), list(_grants(acl)) if acl else None, me, rights)
        finally:
            _kernel32.LocalFree(descriptor)

    def _grants(acl: ctypes._Pointer[_Acl]) -> Iterable[Grant]:
        ace = ctypes.POINTER(_Ace)()
        for number in range(acl.contents.count):
            _checked(_advapi32.GetAce(acl, number, ctypes.byref(ace)))
            found = ace.contents
            if found.type in _ALLOWS and not found.flags & _INHERIT_ONLY:
                yield Grant(_text(ctypes.addressof(found) + _Ace.sid.offset), found.mask)

    def _own_sid() -> str:
        token, needed = wintypes.HANDLE(), wintypes.DWORD()
        _checked(_advapi32.OpenProcessToken(_kernel32.GetCurrentProcess(), _TOKEN_QUERY, ctypes.byref(token)))
        try:
            user = (ctypes.c_void_p * 32)()  # TOKEN_USER begins with a pointer to the SID, which follows it
            size = ctypes.sizeof(user)
            _checked(_advapi32.GetTokenInformation(token, _TOKEN_USER, user, size, ctypes.byref(needed)))
            return _text(user[0])
        finally:
            _kernel32.CloseHandle(token)

    def _text(sid: object) -> str:
        written = wintypes.LPWSTR()
        _checked(_advapi32.ConvertSidToStringSidW(sid, ctypes.byref(written)))
        try:
            return written.value or ""
        finally:
            _kernel32.LocalFree(written)

    def _checked(done: int) -> None:
        if not done:
            raise ctypes.WinError(ctypes.get_last_error())

else:
    import os

    def others_can_change(path: Path) -> str:
        """Return why another user of this computer could change this file or its folder; empty if none could.

        Raises:
            OSError: the file or a folder above it cannot be examined.
        """
        for place in (path, *path.parents):
            found = place.stat()
            if found.st_uid not in (os.getuid(), 0):
                return f"{place} belongs to another user"
            # Nobody else can replace a subfolder of /tmp, but anybody can put a library beside a program there.
            sticky = found.st_mode & stat.S_ISVTX and place not in (path, path.parent)
            others = stat.S_IWOTH | (0 if found.st_gid in (os.getgid(), 0) else stat.S_IWGRP)
            if found.st_mode & others and not sticky:
                return f"other users can change {place}"
        return ""
