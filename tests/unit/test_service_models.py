"""The service with found models: readable names, downloads in the background, and ``auto``."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.made_models import put_in_ollama
from tests.unit.test_memory_fit import EVERYTHING, memory, model
from tests.unit.test_service import Desk
from zwaif_fallback.answering import better_model
from zwaif_fallback.choosing import auto
from zwaif_fallback.choosing.ranking import Choice, choose
from zwaif_fallback.downloads.transfer import DownloadFailed
from zwaif_fallback.errors import FallbackError, ModelError
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models.search import FoundModel


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS", "API_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


def test_the_user_s_name_is_shown_and_not_a_blob_s(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    desk = Desk(tmp_path, monkeypatch, API_FALLBACK_MODEL="ollama:llama3.2:3b")
    desk.local.names_whole_path = True
    desk.reply()
    (options,) = desk.local.loads
    assert options.model == str(blob)
    assert desk.said[:2] == ["Loading ollama:llama3.2:3b …", "Fallback ready: ollama:llama3.2:3b on cpu"]
    assert desk.service.loader.ready().info.name == "ollama:llama3.2:3b"


def test_a_start_without_the_chosen_model_names_one_that_is_here(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    monkeypatch.setenv("API_TYPE", "Ollama")
    monkeypatch.setenv("ZW_OLLAMA_MODEL", "llama3.2:3b")
    desk = Desk(tmp_path, monkeypatch, API_FALLBACK_MODEL="someone/tiny")
    desk.service.prepare()
    for thread in threading.enumerate():
        if thread.name == "zwaif-fallback-instead":
            thread.join(20)
    not_ready, hint = desk.said
    assert not_ready.startswith("Fallback not ready: someone/tiny is not on this computer yet")
    assert hint.startswith("Already on this computer: ollama:llama3.2:3b. To use it: zwaif-fallback settings set ")


def test_a_download_in_the_background_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch)
    seen, bring = list[str](), desk.fetch

    def watched(name: str, say: Any, report: Any, stop: Any) -> None:
        bring(name, say, report, stop)
        seen.extend(desk.service.controls.local_news())

    desk.service.loader._fetch = watched
    desk.service.controls.load_model("someone/tiny", allow_download=True)
    desk.settle()
    assert "Downloading someone/tiny: 0 of 0 MB (50%), 5 s left" in seen
    assert desk.reply() == "one speaks.", "a download alone chooses nothing"


def test_a_download_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch)

    def failing(*_: object) -> None:
        raise DownloadFailed("someone/tiny was not downloaded: the disk is full.")

    desk.service.loader._fetch = failing
    desk.service.controls.load_model("someone/tiny", allow_download=True)
    desk.settle()
    assert desk.said == ["Fallback not loaded: someone/tiny was not downloaded: the disk is full."]
    assert desk.local.loads == []


def test_closing_stops_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch)
    begun = threading.Event()

    def endless(name: str, say: Any, report: Any, stop: Any) -> None:
        begun.set()
        assert stop.wait(20)
        raise FallbackError("Stopped.")

    desk.service.loader._fetch = endless
    desk.service.controls.load_model("someone/tiny", allow_download=True)
    assert begun.wait(20)
    desk.service.close()
    desk.settle()


class AutoDesk(Desk):
    """``auto`` among models of 3 and of 8 billion parameters, on a machine whose card is full at first."""

    def __init__(self, tree: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
        self.free = memory(16)
        self.models: list[FoundModel] = []
        monkeypatch.setattr(auto, "memory_now", lambda: self.free)
        super().__init__(tree, monkeypatch, API_FALLBACK_MODEL="auto", **values)
        self.service._choice._auto = auto.AutoModel(self.best)
        self.service._choice._auto._memory = lambda: self.free
        for name, billions in (("3B", 3), ("8B", 8)):
            folder = tree / "models" / name
            folder.mkdir(exist_ok=True)
            for file in ("config.json", "model.safetensors"):
                (folder / file).write_text("{}", encoding="utf-8")
            found = model(name, billions)
            self.models.append(FoundModel(name, "Model folder", name, folder, found.facts))

    def best(self, free: Memory, without: Collection[str]) -> Choice | None:
        return choose([one for one in self.models if str(one.path) not in without], free, can=EVERYTHING)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(better_model, "LOOK_SECONDS", (0.0, 0.0))


def reconsidered(desk: Desk) -> None:
    thread = desk.service._better_model._thread
    if thread is not None:
        thread.join(20)
    desk.settle()


def test_auto_takes_what_fits_and_more_when_the_server_s_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    desk = AutoDesk(tmp_path, monkeypatch)
    assert desk.reply() == "3B speaks."
    desk.service.preload()
    reconsidered(desk)
    assert desk.reply() == "3B speaks."
    desk.free = memory(16, 12)
    desk.service.preload()
    reconsidered(desk)
    assert desk.reply() == "8B speaks."
    assert any(line.startswith("A better local model fits now: 8B is the best that fits") for line in desk.said)
    assert [Path(options.model).name for options in desk.local.loads] == ["3B", "8B"]


def test_auto_goes_on_to_the_next_where_one_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = AutoDesk(tmp_path, monkeypatch)
    desk.free = memory(16, 12)
    desk.local.problems["8B"] = ModelError("8B is of a kind that nobody knows.")
    assert desk.reply() == "3B speaks."
    assert "Trying another model: 8B is of a kind that nobody knows." in desk.said
    desk.local.problems["3B"] = ModelError("3B is broken too.")
    desk.local.unload()
    desk.service.setting_changed("API_FALLBACK_DEVICE", "auto")
    assert "speaks" not in desk.reply(), "last words, and no endless search"


def test_a_model_chosen_by_name_is_never_reconsidered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    desk = Desk(tmp_path, monkeypatch)
    desk.service.preload()
    assert desk.service._better_model._thread is None
    desk.settle()


def test_auto_without_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = AutoDesk(tmp_path, monkeypatch)
    desk.models.clear()
    desk.service.prepare()
    assert desk.said == [
        "Fallback not ready: API_FALLBACK_MODEL is auto, but no model on this computer fits into the free memory. "
        "Close other programs, or download a smaller one: zwaif-fallback models lists some."
    ]
