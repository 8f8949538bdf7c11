"""Puts the package into a Windows as a user would: into a virtual environment in a folder with spaces and umlauts."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.windows.making import CannotBeMade, fetch, registry
from tools.windows.windows import PYTHON, Ended, Windows

ROOT = Path(__file__).parents[2]
USER = "Jürgen Müller"
NUMPY = "numpy==1.26.4"
"""Newer ones call ``crealf`` of the C runtime, which Wine 8 lacks."""
_ALONE = ("torch", "accelerate", "bitsandbytes")
"""Fetched without what they need: pip on Linux would fetch what torch needs there, Nvidia's libraries among it."""
_TORCH = (
    "torch==2.13.0",
    "sympy",
    "networkx",
    "fsspec",
    "typing_extensions",
    "jinja2",
    "filelock",
    "colorama",
    "tzdata",
)
"""The version known to work, and what it and others need on Windows."""
_INSTALL_LIMIT = 1800.0


@dataclass(frozen=True)
class Home:
    """The folders of the user in ``windows``."""

    windows: Windows

    @property
    def folder(self) -> Path:
        return self.windows.drive / "users" / USER

    @property
    def checkout(self) -> Path:
        return self.folder / "zwaif fallback"

    @property
    def zwaif(self) -> Path:
        """Stands for Z-Waif's own folder: the stand-in of the demo."""
        return self.folder / "Z-Waif für mich"

    @property
    def gguf(self) -> Path:
        return self.folder / "Modelle & mehr" / "Größe S.gguf"

    @property
    def scripts(self) -> Path:
        return self.zwaif / "venv" / "Scripts"

    def python(
        self, *arguments: str | Path, limit: float, said: str = "", cwd: Path | None = None, **env: str
    ) -> Ended:
        """The Python of the environment, in Z-Waif's folder unless told otherwise."""
        return self.windows.run(
            self.scripts / "python.exe", *arguments, limit=limit, said=said, cwd=cwd or self.zwaif, **env
        )


def install(home: Home, gguf: Path | None) -> None:
    """Bring the checkout as it is now, its requirements where they are not there yet, and a GGUF model.

    Args:
        home: where to.
        gguf: a model to copy; None makes a tiny one of the demo's.

    Raises:
        CannotBeMade: pip or the conversion failed; the text has what they said.
    """
    temporary = home.folder / "AppData" / "Local" / "Temp"
    temporary.mkdir(parents=True, exist_ok=True)
    for name in ("TEMP", "TMP"):
        registry(home.windows, r"HKCU\Environment", name, home.windows.path(temporary))
    _copy_checkout(home)
    home.zwaif.mkdir(parents=True, exist_ok=True)
    if not (home.scripts / "python.exe").exists():
        _must(home.windows.run(PYTHON, "-m", "venv", home.scripts.parent, limit=300))
    _requirements(home)
    _pip(home, "--no-deps", "--force-reinstall", _wheel(home))
    _model(home, gguf)
    code = (
        "import pathlib, sys; from zwaif_fallback.standin import copy_tree; "
        "copy_tree(pathlib.Path(sys.argv[1]), {'API_FALLBACK_MODEL': sys.argv[2]})"
    )
    _must(home.python("-c", code, home.zwaif, home.gguf, limit=300))


def _copy_checkout(home: Home) -> None:
    shutil.rmtree(home.checkout, ignore_errors=True)
    listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (home.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, home.checkout / name)


def _requirements(home: Home) -> None:
    """All that ``setup.cfg`` asks for, tests and GGUF included, from wheels fetched on this machine."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    wanted = [line for line in map(str.strip, listed.splitlines()) if line and not line.startswith("#")]
    done, wheels = home.scripts.parent / "installed.txt", home.windows.folder / "wheels"
    if done.exists() and done.read_text(encoding="utf-8").split("\n") == wanted:
        return
    fetch(wheels, NUMPY, *_TORCH[1:], *(line for line in wanted if not line.startswith(_ALONE)))
    fetch(wheels, _TORCH[0], *(line for line in wanted if line.startswith(_ALONE[1:])), alone=True)
    _pip(home, "--no-index", "--find-links", wheels, NUMPY, *_TORCH, *wanted)
    done.write_text("\n".join(wanted), encoding="utf-8")


def _wheel(home: Home) -> Path:
    """The package, built on this machine: it is the same on every system."""
    target = home.windows.folder / "built"
    shutil.rmtree(target, ignore_errors=True)
    build = ["python3.11", "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(target), str(home.checkout)]
    subprocess.run(build, check=True)
    (wheel,) = target.glob("*.whl")
    shutil.rmtree(home.checkout / "build", ignore_errors=True)
    return wheel


def _model(home: Home, gguf: Path | None) -> None:
    home.gguf.parent.mkdir(exist_ok=True)
    if gguf is not None:
        shutil.copy2(gguf, home.gguf)
        return
    code = (
        "import pathlib, sys; from tools.tiny_model import to_gguf; "
        "to_gguf.convert(to_gguf.MODEL, pathlib.Path(sys.argv[1]), 'F16')"
    )
    _must(home.python("-c", code, home.gguf, limit=300, cwd=home.checkout))


def _pip(home: Home, *what: str | Path) -> None:
    _must(home.python("-m", "pip", "--disable-pip-version-check", "install", "-q", *what, limit=_INSTALL_LIMIT))


def _must(ended: Ended) -> None:
    if ended.status != 0:
        raise CannotBeMade(ended.output or "A program ran out of time.")
