"""Two builds of the same files are the same bytes, and hold what an installation needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git tells which files belong to the package")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_script", ROOT / "scripts" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows here, committed by somebody else."""
    root = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    someone = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*someone, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


@pytest.mark.timeout(120)
def test_two_builds_are_the_same_bytes(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = script().build
    first = build(tmp_path / "1", checkout)
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other, copy_function=shutil.copyfile)  # other times, and perhaps another order
    umask = os.umask(0o077)
    try:
        second = build(tmp_path / "2", other)
    finally:
        os.umask(umask)
    assert [file.name for file in first] == [file.name for file in second]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert [file.read_bytes() for file in build(tmp_path / "3", checkout)] != [file.read_bytes() for file in first]


@pytest.mark.timeout(120)
def test_the_wheel_holds_every_module_and_the_start_up_files(checkout: Path, tmp_path: Path) -> None:
    source, wheel = sorted(script().build(tmp_path, checkout), key=lambda file: file.suffix)
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    for package, place in (("zwaif_fallback", "zwaif_fallback"), ("zwaif_hooks", "hooks/zwaif_hooks")):
        modules = {
            f"{package}/{file.relative_to(checkout / place).as_posix()}" for file in (checkout / place).rglob("*.py")
        }
        assert modules <= packed, sorted(modules - packed)
    assert {"zwaif_hooks.pth", "zwaif_hooks.start", "zwaif_fallback/catalogue.json"} <= packed
    parser = ConfigParser()
    parser.read(checkout / "setup.cfg", encoding="utf-8")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.uid for member in archive.getmembers()} == {0}
    assert {"setup.py", "setup.cfg", "pyproject.toml", "zwaif_hooks.pth", "zwaif_hooks.start", "LICENSE"} <= names
    assert source.name == f"zwaif_fallback-{parser['metadata']['version']}.tar.gz"
