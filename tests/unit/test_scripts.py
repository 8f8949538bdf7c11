"""The scripts that set up, check and play this checkout: what they do, and that Windows' do what the others do."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
TORCH_CHECK = "import torch"
BASH = shutil.which("bash") if sys.platform != "win32" else None


class Commands:
    """Stands in for the commands that a task runs: writes them down; those with a word of ``failing`` fail."""

    def __init__(self, failing: set[str]) -> None:
        self.failing = failing
        self.run: list[list[str]] = []

    def __call__(self, command: list[str], stderr: int | None = None) -> int:
        self.run.append(command[1:])
        return int(bool(self.failing & set(command)))

    @property
    def installed(self) -> list[str]:
        return [words[-1] for words in self.run if "install" in words]


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tasks", SCRIPTS / "tasks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / "My vénv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / "My vénv" / "python")
    monkeypatch.setattr(module, "EXTRAS", "test")
    (tmp_path / "setup.cfg").touch()
    os.utime(tmp_path / "setup.cfg", (1, 1))
    (tmp_path / "My vénv").mkdir()
    return module


def set_up(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, *failing: str) -> Commands:
    commands = Commands(set(failing))
    monkeypatch.setattr(tasks, "_status", commands)
    tasks.setup()
    return commands


def test_setting_up_makes_the_environment_once(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    first = set_up(tasks, monkeypatch, TORCH_CHECK)
    assert ["-m", "venv", str(tasks.VENV)] in first.run
    assert first.installed == ["torch==2.13.0", ".[test]"]
    assert set_up(tasks, monkeypatch).run == []


def test_a_newer_list_of_requirements_sets_up_again(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(tasks, monkeypatch)
    ready = (tasks.VENV / ".ready-for-test").stat().st_mtime
    os.utime(tasks.ROOT / "setup.cfg", (ready + 60, ready + 60))
    assert set_up(tasks, monkeypatch).installed == [".[test]"]


def test_where_the_known_torch_cannot_be_had_another_will_do(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = set_up(tasks, monkeypatch, TORCH_CHECK, "torch==2.13.0")
    assert commands.installed == ["torch==2.13.0", "torch", ".[test]"]


def test_extras_that_cannot_be_had_leave_the_other_tests(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "EXTRAS", "test,browser")
    assert set_up(tasks, monkeypatch, ".[test,browser]").installed == [".[test,browser]", ".[test]"]
    assert (tasks.VENV / ".ready-for-test,browser").is_file()


def test_an_install_that_fails_is_no_success(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as exit:
        set_up(tasks, monkeypatch, ".[test]")
    assert exit.value.code == 1
    assert not (tasks.VENV / ".ready-for-test").exists()


@pytest.mark.parametrize(
    ("version", "bits", "suits"),
    [((3, 9), 64, False), ((3, 10), 64, True), ((3, 13), 64, True), ((3, 14), 64, False), ((3, 11), 32, False)],
)
def test_the_pythons_that_suit(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], bits: int, suits: bool
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    monkeypatch.setattr(sys, "maxsize", 2 ** (bits - 1) - 1)
    assert tasks.suits() is suits


def test_types_are_checked_for_each_system(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(set())
    monkeypatch.setattr(tasks, "_status", commands)
    tasks.lint()
    platforms = [words[words.index("--platform") + 1] for words in commands.run if "mypy" in words]
    assert platforms == ["linux", "darwin", "win32"]


def test_quick_leaves_out_what_takes_long(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, ran = Commands(set()), list[list[str]]()
    monkeypatch.setattr(tasks, "_status", commands)
    monkeypatch.setattr(tasks, "_become", ran.append)
    tasks.test("--quick", "-x")
    assert [words[words.index("--platform") + 1] for words in commands.run if "mypy" in words] == [sys.platform]
    (command,) = ran
    assert command[1:6] == ["-m", "pytest", "tests/unit", "-m", "not slow"] and command[-1] == "-x"
    left_out = [word.removeprefix("--ignore=") for word in command if word.startswith("--ignore=")]
    assert left_out and all((ROOT / place).is_file() for place in left_out)


def test_coverage_measures_every_test_and_lints_nothing(tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, ran = Commands(set()), list[list[str]]()
    monkeypatch.setattr(tasks, "_status", commands)
    monkeypatch.setattr(tasks, "_become", ran.append)
    tasks.test("--coverage", "-x")
    assert not any("mypy" in words or "ruff" in words for words in commands.run)
    (command,) = ran
    assert command[1:4] == ["-m", "pytest", "--cov"] and command[-1] == "-x"


@pytest.mark.skipif(BASH is None, reason="bash and a Python written as a shell script are not Windows' own")
class TestFindingPython:
    """The bash script with Pythons that are shell scripts; ``PATH`` names nothing else."""

    @pytest.fixture
    def pythons(self, tmp_path: Path) -> Path:
        folder = tmp_path / "pythons with ä space"
        folder.mkdir()
        for tool in ("bash", "dirname", "env"):
            (folder / tool).symlink_to(str(shutil.which(tool)))
        return folder

    def add(self, folder: Path, name: str, suits: bool) -> None:
        file = folder / name
        file.write_text(f'#!/bin/sh\n[ "$2" != suits ] || exit {int(not suits)}\necho "{name} runs $2"\n')
        file.chmod(0o755)

    def start(self, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {"PATH": str(folder), "ZWAIF_VENV": str(folder / "none"), **environment}
        return subprocess.run(
            [SCRIPTS / "setup"], env=settings, capture_output=True, encoding="utf-8", timeout=20, check=False
        )

    def test_one_that_is_too_new_is_passed_over(self, pythons: Path) -> None:
        self.add(pythons, "python3", suits=False)
        self.add(pythons, "python3.12", suits=True)
        assert self.start(pythons).stdout == "python3.12 runs setup\n"

    def test_the_one_that_is_named_is_taken(self, pythons: Path) -> None:
        self.add(pythons, "python3", suits=True)
        self.add(pythons, "mine", suits=True)
        assert self.start(pythons, PYTHON=str(pythons / "mine")).stdout == "mine runs setup\n"

    def test_where_none_suits_the_next_step_is_said(self, pythons: Path) -> None:
        self.add(pythons, "python3", suits=False)
        ended = self.start(pythons)
        assert ended.returncode == 1
        assert "3.10, 3.11, 3.12 or 3.13" in ended.stderr and "PYTHON=/path/to/python3.11" in ended.stderr


def named_task(script: Path) -> str:
    (task,) = re.findall(r'"[^"]*task(?:\.bat)?" (\w+) (?:"\$@"|%\*)', script.read_text(encoding="utf-8"))
    return str(task)


def test_each_script_has_its_twin_for_windows(tasks: ModuleType) -> None:
    for task in tasks.TASKS:
        assert named_task(SCRIPTS / task) == named_task(SCRIPTS / f"{task}.bat") == task


def test_batch_files_work_with_either_line_end_and_in_any_code_page() -> None:
    """cmd.exe misses some labels where lines end as on Linux, and reads a file in the code page of the console."""
    for script in SCRIPTS.glob("*.bat"):
        lines = script.read_text(encoding="ascii").splitlines()
        assert not [line for line in lines if re.search(r"^\s*:|\bgoto\b|call +:", line)], script.name
