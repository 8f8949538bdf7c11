"""Makes a Windows to test on from Debian's packages and the Python package index, and nothing else.

There is no Windows Python on the index, but all of its parts are: panda3d's wheel for Windows brings the Python DLL and
the compiled modules of the standard library, msvc-runtime the C++ runtime. The rest of the library is the same on every
system and is taken from this machine's Python 3.11. What is missing then is a handful of tiny programs (``programs/``).

Each step looks first whether its work is done, so making it again costs a second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tools.windows.windows import PYTHON, WINE, Windows

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64", "python3.11", "python3.11-venv")
"""Of Debian 12, whose Wine is 8.0."""
PANDA = "panda3d==1.10.16"
"""Brings CPython 3.11.9 for Windows."""
RUNTIME = "msvc-runtime"
_COMPILER = ("x86_64-w64-mingw32-gcc", "-O2", "-Wall", "-municode", "-static-libgcc")
_OF_LINUX = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "idlelib", "lib-dynload", "config-3*", "_sysconfigdata*",
    "*.so", "__pycache__", "sitecustomize.py", "EXTERNALLY-MANAGED",
)  # fmt: skip


_NO_LINKS = """import os


def symlink(src, dst, target_is_directory=False, *, dir_fd=None):
    error = "A required privilege is not held by the client"
    raise OSError(22, error, os.fspath(src), 1314, os.fspath(dst))


os.symlink = symlink
"""
"""Wine 8 says that it made a link and makes none; a Windows whose user lacks the privilege says so."""


class CannotBeMade(Exception):
    """The text says what is missing."""


def make(windows: Windows) -> None:
    """Make what is missing of it.

    Raises:
        CannotBeMade: a tool is missing that cannot be installed from here.
    """
    windows.folder.mkdir(parents=True, exist_ok=True)
    for step in (_debian, _prefix, _python, _library, _programs, _launcher):
        step(windows)
    ended = windows.run(
        PYTHON, "-c", "import _overlapped, ctypes, pip, sqlite3, ssl, sys; print(sys.version)", limit=120
    )
    if ended.status:
        raise CannotBeMade(f"The Python in {windows.folder} does not start:\n{ended.output}")


def fetch(target: Path, *requirements: str, alone: bool = False) -> None:
    """Bring wheels for Windows into ``target``, with all that they need unless ``alone``.

    Settings of this machine's pip that pin or find packages for Linux are not asked.
    """
    ours = {name: value for name, value in os.environ.items() if name not in ("PIP_CONSTRAINT", "PIP_FIND_LINKS")}
    subprocess.run(
        [
            *("python3.11", "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--dest", str(target)),
            *("--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp"),
            *("--only-binary", ":all:"),
            *(("--no-deps",) if alone else ()),
            *requirements,
        ],
        check=True,
        env={**ours, "PIP_CONSTRAINT": ""},
    )


def _debian(windows: Windows) -> None:
    missing = [name for name in PACKAGES if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]
    if shutil.which("python3.11"):  # any will do
        missing = [name for name in missing if not name.startswith("python")]
    if not missing:
        return
    if os.geteuid() != 0:
        raise CannotBeMade(f"Install these packages first: sudo apt-get install {' '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
    subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", *missing], check=True, env=quiet)


def _prefix(windows: Windows) -> None:
    if windows.drive.exists() and (windows.folder / "prefix" / "system.reg").exists():
        return
    windows.drive.parent.mkdir(exist_ok=True)
    subprocess.run([WINE, "wineboot.exe", "-i"], env=windows.environment, capture_output=True, check=False)
    registry(windows, r"HKCU\Software\Wine", "Version", "win10")  # Wine 8 begins as Windows 7
    registry(windows, r"HKCU\Environment", "PATH", r"C:\Python311;C:\Python311\Scripts")


def registry(windows: Windows, key: str, name: str, value: str) -> None:
    """Write one text into the registry."""
    windows.run("reg.exe", "add", key, "/v", name, "/d", value, "/f", limit=120)


def _unpacked(windows: Windows, requirement: str, part: str) -> Iterable[tuple[str, bytes]]:
    """Names and contents of the files in the folder ``part`` of a wheel."""
    wheels = windows.folder / "made-of"
    name = requirement.partition("==")[0].replace("-", "_")
    if not list(wheels.glob(f"{name}-*")):
        fetch(wheels, requirement, alone=True)
    (wheel,) = wheels.glob(f"{name}-*")
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            if f"/{part}/" in f"/{entry}" and not entry.endswith("/"):
                yield entry.rpartition("/")[2], archive.read(entry)


def _python(windows: Windows) -> None:
    """The DLLs. The C++ part of the runtime goes where its own installer puts it: Python brings only the C part."""
    home, system = windows.drive / "Python311", windows.drive / "windows" / "system32"
    if (home / "python311.dll").exists():
        return
    (home / "DLLs").mkdir(parents=True, exist_ok=True)
    for name, content in _unpacked(windows, RUNTIME, "Scripts"):
        if name.startswith("vcruntime140"):
            (home / name).write_bytes(content)
        elif name.startswith(("msvcp140", "concrt140", "vcomp140")):
            (system / name).write_bytes(content)
    libraries = ("libffi-8.dll", "libcrypto-3.dll", "libssl-3.dll", "sqlite3.dll", "tcl86t.dll", "tk86t.dll")
    for name, content in _unpacked(windows, PANDA, "deploy_libs"):
        if name == "python311.dll":
            (home / name).write_bytes(content)
        elif name.endswith(".pyd") or name in libraries:
            (home / "DLLs" / name).write_bytes(content)


def _library(windows: Windows) -> None:
    target = windows.drive / "Python311" / "Lib"
    if (target / "site-packages" / "pip").exists():
        return
    source = subprocess.check_output(["python3.11", "-c", "import os; print(os.path.dirname(os.__file__))"], text=True)
    shutil.copytree(source.strip(), target, ignore=_OF_LINUX, dirs_exist_ok=True)
    _mend_for_3_11_9(target)
    (target / "sitecustomize.py").write_text(_NO_LINKS, encoding="utf-8")
    bundled = target / "ensurepip" / "_bundled"
    bundled.mkdir(parents=True, exist_ok=True)
    if not list(bundled.glob("pip-*")):  # Debian's is without
        code = "import ensurepip as e; print(f'pip=={e._PIP_VERSION} setuptools=={e._SETUPTOOLS_VERSION}')"
        fetch(bundled, *subprocess.check_output(["python3.11", "-c", code], text=True).split(), alone=True)
    for wheel in bundled.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target / "site-packages")
    scripts = target / "venv" / "scripts" / "nt"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "activate.bat").write_text('@set "VIRTUAL_ENV=__VENV_DIR__"\n@set "PATH=__VENV_DIR__\\Scripts;%PATH%"\n')


def _mend_for_3_11_9(library: Path) -> None:
    """The DLL is that of 3.11.9, which calls one function as a class method that was none before 3.11.8."""
    file = library / "importlib" / "metadata" / "__init__.py"
    text = file.read_text(encoding="utf-8")
    before, after = "    def invalidate_caches(cls)", "    @classmethod\n    def invalidate_caches(cls)"
    if after not in text:
        file.write_text(text.replace(before, after), encoding="utf-8")


def _programs(windows: Windows) -> None:
    home = windows.drive / "Python311"
    scripts = home / "Lib" / "venv" / "scripts" / "nt"
    for target, source, *options in (
        (home / "python.exe", "python.c"),
        (home / "pythonw.exe", "python.c", "-mwindows"),
        (scripts / "python.exe", "start_python.c", "-DVENV"),
        (scripts / "pythonw.exe", "start_python.c", "-DVENV", "-DWINDOWED", "-mwindows"),
        (windows.drive / "windows" / "py.exe", "start_python.c"),
        (windows.drive / "windows" / "system32" / "bcryptprimitives.dll", "process_prng.c", "-shared", "-lbcrypt"),
    ):
        libraries = [option for option in options if option.startswith("-l")]
        options = [option for option in options if option not in libraries]
        if not target.exists() or target.stat().st_mtime < (PROGRAMS / source).stat().st_mtime:
            target.unlink(missing_ok=True)  # wineboot puts a stand-in of its own at the place of some
            subprocess.run([*_COMPILER, *options, str(PROGRAMS / source), "-o", str(target), *libraries], check=True)


def _launcher(windows: Windows) -> None:
    """``python3.dll``, which modules for any Python 3 ask for: its names lead to those in ``python311.dll``."""
    home = windows.drive / "Python311"
    if (home / "python3.dll").exists():
        return
    listing = subprocess.check_output(["x86_64-w64-mingw32-objdump", "-p", str(home / "python311.dll")], text=True)
    names = [line.split()[-1] for line in listing.partition("[Ordinal/Name Pointer]")[2].splitlines() if "[" in line]
    made = windows.folder / "made-of"
    exports = [f"  {name} = python311.{name}" for name in names if name.lstrip("_").startswith("Py")]
    (made / "python3.def").write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *exports, ""]))
    (made / "python3.c").write_text("int start(void *module, unsigned why, void *more) { return 1; }\n")
    sources = [str(made / "python3.c"), str(made / "python3.def")]
    subprocess.run(
        [_COMPILER[0], "-shared", "-nostdlib", "-e", "start", *sources, "-o", str(home / "python3.dll")], check=True
    )
