"""The model list: what is offered, what is told of each, what may be chosen, and what a download does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.links import link
from tests.ui.scripted import ScriptedDownload, ScriptedService
from zwaif_fallback import catalogue, measured, model_files, ui
from zwaif_fallback.errors import FallbackError, ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.measured import Measurement
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.found import Findings, FoundModel
from zwaif_fallback.settings import DEFAULT_MODEL
from zwaif_fallback.ui.shelf import Shelf

PHI = "microsoft/phi-2"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is on this computer but what the test puts there."""
    monkeypatch.setattr(model_files, "cached_snapshot", lambda *_: None)
    monkeypatch.setattr(measured, "path", lambda: tmp_path / "benchmarks.json")


@pytest.fixture
def panel(host: Any, service: ScriptedService, shelf: Shelf, download: ScriptedDownload) -> ui.Panel:
    return ui.Panel(
        host,
        service,
        unchanged=lambda: "unchanged",
        wait=lambda seconds: service.progress.pop(0) if service.progress else download.go_on.set(),
        shelf=shelf,
        download=download,
    )


@pytest.fixture
def own_folder(host: Any) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        folder: Path = host.tree / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(bytes(16))
        return folder

    return make


def the_found_one(shelf: Shelf) -> str:
    return shelf.found()[0].setting


def test_list_has_auto_found_offered_and_custom(shelf: Shelf) -> None:
    labels, settings = zip(*shelf.choices(), strict=True)
    assert labels[0] == "auto (the best that fits: companion:1b)"
    assert labels[1] == "companion:1b (Ollama, 0.7 GB, CPU only, about 29 tokens/s)"
    assert list(settings) == ["auto", the_found_one(shelf), *catalogue.choices()]
    assert all("fit" in label or "CPU only" in label or "too big" in label for label in labels[:-1])
    assert "download 2.2 GB" in labels[2]


def test_no_label_shows_a_folder_of_this_machine(shelf: Shelf, host: Any, tmp_path: Path) -> None:
    host.settings.set(ui.MODEL, str(tmp_path / "private" / "my-model"))
    labels = [label for label, _ in shelf.choices()]
    assert labels[-1] == "my-model"
    assert not [label for label in labels if str(tmp_path) in label]


def test_row_stays_where_it_was(shelf: Shelf, host: Any) -> None:
    before = [setting for _, setting in shelf.choices()]
    host.settings.set(ui.MODEL, "owner/typed")
    assert [setting for _, setting in shelf.choices()] == [*before, "owner/typed"]
    host.settings.set(ui.MODEL, PHI)
    assert [setting for _, setting in shelf.choices()] == before


def test_label_of_a_list_that_changed_since_is_understood(shelf: Shelf) -> None:
    label, setting = shelf.choices()[1]
    assert shelf.meant(label) == setting
    assert shelf.meant("owner/typed") == "owner/typed"


def test_information_on_a_found_model(panel: ui.Panel, shelf: Shelf) -> None:
    text = panel.models.info(the_found_one(shelf))
    assert text.startswith("Tiny Companion (found: Ollama, GGUF, 0.7 GB)\nSize: 1.1B parameters, Q4_K_M.")
    assert "Fit: CPU only, about 29 tokens/s. It needs about 0.8 GB with a window of 2,048 tokens; 8.0 GB" in text
    assert text.endswith("On this computer.")
    assert "sha256" not in text


def test_information_remembers_the_benchmark(panel: ui.Panel, shelf: Shelf) -> None:
    assert "Measured" not in panel.models.info(the_found_one(shelf))
    path = str(shelf.found()[0].path)
    measured.remember(Measurement(path, 1.8e9, "gguf", "cpu", "Q4_K_M", 2.0, 500, 3.0, 0.25, 31.0, 1_200_000_000))
    text = panel.models.info(the_found_one(shelf))
    assert "loads in 2.0 s, first words after 3.0 s (0.2 s in a conversation), 31 tokens/s, 1.2 GB" in text


def test_information_on_an_offer_and_on_a_typed_name(panel: ui.Panel) -> None:
    assert panel.models.info(PHI).endswith("Not on this computer yet: Load Model downloads it (5.6 GB).")
    assert "Fit: " in panel.models.info(PHI)
    assert "owner/own-model (custom)" in panel.models.info("owner/own-model")
    assert "type the name" in panel.models.info("Custom")


def test_the_default_that_nobody_chose_names_the_model_that_answers(panel: ui.Panel, service: ScriptedService) -> None:
    missing = "Not on this computer yet: Load Model downloads it (2.2 GB)."
    assert panel.models.info(DEFAULT_MODEL).endswith(f"Chosen now. {missing}")
    service.instead = "companion:1b"
    answers = "Until then companion:1b answers, which was found on this computer."
    assert panel.models.info(DEFAULT_MODEL).endswith(f"The default, as none was chosen. {missing} {answers}")
    service.instead = the_found_one(panel.shelf)
    assert panel.models.info(DEFAULT_MODEL).endswith(answers), "a name, and no path of this machine"
    assert panel.models.info(PHI).endswith("Load Model downloads it (5.6 GB).")


def test_auto_tells_what_it_takes_and_loads_it(panel: ui.Panel, shelf: Shelf, service: ScriptedService) -> None:
    assert panel.models.info("auto") == "auto: companion:1b is the best that fits (CPU only, about 29 tokens/s)."
    list(panel.models.load("auto"))
    assert (service.loads, shelf.chosen) == ([("auto", False)], "auto")


def test_model_that_is_here_is_chosen_and_loaded(panel: ui.Panel, shelf: Shelf, service: ScriptedService) -> None:
    service.progress = ["Loading: 10 %", "Loading: 90 %"]
    seen = list(panel.models.load(shelf.choices()[1][0]))
    assert service.loads == [(the_found_one(shelf), False)]
    assert shelf.chosen == the_found_one(shelf)
    assert {model for model, _ in seen} == {"unchanged"}, "a later step overwrote what the user chose meanwhile"
    assert [status for _, status in seen[1:]] == ["Loading: 10 %", "Loading: 90 %", "Ready."]


@pytest.mark.parametrize("name", ["", "   ", None, "Custom", ["x"], 7, "a\nb", "x" * 1001])
def test_load_without_a_name_asks_for_one(panel: ui.Panel, service: ScriptedService, name: object) -> None:
    model, status = list(panel.models.load(name))[-2]
    assert (model, service.loads) == (DEFAULT_MODEL, [])
    assert "owner/model" in status


def test_load_that_is_refused_says_so(panel: ui.Panel, shelf: Shelf, service: ScriptedService) -> None:
    service.refusal = ModelNotFound("It has no weights. Put .safetensors files there.")
    assert list(panel.models.load(the_found_one(shelf)))[-1][1].splitlines()[0] == str(service.refusal)


def test_missing_model_is_downloaded_then_chosen(
    panel: ui.Panel, download: ScriptedDownload, service: ScriptedService, shelf: Shelf
) -> None:
    loading = panel.models.load(PHI)
    assert next(loading)[0] == "unchanged"
    assert shelf.chosen == DEFAULT_MODEL, "the old model serves until the new one is here"
    assert download.told.wait(10)
    assert "Downloading microsoft/phi-2: 0.50 of 2.00 GB (25" in panel.status.text()
    assert "width:25.0%" in panel.live.html()
    download.go_on.set()
    assert panel.fetching.wait(10)
    assert (download.asked, service.loads, shelf.chosen) == ([PHI], [(PHI, False)], PHI)
    assert list(loading)[-1][1] == "Downloaded: microsoft/phi-2.\nReady."


def test_cancelled_download_changes_nothing(
    panel: ui.Panel, download: ScriptedDownload, service: ScriptedService, shelf: Shelf
) -> None:
    assert panel.models.cancel() == "Nothing is being downloaded.\nReady."
    next(panel.models.load(PHI))
    assert download.told.wait(10)
    assert "What came so far is kept" in panel.models.cancel()
    assert panel.fetching.wait(10)
    assert "goes on where this one ended" in panel.status.text()
    assert (service.loads, shelf.chosen) == ([], DEFAULT_MODEL)


def test_second_download_waits_for_the_first(panel: ui.Panel, download: ScriptedDownload) -> None:
    next(panel.models.load(PHI))
    assert "still being downloaded" in next(panel.models.load("owner/other"))[1]
    download.go_on.set()
    assert panel.fetching.wait(10)
    assert download.asked == [PHI]


@pytest.mark.parametrize("problem", [FallbackError("The disk is full."), ZeroDivisionError("oops")])
def test_download_that_fails_says_why(
    panel: ui.Panel, download: ScriptedDownload, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zwaif_hooks.host import log

    monkeypatch.setattr(log, "report", lambda line, error=None: None)
    download.problem = problem
    next(panel.models.load(PHI))
    assert panel.fetching.wait(10)
    assert str(problem) in panel.status.text()


OUTSIDE = [
    "/etc",
    "/etc/passwd",
    "~/model",
    "../model",
    "models/../../secret",
    "./models/../../secret/model.gguf",
    "C:\\Windows\\model",
    "\\\\server\\share\\model",
    "//server/share/model",
    '"\\\\server\\share"',
    "file:///etc/passwd",
    "secret.gguf",
    ".",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_place_outside_the_model_folders_is_loaded_looked_at_or_told_of(
    panel: ui.Panel, service: ScriptedService, shelf: Shelf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(model_files, "_is_model", looked.append)
    list(panel.models.load(name))
    panel.models.info(name)
    assert (service.loads, shelf.chosen) == ([], DEFAULT_MODEL)
    assert [place for place in looked if "server" in str(place)] == []


def test_folder_of_z_waif_itself_is_no_model_folder(
    panel: ui.Panel, service: ScriptedService, own_folder: Callable[[str], Path]
) -> None:
    own_folder("Configurables")
    (own_folder("owner/name")).joinpath("x").touch()
    for name in ("Configurables", "owner/name"):
        status = list(panel.models.load(name))[-1][1]
        assert "FALLBACK_MODEL_DIR" in status
    assert service.loads == []


def test_model_folder_may_be_named_in_every_way(
    panel: ui.Panel, service: ScriptedService, own_folder: Callable[[str], Path]
) -> None:
    folder = own_folder("models/mine")
    names = ["mine", "models/mine", "./models/mine", str(folder)]
    for name in names:
        list(panel.models.load(name))
    assert [name for name, _ in service.loads] == names


def test_model_in_a_model_folder_is_chosen_by_its_name(host: Any, own_folder: Callable[[str], Path]) -> None:
    folder = own_folder("models/mine")
    facts = ModelFacts("safetensors", size=16, weights=16)
    findings = Findings([FoundModel("mine", "Model folder", str(folder), folder, facts)])
    shelf = Shelf(host.settings, host.tree, lambda *_: findings, lambda: Memory(1, 1))
    assert [(one.name, one.setting) for one in shelf.found()] == [("mine", "mine")]


def test_link_out_of_the_model_folder_is_not_followed(
    panel: ui.Panel, service: ScriptedService, own_folder: Callable[[str], Path], host: Any
) -> None:
    secret = own_folder("elsewhere/secret")
    (host.tree / "models").mkdir()
    link(host.tree / "models" / "link", secret)
    assert "FALLBACK_MODEL_DIR" in list(panel.models.load("link"))[-1][1]
    assert service.loads == []


def test_what_the_owner_wrote_into_env_may_be_loaded_again(
    panel: ui.Panel, service: ScriptedService, own_folder: Callable[[str], Path], host: Any
) -> None:
    elsewhere = str(own_folder("elsewhere/mine"))
    host.settings.set(ui.MODEL, elsewhere)
    list(panel.models.load(elsewhere))
    assert service.loads == [(elsewhere, False)]
