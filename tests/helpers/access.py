"""Rights to files, on every system: what others may do with a file or folder of a test."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _DACL, _REVISION = 0x4, 1
    _OWN = "(A;OICI;FA;;;SY)(A;OICI;FA;;;OW)(A;OICI;FA;;;{me})"
    _EVERYBODY = "(A;OICI;FA;;;WD)"

    def let_others_write(path: Path, allowed: bool = True) -> None:
        """Let every user of this computer change ``path``, or only its owner and the system."""
        from zwaif_hooks.storage.ownership import _own_sid

        text = f"D:P{_OWN.format(me=_own_sid())}{_EVERYBODY if allowed else ''}"
        made = wintypes.LPVOID()
        convert = _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
        assert convert(ctypes.c_wchar_p(text), _REVISION, ctypes.byref(made), None), ctypes.get_last_error()
        assert _advapi32.SetFileSecurityW(ctypes.c_wchar_p(str(path)), _DACL, made), ctypes.get_last_error()
        ctypes.windll.kernel32.LocalFree(made)

else:

    def let_others_write(path: Path, allowed: bool = True) -> None:
        """Let every user of this computer change ``path``, or only its owner."""
        mode = path.stat().st_mode
        path.chmod(mode | 0o002 if allowed else mode & ~0o002)
