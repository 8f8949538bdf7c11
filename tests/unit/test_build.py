"""The wheel and the source distribution: what is in them, that they install and run, that two builds are identical."""

from __future__ import annotations

import email.message
import email.parser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PACKAGES = {"zwaif_fallback": "zwaif_fallback", "hooks/zwaif_hooks": "zwaif_hooks"}
"""Folder in the checkout: import package."""
STARTUP_FILES = {"zwaif_hooks.pth", "zwaif_hooks.start"}
REPOSITORY = "https://github.com/somebody/their-zwaif-fallback"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("git") is None, reason="git tells which files belong to the package"),
]


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_script", ROOT / "scripts" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _load_script()
build: Callable[..., list[Path]] = SCRIPT.build


def _tracked(root: Path, *folders: str) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *folders]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit that holds the files tracked here, as they are now."""
    root = tmp_path_factory.mktemp("checkout")
    for name in _tracked(ROOT):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    someone = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*someone, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    wheel, source = build(tmp_path_factory.mktemp("built"), checkout)
    return wheel, source


def _wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _packaged(checkout: Path) -> dict[str, str]:
    """Every tracked file of the two packages, and where a wheel has it."""
    return {
        name: package + name.removeprefix(folder)
        for folder, package in PACKAGES.items()
        for name in _tracked(checkout, folder)
    }


# --- what is in them -------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_tracked_files_of_the_packages_and_nothing_else(
    checkout: Path, built: tuple[Path, Path]
) -> None:
    packed = {name for name in _wheel_names(built[0]) if ".dist-info/" not in name}
    assert packed == set(_packaged(checkout).values()) | STARTUP_FILES


def test_the_source_distribution_holds_the_packages_and_what_building_them_takes(
    checkout: Path, built: tuple[Path, Path]
) -> None:
    version = ConfigParser()
    version.read(checkout / "setup.cfg", encoding="utf-8")
    assert built[1].name == f"zwaif_fallback-{version['metadata']['version']}.tar.gz"
    with tarfile.open(built[1]) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
    assert {(member.uid, member.uname) for member in members} == {(0, "")}
    names = {member.name.partition("/")[2] for member in members}
    build_files = {"setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} | STARTUP_FILES
    assert {name for name in names if ".egg-info/" not in name} == set(_packaged(checkout)) | build_files


def test_a_new_folder_of_a_package_is_packed_by_itself(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    for folder in PACKAGES:
        room = copy / folder / "new_room" / "within"
        room.mkdir(parents=True)
        for file in (room.parent / "__init__.py", room / "__init__.py", room / "table.json"):
            file.touch()
    subprocess.run(["git", "-C", str(copy), "add", "-A"], check=True)
    names = _wheel_names(build(tmp_path / "built", copy)[0])
    for package in PACKAGES.values():
        assert {f"{package}/new_room/within/__init__.py", f"{package}/new_room/within/table.json"} <= names


# --- how they are built ----------------------------------------------------------------------------------------------


def test_two_builds_are_the_same_bytes(
    checkout: Path, built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other, copy_function=shutil.copyfile)  # other times, and perhaps another order
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    umask = os.umask(0o077)
    try:
        again = build(tmp_path / "again", other)
    finally:
        os.umask(umask)
    for first, second in zip(built, again, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), first.name


def test_source_date_epoch_dates_the_files(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # 2023-11-14, 22:13:20
    wheel, source = build(tmp_path, checkout)
    with zipfile.ZipFile(wheel) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
    with tarfile.open(source) as packed:
        assert {member.mtime for member in packed.getmembers()} == {1700000000}


def test_the_build_warns_of_nothing(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    build(tmp_path, checkout)
    assert capfd.readouterr().err == ""


# --- that they install and run ---------------------------------------------------------------------------------------


PIP = [sys.executable, "-m", "pip"]
OFFLINE = ["--quiet", "--no-index", "--no-deps"]


class Environment:
    """A fresh virtual environment that has one file installed and sees the libraries of this one."""

    def __init__(self, folder: Path, file: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
        subprocess.run([*PIP, "--python", str(self.programs / "python"), "install", *OFFLINE, str(file)], check=True)
        self.packages = Path(self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (self.packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    def installed(self) -> set[str]:
        """Every file but the metadata, which tells where the package came from, and compiled modules."""
        files = (path.relative_to(self.packages).as_posix() for path in self.packages.rglob("*") if path.is_file())
        return {name for name in files if not re.search(r"\.dist-info/|__pycache__/|^libraries\.pth$", name)}

    def run(self, *command: str, cwd: Path | None = None) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        program = [str(self.programs / command[0]), *command[1:]]
        done = subprocess.run(
            program, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def test_the_installed_wheel_plays_the_demo(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", built[0])
    (tmp_path / "elsewhere").mkdir()
    show = (
        "import sys, zwaif_fallback, zwaif_hooks.startup as startup; print(zwaif_fallback.__file__, startup.__file__)"
    )
    places = environment.run("python", "-c", show, cwd=tmp_path / "elsewhere")
    assert places.count(str(environment.packages)) == 2
    played = environment.run("zwaif-fallback", "demo", cwd=tmp_path / "elsewhere")
    assert "then the local model" in played and played.rstrip().splitlines()[-1].startswith("Five messages, five")


def test_the_source_distribution_installs_the_same_files_as_the_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    from_here = [*OFFLINE, "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*PIP, "wheel", *from_here, str(built[1])], check=True)
    (made,) = tmp_path.glob("*.whl")
    environments = [Environment(tmp_path / name, file) for name, file in (("wheel", built[0]), ("source", made))]
    from_wheel, from_source = (environment.installed() for environment in environments)
    assert from_wheel == from_source
    assert environments[1].run("zwaif-fallback", "--version", cwd=tmp_path).startswith("zwaif-fallback ")
    active = environments[1].run(
        "python", "-c", "import sys; print('zwaif_hooks.startup' in sys.modules)", cwd=tmp_path
    )
    assert active == "True\n"


# --- how a release reads on a package index --------------------------------------------------------------------------


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def _links(markdown: str) -> list[str]:
    tokens = [
        child for token in MarkdownIt("commonmark").enable("table").parse(markdown) for child in token.children or ()
    ]
    found = [str(link) for token in tokens if (link := token.attrGet("href") or token.attrGet("src"))]
    return found + re.findall(r'(?:href|src|srcset)="([^"]+)"', markdown)


def test_a_release_links_to_its_repository_and_every_link_of_its_readme_is_absolute(
    checkout: Path, tmp_path: Path
) -> None:
    wheel, source = build(tmp_path, checkout, REPOSITORY + "/")
    metadata = _metadata(wheel)
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", ()))
    assert urls["Source"] == REPOSITORY and urls["Issues"] == f"{REPOSITORY}/issues" and "Z-Waif" in urls
    links = _links(str(metadata.get_payload()))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    version = metadata["Version"]
    assert f"{REPOSITORY}/blob/v{version}/LICENSE" in links
    pictures = [link for link in links if link.endswith(".png")]
    assert pictures and all(link.startswith(f"{REPOSITORY}/raw/v{version}/docs/") for link in pictures)
    with tarfile.open(source) as archive:
        readme = archive.extractfile(f"zwaif_fallback-{version}/README.md")
        assert readme is not None and _links(readme.read().decode()) == links


def test_a_build_that_is_no_release_names_no_repository(built: tuple[Path, Path]) -> None:
    assert _metadata(built[0]).get_all("Project-URL") == ["Z-Waif, https://github.com/SugarcaneDefender/z-waif"]


def test_a_release_whose_readme_leads_nowhere_is_not_built(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    with (copy / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("\n[more](docs/missing.md#part)\n")
    with pytest.raises(FileNotFoundError, match=r"docs/missing\.md"):
        build(tmp_path / "built", copy, REPOSITORY)


@pytest.mark.parametrize(
    ("tag", "heading", "problem"),
    [
        ("v1.2.3", "1.2.3 - 2026-12-01", ""),
        ("v1.2.3", "[1.2.3] - 2026-12-01", ""),
        ("v1.2.4", "1.2.3 - 2026-12-01", "The tag is v1.2.4, but setup.cfg has version 1.2.3."),
        ("1.2.3", "1.2.3 - 2026-12-01", "The tag is 1.2.3, but setup.cfg has version 1.2.3."),
        ("v1.2.3", "Unreleased", "The newest section of CHANGELOG.md is 'Unreleased', not '1.2.3 - YEAR-MONTH-DAY'."),
        ("v1.2.3", "1.2.3", "The newest section of CHANGELOG.md is '1.2.3', not '1.2.3 - YEAR-MONTH-DAY'."),
    ],
)
def test_a_tag_is_released_only_where_version_and_changelog_agree(
    tag: str, heading: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "setup.cfg").write_text("[metadata]\nversion = 1.2.3\n", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n## {heading}\n\n- Faster.\n", encoding="utf-8")
    assert SCRIPT.why_not(tag, tmp_path) == problem
