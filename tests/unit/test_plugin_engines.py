"""Engines that plugins declare: the hook, the names of their models, and every list that shows them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zwaif_hooks as zw
from zwaif_fallback import settings
from zwaif_fallback.choosing import load_check, resolve_name
from zwaif_fallback.choosing.auto import Constraints, pick
from zwaif_fallback.downloads.download import fetch_model
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.local import memory_needed
from zwaif_fallback.local.preload_policy import place_for
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.models.search import find_models
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.model_permissions import Refused
from zwaif_hooks.host.settings_store import SettingsStore

MODELS = (zw.EngineModel("tiny", 20_000_000, 4096), zw.EngineModel("unmeasured"), zw.EngineModel("huge", 10**15))
ECHO = zw.EngineSpec("echo", MODELS, "zwaif_echo.engine:Echo")
GB = 10**9
ROOMY = Memory(32 * GB, 24 * GB)


class Plugin:
    def __init__(self, result: Callable[[], object]) -> None:
        self._result = result

    @zw.hookimpl
    def register_engines(self) -> object:
        return self._result()


class Place:
    """A plugin manager with a complaint box."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.manager = zw.PluginManager(lambda line, error: self.complaints.append(line))

    def add(self, name: str, result: Callable[[], object]) -> Place:
        assert self.manager.register(Plugin(result), name)
        return self

    def names(self) -> list[tuple[str, str]]:
        return [(plugin, engine.name) for plugin, engine in self.manager.engines()]


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    plugin_engines.use(made.manager.engines)
    yield made
    plugin_engines.use(tuple)


@pytest.fixture
def echo(place: Place) -> Place:
    return place.add("parrot", lambda: ECHO)


# --- the declaration --------------------------------------------------------------------------------------------------


def test_an_engine_is_declared_alone_or_with_others(place: Place) -> None:
    place.add("one", lambda: ECHO).add("two", lambda: iter([zw.EngineSpec("other", (), "two:make")]))
    assert place.names() == [("two", "other"), ("one", "echo")] and place.complaints == []


def test_of_two_engines_with_one_name_that_of_the_first_called_stays(place: Place) -> None:
    place.add("one", lambda: ECHO).add("two", lambda: [ECHO])
    assert place.names() == [("two", "echo")]
    assert place.complaints == ["Plugin 'one': its engine echo is left out: 'two' has one too"]


@pytest.mark.parametrize("result", ["echo", [zw.EngineModel("tiny")], {"echo": 1}, 5])
def test_anything_else_is_reported_and_the_others_stay(place: Place, result: object) -> None:
    place.add("one", lambda: ECHO).add("two", lambda: result)
    assert place.names() == [("one", "echo")]
    (line,) = place.complaints
    assert line.startswith("Plugin 'two' failed in register_engines")


@pytest.mark.parametrize("name", ["", "e", "Echo", "my engine", "a/b", "ollama", "lmstudio", "c:", "1st"])
def test_an_engine_with_such_a_name_cannot_be_made(name: str) -> None:
    with pytest.raises(ValueError, match="EngineSpec"):
        zw.EngineSpec(name, MODELS, "zwaif_echo:Echo")


@pytest.mark.parametrize(
    "factory", ["", "zwaif_echo", "zwaif_echo:", "a b:c", "os:system('x')", "/tmp/x.py:f", "a:b:c"]
)
def test_a_factory_is_a_module_and_a_callable(factory: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form package\.module:callable"):
        zw.EngineSpec("echo", MODELS, factory)


@pytest.mark.parametrize("name", ["", " tiny", "a\nb"])
def test_a_model_has_a_name_that_can_be_written(name: str) -> None:
    with pytest.raises(ValueError, match="EngineModel"):
        zw.EngineModel(name)


def test_an_engine_has_models(place: Place) -> None:
    with pytest.raises(ValueError, match="not all EngineModel"):
        zw.EngineSpec("echo", ["tiny"], "zwaif_echo:Echo")  # type: ignore[list-item]


# --- the names --------------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_its_whole_name_in_any_case(echo: Place, tmp_path: Path) -> None:
    assert resolve_name.resolve("'Echo:TINY'", tmp_path) == "echo:tiny"
    assert resolve_name.is_on_this_machine("echo:tiny")
    for name in ("echo:other", "echo", "tinyy", "other:tiny"):
        with pytest.raises(ModelNotFound):
            resolve_name.resolve(name, tmp_path)
    assert not resolve_name.is_on_this_machine("echo:other")


def test_plugins_are_not_asked_about_other_names(place: Place, tmp_path: Path) -> None:
    asked: list[str] = []
    plugin_engines.use(lambda: asked.append("asked") or ())  # type: ignore[func-returns-value]
    for name in ("owner/name", "C:\\models\\a.gguf", "/models/a:b", "owner/name:file.gguf", "qwen2.5-1.5b"):
        assert plugin_engines.find(name) is None
    assert asked == []


def test_a_plugin_that_is_gone_takes_its_models_with_it(echo: Place, tmp_path: Path) -> None:
    echo.manager.unregister("parrot")
    with pytest.raises(ModelNotFound):
        resolve_name.resolve("echo:tiny", tmp_path)


def test_there_is_nothing_to_download(echo: Place) -> None:
    said: list[str] = []
    fetch_model("echo:tiny", said.append, lambda now: None, threading.Event())
    assert said == ["echo:tiny is on this computer: nothing to download"]


# --- the lists, and auto ----------------------------------------------------------------------------------------------


def test_the_search_finds_them(echo: Place, tmp_path: Path) -> None:
    found = {one.setting: one for one in find_models(tmp_path).models if one.source == "plugin parrot"}
    assert set(found) == {"echo:tiny", "echo:unmeasured", "echo:huge"}
    assert (found["echo:tiny"].facts.window, found["echo:tiny"].facts.weights) == (4096, 20_000_000)


def test_auto_never_chooses_one(echo: Place, tmp_path: Path) -> None:
    declared = [one for one in find_models(tmp_path).models if one.source == "plugin parrot"]
    assert declared and pick(declared, Constraints(tmp_path), ROOMY) is None


def test_the_settings_tab_lists_them_and_may_name_them(echo: Place, tmp_path: Path) -> None:
    store = SettingsStore(settings.SETTINGS, None, {}, say=lambda line: None)
    listed = ModelList(store, tmp_path, memory=lambda: ROOMY)
    assert listed.name_and_source("echo:tiny") == "echo:tiny (plugin parrot)"
    assert listed.resolve("echo:tiny") == "echo:tiny"
    with pytest.raises(Refused):
        listed.resolve("echo:other")


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "needed"), [("tiny", 20_000_000), ("unmeasured", None), ("huge", 10**15)])
def test_its_plugin_says_how_much_memory_it_needs(echo: Place, name: str, needed: int | None) -> None:
    assert memory_needed.bytes_needed(LoadOptions(f"echo:{name}"), on_card=False) == needed


def test_one_of_unknown_size_is_never_loaded_ahead_of_time(echo: Place) -> None:
    why = {name: place_for(LoadOptions(f"echo:{name}"), True, ROOMY).why_not for name in ("tiny", "unmeasured", "huge")}
    assert why == {
        "tiny": "",
        "unmeasured": "its size is not known",
        "huge": "it takes 1000000.0 GB and 24.0 GB are free",
    }


def test_one_that_is_too_big_now_is_told(echo: Place, tmp_path: Path) -> None:
    assert load_check.why_not("echo:tiny", Constraints(tmp_path)) == ""
    assert load_check.why_not("echo:unmeasured", Constraints(tmp_path)) == ""
    assert load_check.why_not("echo:huge", Constraints(tmp_path)).startswith("It needs 1000000.0 GB, and ")
