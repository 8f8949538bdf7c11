"""Build the wheel and the source distribution; the same commit gives the same bytes on any machine.

    python scripts/build.py [FOLDER] [--repository https://github.com/OWNER/NAME] [--tag vX.Y.Z]

The files go into FOLDER (``dist`` by default), and their SHA-256 sums are printed. Only files that git tracks are built
in. All of them are dated ``SOURCE_DATE_EPOCH`` (https://reproducible-builds.org/specs/source-date-epoch/), by default
the time of the last commit.

``--repository`` is for a release: the metadata links to that address, and the README's relative links, which lead
nowhere on a package index, become links into it at the version's tag. Without it, neither changes. With ``--tag``,
nothing is built unless the version in setup.cfg and the newest section of CHANGELOG.md are the tag's.

Needs git and setuptools. Another version of setuptools may write other metadata.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BACKEND = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
_RELATIVE_LINK = re.compile(r'(\]\(|\]: |(?:src|href|srcset)=")(?!#|[a-z]+:)([^\s)">]+)')
"""In Markdown or in the HTML that Markdown may hold."""
_PICTURES = (".gif", ".jpg", ".png", ".svg", ".webp")


def build(target: Path, root: Path = ROOT, repository: str = "") -> list[Path]:
    """Build both files into ``target`` and return their paths, the wheel first.

    Raises:
        FileNotFoundError: the README links to a file that does not exist.
        subprocess.CalledProcessError: setuptools or git failed.
    """
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct"))
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source, made = Path(name) / "source", Path(name) / "made"
        _copy(root, source)
        if repository:
            _link_to(repository.rstrip("/"), source)
        _set_times(source, epoch)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # setuptools would warn that it compiles nothing
        made.mkdir()
        for what in ("build_wheel", "build_sdist"):
            command = [sys.executable, "-c", _BACKEND, what, str(made)]
            subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL, umask=0o022)
        _normalize(next(made.glob("*.tar.gz")), epoch)
        return sorted(
            (Path(shutil.copy(file, target)) for file in made.iterdir()), key=lambda file: file.suffix != ".whl"
        )


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def _copy(root: Path, source: Path) -> None:
    """Copy the tracked files, with the same permissions whatever the umask."""
    for name in _git(root, "ls-files", "-z").split("\0"):
        if name and (root / name).is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
            copy.chmod(0o755 if os.access(root / name, os.X_OK) and os.name != "nt" else 0o644)


def _link_to(repository: str, source: Path) -> None:
    """Add the repository's address to the metadata and to the README's relative links."""
    setup, readme = source / "setup.cfg", source / "README.md"
    tag = f"v{_version(source)}"
    urls = {
        "Source": repository,
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    heading = "project_urls =\n"
    before, found, after = setup.read_text(encoding="utf-8").partition(heading)
    assert found, "setup.cfg has no project_urls"
    lines = "".join(f"    {name} = {url}\n" for name, url in urls.items())
    setup.write_text(before + heading + lines + after, encoding="utf-8", newline="\n")

    def absolute(link: re.Match[str]) -> str:
        path = link[2].partition("#")[0]
        if not (source / path).exists():
            raise FileNotFoundError(f"README.md links to {path}, which does not exist")
        return f"{link[1]}{repository}/{'raw' if path.endswith(_PICTURES) else 'blob'}/{tag}/{link[2]}"

    text = _RELATIVE_LINK.sub(absolute, readme.read_text(encoding="utf-8"))
    readme.write_text(text, encoding="utf-8", newline="\n")


def _version(root: Path) -> str:
    parser = ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    return parser["metadata"]["version"]


def why_not(tag: str, root: Path = ROOT) -> str:
    """Say why the files here are not the release that ``tag`` names; empty if they are."""
    if tag != f"v{_version(root)}":
        return f"The tag is {tag}, but setup.cfg has version {_version(root)}."
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    newest, wanted = next(iter(headings), ""), f"{tag[1:]} - YEAR-MONTH-DAY"
    if not re.fullmatch(rf"\[?{re.escape(tag[1:])}\]? - \d{{4}}-\d\d-\d\d", newest):
        return f"The newest section of CHANGELOG.md is {newest!r}, not {wanted!r}."
    return ""


def _set_times(source: Path, epoch: int) -> None:
    for path in source.rglob("*"):
        os.utime(path, (epoch, epoch))


def _normalize(archive: Path, epoch: int) -> None:
    """Rewrite the archive without what setuptools records of the machine: user name, file order, time of day."""
    content = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.type, entry.size, entry.mtime = member.type, member.size, epoch
            entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member))
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 9, file, epoch) as packed:
        packed.write(content.getvalue())


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT / "dist", help="where the files go (default: dist)"
    )
    parser.add_argument("--repository", default="", metavar="URL", help="where the release's code is published")
    parser.add_argument("--tag", default="", metavar="vX.Y.Z", help="build only if this is that release")
    parsed = parser.parse_args()
    if parsed.tag and (problem := why_not(parsed.tag)):
        sys.exit(problem)
    for path in build(parsed.folder, repository=parsed.repository):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path)


if __name__ == "__main__":
    _main()
