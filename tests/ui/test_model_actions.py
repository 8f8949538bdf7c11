"""The model list: what is offered, what is told of each, what may be chosen, and what a download does."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.links import link
from tests.helpers.scripted_service import ScriptedDownload, ScriptedService, loaded
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.errors import FallbackError, ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue, measurements
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.measurements import Measurement
from zwaif_fallback.models.search import Findings, FoundModel
from zwaif_fallback.settings import DEFAULT_MODEL
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.model_permissions import REFUSED
from zwaif_fallback.ui.panel import Panel
from zwaif_fallback.ui.setting_edits import MODEL

PHI = "microsoft/phi-2"
OFFERS = [offer for offer in catalogue.OFFERS if offer.name != catalogue.CUSTOM]


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is on this computer but what the test puts there."""
    monkeypatch.setattr(resolve_name, "cached_snapshot", lambda *_: None)
    monkeypatch.setattr(measurements, "path", lambda: tmp_path / "benchmarks.json")


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Panel:
    return Panel(host, service, unchanged=lambda: "unchanged", model_list=model_list, download=download)


def lines(told: str) -> list[str]:
    """What a person reads."""
    return [html.unescape(re.sub("<[^>]*>", "", part)) for part in told.split("</p>") if part]


@pytest.fixture
def own_folder(host: Any) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        folder: Path = host.tree / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(bytes(16))
        return folder

    return make


def the_found_one(model_list: ModelList) -> str:
    return model_list.found()[0].setting


# --- the list -------------------------------------------------------------------------------------------------------


def test_list_is_grouped_and_readable(model_list: ModelList, service: ScriptedService) -> None:
    labels, settings = zip(*model_list.choices(service), strict=True)
    assert labels[:2] == (
        "Automatic: companion:1b (Ollama)",
        "On this computer: companion:1b (Ollama), Basic, about 29 tokens/s",
    )
    assert [label.partition(":")[0] for label in labels[2:]] == ["Recommended", *["Other"] * (len(OFFERS) - 1)]
    better, worse = (
        next(label for label in labels if f": {title}," in label) for title in ("Gemma 3 4B", "Gemma 3 1B")
    )
    assert labels.index(better) < labels.index(worse), "the better first, of those that talk in time"
    assert "Other: Phi-2, Good, about 2 tokens/s, 5.6 GB to download" in labels
    assert settings[:2] == (labels[0], the_found_one(model_list))
    assert model_list.setting_for(settings[0]) == "auto"
    assert set(settings[2:]) == {offer.name for offer in OFFERS}
    assert not [label for label in labels if "/" in label.replace("tokens/s", "").replace("token/s", "")]


def test_speed_is_as_measured_where_it_was(model_list: ModelList, service: ScriptedService) -> None:
    path = str(model_list.found()[0].path)
    measurements.remember(Measurement(path, 1.8e9, "gguf", "cpu", "Q4_K_M", 2.0, 500, 3.0, 0.25, 31.0, 1_200_000_000))
    assert model_list.choices(service)[1][0].endswith("Basic, 31 tokens/s measured here")


def test_two_models_of_one_name_are_told_apart(host: Any, service: ScriptedService, tmp_path: Path) -> None:
    facts = ModelFacts("GGUF", parameters=10**9, size=16, weights=16)
    models = [
        FoundModel(f"Tiny-{form}", "LM Studio", f"lmstudio:{at}/Tiny-{form}.gguf", tmp_path / f"{at}-{form}", facts)
        for at, form in (("a", "Q4_0"), ("b", "Q4_0"))
    ]
    model_list = ModelList(host.settings, host.tree, lambda *_: Findings(models), lambda: Memory(1, 1), Abilities)
    labels = [label for label, _ in model_list.choices(service)]
    assert len(set(labels)) == len(labels)
    assert sum("On this computer: Tiny (LM Studio)" in label for label in labels) == 2


def test_automatic_names_who_answers(model_list: ModelList, service: ScriptedService, host: Any) -> None:
    assert model_list.selected(service) == ("TinyLlama 1.1B Chat", DEFAULT_MODEL), "it is chosen"
    service.automatic = True
    assert model_list.selected(service) == ("Automatic: companion:1b (Ollama)",) * 2
    service.own_choice = "ollama:other:2b"
    assert model_list.selected(service) == ("Automatic: other:2b",) * 2
    service.speaks = loaded("lmstudio:publisher/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert model_list.selected(service) == ("Automatic: SmolLM2 135M Instruct",) * 2


def test_automatic_with_nothing_here(host: Any, service: ScriptedService) -> None:
    model_list = ModelList(
        host.settings, host.tree, lambda *_: Findings(), lambda: Memory(16 * 10**9, 8 * 10**9), Abilities
    )
    service.automatic = True
    assert model_list.selected(service) == ("Automatic: no model on this computer yet",) * 2


def test_no_label_shows_a_folder_of_this_machine(
    model_list: ModelList, service: ScriptedService, host: Any, tmp_path: Path
) -> None:
    host.settings.set(MODEL, str(tmp_path / "private" / "my-model"))
    labels = [label for label, _ in model_list.choices(service)]
    assert labels[-1] == "my model"
    assert not [label for label in labels if str(tmp_path) in label]


@pytest.mark.parametrize("written", ["microsoft/phi-2", "phi-2", "Phi-2", "MICROSOFT/phi-2"])
def test_model_of_the_settings_is_one_row_however_it_is_written(
    model_list: ModelList, service: ScriptedService, host: Any, written: str
) -> None:
    host.settings.set(MODEL, written)
    assert model_list.selected(service) == ("Phi-2", PHI)
    assert [value for _, value in model_list.choices(service)].count(PHI) == 1


# --- everything that is listed can be chosen, and nothing else ------------------------------------------------------


@pytest.mark.parametrize("number", range(len(OFFERS) + 1))
def test_every_row_of_the_list_is_taken(
    panel: Panel,
    model_list: ModelList,
    service: ScriptedService,
    download: ScriptedDownload,
    number: int,
) -> None:
    """By its value and by its label, as Gradio sends one or the other."""
    download.go_on.set()
    label, value = model_list.choices(service)[1 + number]
    for sent in (value, label):
        _, said, _ = panel.models.load(sent)
        assert said == ""
        assert panel.model_download.wait(10)
        assert "\u26a0" not in panel.models.info(sent) and "&#9888;" not in panel.models.info(sent)
    assert [name for name, _ in service.loads] == [value, value]
    assert model_list.chosen == value


def test_found_model_is_taken_by_all_its_names(panel: Panel, model_list: ModelList, service: ScriptedService) -> None:
    for name in (
        "companion:1b",
        the_found_one(model_list),
        "On this computer: companion:1b (Ollama), Basic, about 29 tokens/s",
    ):
        model_list.choices(service)
        assert panel.models.load(name)[1] == ""
    assert {name for name, _ in service.loads} == {the_found_one(model_list)}


def test_short_name_of_an_offer_is_taken(panel: Panel, download: ScriptedDownload) -> None:
    assert panel.models.load("qwen2.5-1.5b")[1] == ""
    assert download.told.wait(10)
    assert download.asked == ["bartowski/Qwen2.5-1.5B-Instruct-GGUF:Qwen2.5-1.5B-Instruct-Q4_K_M.gguf"]


@pytest.mark.parametrize("name", ["owner/name", "owner/name:file.gguf", "owner/name:folder/file.gguf"])
def test_name_of_the_hub_may_be_typed(panel: Panel, download: ScriptedDownload, name: str) -> None:
    assert panel.models.load(name)[1] == ""
    assert download.told.wait(10)
    assert download.asked == [name]


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
    "' /x:y'",
    "Configurables/x:y",
    "D:folder",
    " C:/folder",
    "' C:/folder'",
    "owner/name:../x.gguf",
    "owner/name:/x.gguf",
    "owner/name:C:x.gguf",
    "ollama:not-here",
    "lmstudio:not/here.gguf",
    "banana",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_place_is_loaded_looked_at_or_told_of(
    panel: Panel, service: ScriptedService, model_list: ModelList, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(resolve_name, "_is_model", looked.append)
    _, said, _ = panel.models.load(name)
    assert lines(said) == [f"\u26a0 {REFUSED}"]
    assert lines(panel.models.info(name)) == [f"\u26a0 {REFUSED}"]
    assert (service.loads, model_list.chosen, looked) == ([], DEFAULT_MODEL, [])


@pytest.mark.parametrize("name", ["Configurables/mine", "owner/name"])
def test_folder_of_z_waif_itself_is_no_model(
    panel: Panel, service: ScriptedService, own_folder: Callable[[str], Path], name: str
) -> None:
    """It has the form of a name on the hub; on the disk it would be found first."""
    own_folder(name)
    assert lines(panel.models.load(name)[1]) == [f"\u26a0 {REFUSED}"]
    assert service.loads == []


@pytest.mark.parametrize("name", ["", "   ", None, "Custom", ["x"], 7, "a\nb", "x" * 1001])
def test_load_without_a_name_asks_for_one(panel: Panel, service: ScriptedService, name: object) -> None:
    model, said, _ = panel.models.load(name)
    assert (model, service.loads) == (DEFAULT_MODEL, [])
    assert lines(said) == [f"\u26a0 {REFUSED}"]


def test_model_in_a_model_folder_is_chosen_by_its_name(
    host: Any, service: ScriptedService, own_folder: Callable[[str], Path]
) -> None:
    folder = own_folder("models/mine")
    facts = ModelFacts("safetensors", size=16, weights=16)
    findings = Findings([FoundModel("mine", "Model folder", str(folder), folder, facts)])
    model_list = ModelList(host.settings, host.tree, lambda *_: findings, lambda: Memory(1, 1))
    panel = Panel(host, service, model_list=model_list)
    assert [(one.name, one.setting) for one in model_list.found()] == [("mine", "mine")]
    for name in ("mine", "models/mine"):
        assert panel.models.load(name)[1] == ""
    assert [name for name, _ in service.loads] == ["mine", "models/mine"]


def test_link_out_of_the_model_folder_is_not_followed(
    panel: Panel, service: ScriptedService, own_folder: Callable[[str], Path], host: Any
) -> None:
    secret = own_folder("elsewhere/secret")
    (host.tree / "models").mkdir()
    link(host.tree / "models" / "link", secret)
    for name in ("link", "models/link"):
        assert lines(panel.models.load(name)[1]) == [f"\u26a0 {REFUSED}"]
    assert service.loads == []


def test_what_the_owner_wrote_into_env_may_be_loaded_again(
    panel: Panel, service: ScriptedService, own_folder: Callable[[str], Path], host: Any
) -> None:
    elsewhere = str(own_folder("elsewhere/mine"))
    host.settings.set(MODEL, elsewhere)
    panel.models.load(elsewhere)
    assert service.loads == [(elsewhere, False)]


# --- what is told of a model ----------------------------------------------------------------------------------------


def test_information_on_a_found_model(panel: Panel, model_list: ModelList) -> None:
    told = lines(panel.models.info(the_found_one(model_list)))
    assert told[0] == "Tiny Companion (from Ollama, GGUF, 0.7 GB)"
    assert told[1].startswith("Quality: Basic, by its size. Size: 1.1B parameters, Q4_K_M.")
    assert told[2].startswith("Fit: CPU only, about 29 tokens/s. It needs about 0.8 GB with a window of 2,048 tokens")
    assert told[-1] == "It is on this computer."
    assert "sha256" not in "".join(told)


def test_information_remembers_the_benchmark(panel: Panel, model_list: ModelList) -> None:
    assert "Measured" not in panel.models.info(the_found_one(model_list))
    path = str(model_list.found()[0].path)
    measurements.remember(Measurement(path, 1.8e9, "gguf", "cpu", "Q4_K_M", 2.0, 500, 3.0, 0.25, 31.0, 1_200_000_000))
    text = panel.models.info(the_found_one(model_list))
    assert "loads in 2.0 s, first words after 3.0 s (0.2 s in a conversation), 31 tokens/s, 1.2 GB" in text


def test_information_on_an_offer_and_on_a_typed_name(panel: Panel) -> None:
    told = lines(panel.models.info(PHI))
    assert told[-1] == "It is not on this computer yet. Load Model downloads it (5.6 GB)."
    assert any(line.startswith("Fit: ") for line in told)
    assert lines(panel.models.info("owner/own-model"))[0] == "owner/own-model"


def test_information_on_automatic(panel: Panel) -> None:
    taken = "Automatic uses the best model on this computer: companion:1b (Ollama)."
    assert lines(panel.models.info("auto"))[0] == taken


def test_what_a_model_calls_itself_is_no_markup(host: Any, service: ScriptedService, tmp_path: Path) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    facts = ModelFacts("GGUF", parameters=10**9, size=16, weights=16, title=nasty)
    model = FoundModel(nasty, nasty, nasty, tmp_path / "x", facts)
    model_list = ModelList(host.settings, host.tree, lambda *_: Findings([model]), lambda: Memory(1, 1), Abilities)
    panel = Panel(host, service, model_list=model_list)
    service.speaks, service.news = loaded(nasty), [nasty]
    for told in (panel.models.info("auto"), panel.models.state(), panel.live.html()):
        assert "<img" not in told


# --- Load, Unload, download -----------------------------------------------------------------------------------------


def test_load_while_automatic_loads_what_answers(
    panel: Panel, model_list: ModelList, service: ScriptedService, download: ScriptedDownload
) -> None:
    service.automatic = True
    panel.models.load(model_list.selected(service)[1])
    assert (service.loads, model_list.chosen, download.asked) == ([("auto", False)], "auto", [])


def test_load_while_automatic_with_nothing_here_brings_what_suits(
    host: Any, service: ScriptedService, download: ScriptedDownload
) -> None:
    model_list = ModelList(
        host.settings, host.tree, lambda *_: Findings(), lambda: Memory(16 * 10**9, 8 * 10**9), Abilities
    )
    panel = Panel(host, service, model_list=model_list, download=download)
    best = model_list.recommended()
    assert best is not None and best.name != DEFAULT_MODEL
    assert best.title in panel.models.info("auto")
    download.go_on.set()
    panel.models.load("auto")
    assert panel.model_download.wait(10)
    assert (download.asked, service.loads, model_list.chosen) == ([best.name], [(best.name, False)], "auto")


def test_without_the_engine_the_best_is_named_first_all_the_same(host: Any, service: ScriptedService) -> None:
    memory = Memory(16 * 10**9, 8 * 10**9)
    model_list = ModelList(
        host.settings, host.tree, lambda *_: Findings(), lambda: memory, lambda: Abilities(gguf=False)
    )
    panel = Panel(host, service, model_list=model_list, download=ScriptedDownload())
    told = lines(panel.models.info("auto"))
    assert told[0].startswith("The best for this computer, ")
    assert told[0].endswith(", needs one more package: pip install xllamacpp.")
    assert "TinyLlama" not in told[0]
    assert told[1] == "There is no model on this computer yet. Load Model downloads one that runs without it (2.2 GB):"
    small = ModelList(
        host.settings, host.tree, lambda *_: Findings(), lambda: Memory(4 * 10**9, 1), model_list._abilities
    )
    assert "needs one more package" in Panel(host, service, model_list=small).models.load("auto")[1]


def test_load_that_is_refused_says_so(panel: Panel, model_list: ModelList, service: ScriptedService) -> None:
    service.refusal = ModelNotFound("It has no weights. Put .safetensors files there.")
    assert lines(panel.models.load(the_found_one(model_list))[1]) == [f"\u26a0 {service.refusal}"]


def test_state_follows_a_load(panel: Panel, service: ScriptedService) -> None:
    assert lines(panel.models.state()) == ["No model is loaded. One will be loaded when it is needed."]
    service.progress = ["Loading: 10 %"]
    assert lines(panel.models.state()) == ["Loading: 10 %"]
    service.progress, service.speaks = [], loaded("owner/Tiny-1B")
    assert lines(panel.models.state()) == ["Loaded now: Tiny 1B, on the processor, 0.3 GB."]
    service.news = ["4-bit was not possible."]
    assert lines(panel.models.state())[0] == "\u26a0 4-bit was not possible."


def test_unload(panel: Panel, service: ScriptedService) -> None:
    assert lines(panel.models.unload()[0]) == ["Unloaded."]
    assert service.unloads == 1


def test_missing_model_is_downloaded_then_chosen(
    panel: Panel, download: ScriptedDownload, service: ScriptedService, model_list: ModelList
) -> None:
    assert panel.models.load(PHI)[0] == "unchanged"
    assert model_list.chosen == DEFAULT_MODEL, "the old model serves until the new one is here"
    assert download.told.wait(10)
    assert "Downloading Phi-2: 0.50 of 2.00 GB (25" in panel.models.state()
    assert "width:25.0%" in panel.models.state()
    download.go_on.set()
    assert panel.model_download.wait(10)
    assert (download.asked, service.loads, model_list.chosen) == ([PHI], [(PHI, False)], PHI)
    assert lines(panel.models.state())[0] == "Downloaded: Phi-2."


def test_model_that_was_just_downloaded_is_on_the_list_at_once(
    host: Any, service: ScriptedService, download: ScriptedDownload, tmp_path: Path
) -> None:
    findings = Findings()
    model_list = ModelList(
        host.settings, host.tree, lambda *_: findings, lambda: Memory(16 * 10**9, 8 * 10**9), Abilities
    )
    panel = Panel(host, service, model_list=model_list, download=download)
    panel.models.load("owner/mine")
    facts = ModelFacts("safetensors", size=16, weights=16)
    findings.models.append(FoundModel("owner/mine", "Hugging Face", "owner/mine", tmp_path, facts))
    download.go_on.set()
    assert panel.model_download.wait(10)
    assert [value for _, value in model_list.choices(service)][1] == "owner/mine"


def test_cancelled_download_changes_nothing(
    panel: Panel, download: ScriptedDownload, service: ScriptedService, model_list: ModelList
) -> None:
    assert lines(panel.models.cancel()[0]) == ["No download is running."]
    panel.models.load(PHI)
    assert download.told.wait(10)
    assert "What has been downloaded is kept" in panel.models.cancel()[0]
    assert panel.model_download.wait(10)
    assert "continues from there" in panel.models.state()
    assert (service.loads, model_list.chosen) == ([], DEFAULT_MODEL)


def test_second_download_waits_for_the_first(panel: Panel, download: ScriptedDownload) -> None:
    panel.models.load(PHI)
    assert "Phi-2 is still being downloaded" in panel.models.load("owner/other")[1]
    download.go_on.set()
    assert panel.model_download.wait(10)
    assert download.asked == [PHI]


@pytest.mark.parametrize("problem", [FallbackError("The disk is full."), ZeroDivisionError("oops")])
def test_download_that_fails_says_why(
    panel: Panel, download: ScriptedDownload, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zwaif_hooks import log

    monkeypatch.setattr(log, "report", lambda line, error=None: None)
    download.problem = problem
    panel.models.load(PHI)
    assert panel.model_download.wait(10)
    (line,) = [line for line in lines(panel.models.state()) if str(problem) in line]
    assert line.startswith("\u26a0 ")
