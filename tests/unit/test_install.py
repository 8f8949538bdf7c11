"""``install.bat`` and the Python behind it: what a user sees who double-clicks it, whatever pip says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BATCH = (ROOT / "install.bat").read_text(encoding="utf-8")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pip_says(install: ModuleType, monkeypatch: pytest.MonkeyPatch, *runs: str) -> list[str]:
    """Each run of pip prints that and fails; an empty text is a run that goes well. What was to be installed."""
    asked: list[str] = []
    left = list(runs)

    def program(what: str) -> list[str]:
        asked.append(what)
        text = left.pop(0)
        return [sys.executable, "-c", f"import sys; print({text!r}); sys.exit({bool(text)!r})"]

    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return real(program(command[-1]), **options)  # type: ignore[call-overload]

    monkeypatch.setattr(install.subprocess, "Popen", popen)
    return asked


class Ours:
    """The commands of ours that follow an installation."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.run: list[str] = []

    def __call__(self, command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        self.run.append(command[3])
        return subprocess.CompletedProcess(command, self.status)


@pytest.mark.parametrize(("status", "commands"), [(0, ["status"]), (1, ["status", "download"])])
def test_all_is_well_and_who_has_no_model_is_asked(
    status: int,
    commands: list[str],
    install: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = pip_says(install, monkeypatch, "")
    ours = Ours(status)
    monkeypatch.setattr(install.subprocess, "run", ours)
    assert install.main("z-waif") == 0
    assert asked == [f"{ROOT}[gguf]"] and ours.run == commands
    assert "Installed. Start Z-Waif as always" in capfd.readouterr().out


def test_without_a_package_for_gguf_files_the_rest_is_installed(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = pip_says(install, monkeypatch, "ERROR: No matching distribution found for xllamacpp<2028", "")
    monkeypatch.setattr(install.subprocess, "run", Ours(0))
    assert install.main("z-waif") == 0
    assert asked == [f"{ROOT}[gguf]", str(ROOT)]
    assert "installing without it" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: [WinError 5] Access is denied: 'x.pyd'", "A file is in use or locked. Close Z-Waif"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "The disk is full."),
        (
            "WARNING: Retrying after NewConnectionError\nERROR: No matching distribution",
            "The internet cannot be reached.",
        ),
        (
            "    ERROR: Could not find a version (from versions: none)\n  note: not pip",
            "The internet cannot be reached.",
        ),
        ("ERROR: Something new.\nmore", "pip says: Something new."),
        ("nobody knows", "pip says: nobody knows"),
    ],
)
def test_what_went_wrong_is_told_in_plain_words(
    said: str,
    told: str,
    install: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pip_says(install, monkeypatch, said)
    assert install.main("z-waif") == 1
    out = capfd.readouterr().out
    assert f"It was not installed. {told}" in out and "Traceback" not in out


def test_a_python_that_is_too_new_is_told_so(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install.sys, "version_info", (3, 14, 0))
    assert install.main("z-waif") == 1
    assert "has Python 3.14; 3.10 to 3.13 are needed" in capsys.readouterr().out


def test_the_pythons_are_those_of_the_package(install: ModuleType) -> None:
    named = re.findall(r"Python :: 3\.(\d+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    (_, low), (_, high) = install.PYTHONS
    assert [int(minor) for minor in named] == list(range(low, high))


def test_the_batch_file_stays_open_and_quotes_every_path() -> None:
    lines = [line for line in BATCH.splitlines() if not line.startswith("rem")]
    assert "if not defined CI pause" in lines and BATCH.isascii()
    assert not any(line.startswith(":") for line in lines), "labels get lost where lines end as on Linux"
    for variable in ("here", "installer", "zwaif", "python"):
        for line in lines:
            for use in re.finditer(rf"%{variable}%", line):
                before = line[: use.start()]
                assert before.count('"') % 2 or "echo" in before or "problem=" in before, line
