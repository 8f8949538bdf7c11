"""A Windows in a folder: where its parts lie, and how a program of it is run."""

from __future__ import annotations

import functools
import io
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

WINE = "/usr/lib/wine/wine64"
PYTHON = r"C:\Python311\python.exe"
_LIMITS = {
    "KMP_AFFINITY": "disabled",  # torch's OpenMP asks for NUMA masks
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN takes AMX for granted where the processor has it; Wine does not pass it on
}
"""What Wine 8 lacks, and how libraries are told to do without."""
_OVERRIDES = (
    "mscoree,mshtml=",  # offers to download .NET and a browser
    "winemenubuilder.exe=d",
    # What Microsoft's compiler made waits seconds for the mutexes of Wine's own: a GGUF model loads in 13 s, not 1.
    "msvcp140,vcomp140,concrt140,vcruntime140,vcruntime140_1=n,b",
)
"""DLLs that are not to be Wine's own; ``n`` is the one on the disk, which ``making`` brings."""
_NOT_THEIRS = ("PYTHON", "PIP_", "VIRTUAL_ENV", "API_FALLBACK_", "ZWAIF_", "HF_")
"""Beginnings of variables that mean this machine's Python, not the one in Windows."""


@dataclass(frozen=True)
class Ended:
    """How a program ended. ``status`` is None where it ran out of time and was stopped."""

    status: int | None
    output: str


@dataclass(frozen=True)
class Windows:
    """One prefix of Wine's with a Python in it."""

    folder: Path

    @property
    def drive(self) -> Path:
        """What Windows calls ``C:``."""
        return self.folder / "prefix" / "drive_c"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_THEIRS)}
        return {
            **kept,
            **_LIMITS,
            "LC_ALL": "C.UTF-8",  # Wine reads the names of files by it
            "WINEPREFIX": str(self.folder / "prefix"),
            "WINEARCH": "win64",
            "WINELOADER": WINE,
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": ";".join(_OVERRIDES),
        }

    def path(self, file: Path) -> str:
        """How Windows names a file of this machine."""
        if file.is_relative_to(self.drive):
            return str(PureWindowsPath("C:/", *file.relative_to(self.drive).parts))
        return str(PureWindowsPath("Z:/", *file.parts[1:]))

    def run(
        self,
        *command: str | Path,
        limit: float,
        cwd: Path | None = None,
        said: str = "",
        **environment: str,
    ) -> Ended:
        """Run a program for at most ``limit`` seconds; ``said`` is its standard input.

        Wine 8 cannot use a plain file as a standard handle, so all three are pipes.
        """
        words = [self.path(word) if isinstance(word, Path) else word for word in command]
        child = subprocess.Popen(
            [WINE, *words],
            cwd=cwd or self.drive,
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert isinstance(child.stdout, io.BufferedReader) and child.stdin  # both are pipes
        read = functools.partial(child.stdout.read1, 65536)
        heard: list[bytes] = []
        listener = threading.Thread(target=lambda: heard.extend(iter(read, b"")), daemon=True)
        listener.start()
        try:
            child.stdin.write(said.encode("cp1252", "replace"))
            child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(child.pid, signal.SIGKILL)
        listener.join(5)  # a program that outlived its parent may hold the pipe
        return Ended(status, _text(b"".join(heard)))


def _text(output: bytes) -> str:
    """Programs write UTF-8, or the code page of Western Europe."""
    try:
        return output.decode("utf-8")
    except UnicodeDecodeError:
        return output.decode("cp1252", "replace")
