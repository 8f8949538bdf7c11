"""Modules that run when something in them is used."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.engines.deferred_modules import deferred

ROOM = "zwaif_room_for_deferring"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A package that notes what of it has run."""
    folder = tmp_path / ROOM
    folder.mkdir()
    note = "import sys; sys.modules['zwaif_runs'].append(__name__)\n"
    (folder / "__init__.py").write_text(
        f"{note}import time; time.sleep(0.05)\nfrom . import part\nanswer = 42\n", encoding="utf-8"
    )
    (folder / "part.py").write_text(f"{note}whole = 'part'\n", encoding="utf-8")
    (folder / "broken.py").write_text("raise ImportError('it is broken')\n", encoding="utf-8")
    runs: list[str] = []
    monkeypatch.setitem(sys.modules, "zwaif_runs", runs)  # type: ignore[arg-type]
    monkeypatch.syspath_prepend(str(tmp_path))
    yield runs
    for name in [name for name in sys.modules if name.partition(".")[0] == ROOM]:
        del sys.modules[name]


def imported(name: str) -> Any:
    with deferred(ROOM, f"{ROOM}.broken", f"{ROOM}.missing"):
        return importlib.import_module(name)


def test_a_deferred_module_runs_once_and_when_a_name_in_it_is_used(package: list[str]) -> None:
    module = imported(ROOM)
    assert module.__file__.endswith("__init__.py") and package == []
    assert module.answer == 42 and module.part.whole == "part"
    assert package == [ROOM, f"{ROOM}.part"]
    assert not hasattr(module, "nothing")
    assert package == [ROOM, f"{ROOM}.part"]
    assert module.__spec__.loader is module.__loader__ is not None


def test_a_part_is_imported_without_its_package(package: list[str]) -> None:
    assert imported(f"{ROOM}.part").whole == "part"
    assert package == [f"{ROOM}.part"]


def test_two_threads_run_it_once(package: list[str]) -> None:
    module, answers = imported(ROOM), []
    threads = [threading.Thread(target=lambda: answers.append(module.answer)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == [42] * 4
    assert package.count(ROOM) == 1


def test_errors_are_those_of_an_ordinary_import(package: list[str]) -> None:
    with pytest.raises(ModuleNotFoundError):
        imported(f"{ROOM}.missing")
    broken = imported(f"{ROOM}.broken")
    with pytest.raises(ImportError, match="it is broken"):
        _ = broken.answer


def test_nothing_is_deferred_afterwards(package: list[str]) -> None:
    imported(f"{ROOM}.part")
    importlib.import_module(ROOM).__dict__.clear()
    del sys.modules[ROOM]
    importlib.import_module(ROOM)
    assert package[-1] == ROOM
