"""Build the wheel and the source distribution so that whoever builds the same commit gets the same bytes.

    python scripts/build.py [FOLDER]

They go into ``dist`` unless told otherwise, and their SHA-256 sums are printed. Only files that git knows are built in,
all dated ``SOURCE_DATE_EPOCH`` (https://reproducible-builds.org/specs/source-date-epoch/), by default the time of the
last commit. Needs git and setuptools; the same version of setuptools writes the same metadata.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BACKEND = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def build(target: Path, root: Path = ROOT) -> list[Path]:
    """The two files, in ``target``."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct"))
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source, made = Path(name) / "source", Path(name) / "made"
        _copy(root, source, epoch)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
        made.mkdir()
        for what in ("build_wheel", "build_sdist"):
            command = [sys.executable, "-c", _BACKEND, what, str(made)]
            subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL, umask=0o022)
        _evened_out(next(made.glob("*.tar.gz")), epoch)
        return sorted(Path(shutil.copy(file, target)) for file in made.iterdir())


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def _copy(root: Path, source: Path, epoch: int) -> None:
    """What git knows, with the same permissions and times for everybody."""
    for name in _git(root, "ls-files", "-z").split("\0"):
        if name and (root / name).is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
            copy.chmod(0o755 if os.access(root / name, os.X_OK) and os.name != "nt" else 0o644)
            os.utime(copy, (epoch, epoch))


def _evened_out(archive: Path, epoch: int) -> None:
    """Without the builder's name, the order of the folder and the time of day, which setuptools writes down."""
    content = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.type, entry.size, entry.mtime = member.type, member.size, epoch
            entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member))
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 9, file, epoch) as packed:
        packed.write(content.getvalue())


if __name__ == "__main__":
    for path in build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path)
