"""The start-up line runs in every Python process of the environment: unnoticeable where there is no Z-Waif."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zwaif_hooks.bridge
from zwaif_hooks import startup
from zwaif_hooks.host.tree import MARKERS
from zwaif_hooks.startup import ImportWatcher, WatchedLoader

FILES = {
    "utils/settings.py": "char_name = 'Mia'\nclass Card:\n    pass\n",
    "utils/web_ui.py": "import API.api_controller\ndemo = 'page'\n",
    "API/api_controller.py": "import utils.web_ui\ndef send_via_oogabooga(text):\n    return text\n",
    "main.py": "import utils.settings\n",
}


def write_tree(root: Path, **changed: str) -> Path:
    """A folder with Z-Waif's marker files, and small modules of its names in it."""
    for name in MARKERS:
        _write(root / name, "")
    for name, text in {**FILES, **{k.replace("__", "/") + ".py": v for k, v in changed.items()}}.items():
        _write(root / name, text)
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def host_names() -> Iterator[None]:
    """Z-Waif's names are free before the test and after it, and every finder goes."""
    finders, path = list(sys.meta_path), list(sys.path)
    sys.meta_path[:] = [finder for finder in finders if type(finder).__name__ != "ImportWatcher"]
    _forget()
    yield
    _forget()
    sys.meta_path[:], sys.path[:] = finders, path
    importlib.invalidate_caches()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in startup.HOST_ROOTS]:
        del sys.modules[name]


class Opened:
    """Stands for the bridge: which trees were opened, and what is attached to them."""

    def __init__(self) -> None:
        self.trees: list[str] = []
        self.attach: dict[str, Callable[[ModuleType], None]] = {}

    def __call__(self, tree: str, watcher: ImportWatcher) -> None:
        self.trees.append(tree)
        for name, callback in self.attach.items():
            watcher.after_import(name, callback)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    opened = Opened()
    monkeypatch.setattr(zwaif_hooks.bridge, "open_bridge", opened)
    return opened


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(startup, "complain", lambda what, error: lines.append(f"{what}: {error!r}"))
    return lines


@pytest.fixture
def watcher(opened: Opened) -> ImportWatcher:
    startup.activate()
    found = sys.meta_path[0]
    assert isinstance(found, ImportWatcher)
    return found


def enter(root: Path) -> None:
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()


# --- being switched on -----------------------------------------------------------------------------------------------


def test_the_line_runs_twice_in_a_virtual_environment() -> None:
    startup.activate()
    startup.activate()
    assert [type(finder) for finder in sys.meta_path].count(ImportWatcher) == 1


def test_a_second_copy_of_the_module_adds_no_second_watcher() -> None:
    startup.activate()
    spec = importlib.util.spec_from_file_location("another_startup", startup.__file__)
    assert spec is not None and spec.loader is not None
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    other.activate()
    assert [type(finder).__name__ for finder in sys.meta_path].count("ImportWatcher") == 1


@pytest.mark.parametrize("value", ["OFF", "off", " Off ", "0", "false", "NO"])
def test_switched_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ZWAIF_PLUGINS", value)
    before = list(sys.meta_path)
    startup.activate()
    assert sys.meta_path == before


@pytest.mark.parametrize("value", ["ON", "", "1", "yes"])
def test_any_other_value_leaves_it_on(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ZWAIF_PLUGINS", value)
    startup.activate()
    assert isinstance(sys.meta_path[0], ImportWatcher)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit])
def test_nothing_leaves_activate(
    monkeypatch: pytest.MonkeyPatch, complaints: list[str], error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("early")

    monkeypatch.setattr(startup, "ImportWatcher", fail)
    startup.activate()
    assert len(complaints) == 1


def test_a_complaint_that_cannot_be_written_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("zwaif_hooks.log.report", fail)
    monkeypatch.setattr(sys, "stderr", None)
    startup.complain("could not start", ValueError("\U0001f600"))


# --- recognising ------------------------------------------------------------------------------------------------------


def test_the_tree_is_opened_before_its_first_module(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    enter(write_tree(tmp_path, utils__settings="import zwaif_hooks.bridge as b\nseen = list(b.open_bridge.trees)\n"))
    import utils.settings  # type: ignore[import-not-found,import-untyped,unused-ignore]

    assert utils.settings.seen == [str(tmp_path)]
    assert watcher.tree == str(tmp_path)


def test_the_tree_is_opened_once(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    enter(write_tree(tmp_path))
    for name in ("main", "utils.settings", "utils.web_ui", "API.api_controller"):
        importlib.import_module(name)
    assert opened.trees == [str(tmp_path)]


@pytest.mark.parametrize("name", ["main", "utils", "API"])
def test_a_stranger_with_one_of_the_names_is_left_alone(
    opened: Opened, watcher: ImportWatcher, tmp_path: Path, name: str
) -> None:
    _write(tmp_path / name / "__init__.py", "value = 1\n")
    _write(tmp_path / name / "part.py", "value = 2\n")
    enter(tmp_path)
    part = importlib.import_module(f"{name}.part")
    assert (sys.modules[name].value, part.value) == (1, 2)
    assert type(part.__loader__).__module__.startswith(("importlib", "_frozen_importlib"))
    assert opened.trees == []


def test_a_stranger_is_looked_at_once_a_folder(
    watcher: ImportWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    monkeypatch.setattr("zwaif_hooks.host.tree.find_tree", lambda path: looks.append(path))
    for name in ("utils/__init__.py", "utils/a.py", "utils/b.py"):
        _write(tmp_path / name, "")
    enter(tmp_path)
    importlib.import_module("utils.a")
    importlib.import_module("utils.b")
    assert len(looks) == 1


def test_a_namespace_package_of_that_name_is_no_hint(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    _write(tmp_path / "one" / "utils" / "a.py", "value = 1\n")
    _write(tmp_path / "two" / "utils" / "b.py", "value = 2\n")
    enter(tmp_path / "one")
    enter(tmp_path / "two")
    assert importlib.import_module("utils.a").value + importlib.import_module("utils.b").value == 3
    assert len(list(sys.modules["utils"].__path__)) == 2
    assert opened.trees == []


def test_a_module_that_is_not_there_is_still_not_there(watcher: ImportWatcher) -> None:
    with pytest.raises(ModuleNotFoundError, match="API"):
        importlib.import_module("API.nothing")


def test_other_names_are_not_searched_for_at_all(watcher: ImportWatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(watcher, "_ask_the_others", fail)
    assert watcher.find_spec("json.tool") is None
    assert watcher.find_spec("mainframe") is None


def test_a_bridge_that_fails_does_not_keep_z_waif_from_starting(
    watcher: ImportWatcher, complaints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SystemExit("a plugin wanted to leave")

    monkeypatch.setattr(zwaif_hooks.bridge, "open_bridge", fail)
    enter(write_tree(tmp_path))
    assert importlib.import_module("utils.settings").char_name == "Mia"
    assert len(complaints) == 1


def test_a_look_that_fails_does_not_break_a_strangers_import(
    watcher: ImportWatcher, complaints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("half uninstalled")

    monkeypatch.setattr("zwaif_hooks.host.tree.find_tree", fail)
    _write(tmp_path / "main.py", "value = 1\n")
    enter(tmp_path)
    assert importlib.import_module("main").value == 1


# --- calling back -----------------------------------------------------------------------------------------------------


def test_the_callback_gets_the_executed_module(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    seen: list[Any] = []
    opened.attach["utils.settings"] = lambda module: seen.append((module.__name__, module.char_name))
    enter(write_tree(tmp_path))
    importlib.import_module("utils.settings")
    assert seen == [("utils.settings", "Mia")]


def test_a_module_already_imported_is_called_back_at_once(watcher: ImportWatcher) -> None:
    import json

    seen: list[ModuleType] = []
    watcher.after_import("json", seen.append)
    assert seen == [json]


def test_a_module_that_is_half_imported_is_called_back_when_it_is_whole(
    opened: Opened, watcher: ImportWatcher, tmp_path: Path
) -> None:
    """A library that was on its way before the tree was seen, for example in another thread."""
    seen: list[Any] = []
    opened.attach["half_way_library"] = lambda module: seen.append(module.whole)
    opened.attach["utils.web_ui"] = lambda module: None
    write_tree(tmp_path)
    _write(tmp_path / "half_way_library.py", "import utils.settings\nwhole = True\n")
    enter(tmp_path)
    importlib.import_module("half_way_library")
    assert seen == []
    importlib.import_module("utils.web_ui")
    assert seen == [True]


def test_a_circular_import_calls_back_in_the_order_of_finishing(
    opened: Opened, watcher: ImportWatcher, tmp_path: Path
) -> None:
    seen: list[str] = []
    for name in ("utils.web_ui", "API.api_controller"):
        opened.attach[name] = lambda module: seen.append(module.__name__)
    enter(write_tree(tmp_path))
    importlib.import_module("API.api_controller")
    assert seen == ["utils.web_ui", "API.api_controller"]


def test_a_failed_import_fails_as_ever_and_works_when_tried_again(
    opened: Opened, watcher: ImportWatcher, tmp_path: Path
) -> None:
    seen: list[str] = []
    opened.attach["utils.settings"] = lambda module: seen.append(module.char_name)
    enter(write_tree(tmp_path, utils__settings="raise OSError('no such device')\n"))
    with pytest.raises(OSError, match="no such device"):
        importlib.import_module("utils.settings")
    assert seen == []
    assert "utils.settings" not in sys.modules
    _write(tmp_path / "utils" / "settings.py", "char_name = 'A much longer name'\n")
    importlib.invalidate_caches()
    importlib.import_module("utils.settings")
    assert seen == ["A much longer name"]


def test_sixteen_threads_import_at_once(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    seen: list[str] = []
    opened.attach["utils.settings"] = lambda module: seen.append(module.char_name)
    enter(write_tree(tmp_path))
    gate = threading.Barrier(16)
    failed: list[BaseException] = []

    def work(name: str) -> None:
        gate.wait(10)
        try:
            importlib.import_module(name)
        except BaseException as error:
            failed.append(error)

    names = ["utils.settings", "utils.hotkeys", "utils.lorebook", "utils.based_rag"] * 4
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failed == []
    assert opened.trees == [str(tmp_path)]
    importlib.import_module("utils.web_ui")
    assert seen == ["Mia"]


def test_opening_waits_for_a_library_that_another_thread_is_importing(
    watcher: ImportWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for it under the interpreter's import lock would be a deadlock: that thread needs the lock to go on."""
    import builtins

    begun, opening = threading.Event(), threading.Event()
    monkeypatch.setattr(builtins, "zwaif_test_gate", (begun, opening), raising=False)

    def open_bridge(*_: object) -> None:
        opening.set()
        importlib.import_module("shared_library")

    monkeypatch.setattr(zwaif_hooks.bridge, "open_bridge", open_bridge)
    write_tree(tmp_path)
    _write(tmp_path / "part_of_library.py", "")
    code = "begun, opening = zwaif_test_gate\nbegun.set()\nopening.wait(10)\nimport part_of_library\n"
    _write(tmp_path / "shared_library.py", code)
    enter(tmp_path)
    threads = [threading.Thread(target=importlib.import_module, args=("shared_library",), daemon=True)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=importlib.import_module, args=("utils.settings",), daemon=True))
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("error", [SystemExit, RuntimeError, GeneratorExit])
def test_a_callback_that_raises_does_not_break_the_hosts_import(
    opened: Opened, watcher: ImportWatcher, tmp_path: Path, complaints: list[str], error: type[BaseException]
) -> None:
    def fail(_: ModuleType) -> None:
        raise error("no")

    opened.attach["utils.settings"] = fail
    enter(write_tree(tmp_path))
    assert importlib.import_module("utils.settings").char_name == "Mia"
    assert len(complaints) == 1
    assert "utils.settings" in complaints[0]


def test_a_complaint_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    startup.complain("could not attach to utils.web_ui", SystemExit(1))
    (line,) = capsys.readouterr().out.strip().splitlines()
    assert "utils.web_ui" in line and "Cause: SystemExit 1 (" in line


# --- leaving no trace -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> ModuleType:
    """A module of the tree that was watched."""
    opened.attach["utils.settings"] = lambda module: None
    enter(write_tree(tmp_path))
    return importlib.import_module("utils.settings")


def test_the_real_loader_is_back_in_its_place(settings: ModuleType) -> None:
    assert settings.__spec__ is not None
    assert type(settings.__spec__.loader).__name__ == "SourceFileLoader"
    assert settings.__loader__ is settings.__spec__.loader


def test_source_and_pickling_work_as_ever(settings: ModuleType) -> None:
    assert "class Card" in inspect.getsource(settings.Card)
    assert type(pickle.loads(pickle.dumps(settings.Card()))) is settings.Card


def test_reload_works_and_calls_back_again(opened: Opened, watcher: ImportWatcher, tmp_path: Path) -> None:
    seen: list[str] = []
    opened.attach["utils.settings"] = lambda module: seen.append(module.char_name)
    enter(write_tree(tmp_path))
    module = importlib.import_module("utils.settings")
    _write(tmp_path / "utils" / "settings.py", "char_name = 'Somebody else'\n")
    assert importlib.reload(module) is module
    assert seen == ["Mia", "Somebody else"]
    assert type(module.__loader__).__name__ == "SourceFileLoader"


def test_find_spec_shows_the_right_file(settings: ModuleType, tmp_path: Path) -> None:
    del sys.modules["utils.settings"]
    spec = importlib.util.find_spec("utils.settings")
    assert spec is not None and spec.origin == str(tmp_path / "utils" / "settings.py")
    loader: Any = spec.loader
    assert isinstance(loader, WatchedLoader)
    assert loader.get_source("utils.settings").startswith("char_name")
    assert loader.is_package("utils.settings") is False


def test_a_spec_can_be_copied(settings: ModuleType) -> None:
    del sys.modules["utils.settings"]
    spec = importlib.util.find_spec("utils.settings")
    assert spec is not None
    module = importlib.util.module_from_spec(copy.copy(spec))
    copied: Any = copy.copy(spec.loader)
    copied.exec_module(module)
    assert module.char_name == "Mia"
