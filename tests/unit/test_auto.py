"""``auto``: chosen once, chosen again when memory became free, and never to and fro."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.made_models import put_in_hub, put_in_ollama, write_gguf
from tests.unit.test_memory_fit import EVERYTHING, GB, memory, model
from zwaif_fallback.choosing import auto, resolve_name
from zwaif_fallback.choosing.auto import AutoModel, Constraints, is_auto, loadable, with_memory_returned
from zwaif_fallback.choosing.memory_fit import fit
from zwaif_fallback.choosing.ranking import Choice, choose
from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.memory import GGUF_ON_CARD, GGUF_PROGRAM, planned_facts
from zwaif_fallback.models.program_folders import Machine
from zwaif_fallback.models.search import FoundModel, find_models
from zwaif_hooks.messages import ModelInfo


class Room:
    """A machine whose free memory changes."""

    def __init__(self, *models: FoundModel) -> None:
        self.models = list(models)
        self.free = memory(16)

    def best(self, free: Memory, without: Collection[str]) -> Choice | None:
        return choose([one for one in self.models if str(one.path) not in without], free, can=EVERYTHING)

    def auto(self) -> AutoModel:
        return AutoModel(self.best, lambda: self.free)


def on_disk(tmp_path: Path, name: str, billions: float) -> FoundModel:
    (tmp_path / name).touch()
    return replace(model(name, billions), path=tmp_path / name)


def loaded(size: float, device: str = "cpu") -> LoadedModel:
    return LoadedModel(ModelInfo("m"), "gguf", device=device, memory_bytes=int(size * GB))


def test_the_word() -> None:
    assert is_auto(" 'AUTO' ") and not is_auto("autocomplete-1b") and not is_auto("")


def test_it_stays_what_it_is_until_asked_again(tmp_path: Path) -> None:
    room = Room(on_disk(tmp_path, "3B", 3), on_disk(tmp_path, "8B", 8))
    choice = room.auto()
    assert choice.why == ""
    assert choice.model() == str(tmp_path / "3B")
    room.free = memory(16, 12)
    assert choice.model() == str(tmp_path / "3B")
    assert choice.choose_again()
    assert choice.model() == str(tmp_path / "8B")
    assert "8B is the best that fits (fits on GPU)" in choice.why
    assert not choice.choose_again()


def test_less_memory_is_no_reason_to_change(tmp_path: Path) -> None:
    room = Room(on_disk(tmp_path, "3B", 3), on_disk(tmp_path, "8B", 8))
    room.free = memory(16, 12)
    choice = room.auto()
    assert choice.model().endswith("8B")
    room.free = memory(8)
    assert not choice.choose_again()
    assert choice.model().endswith("8B")


def test_the_memory_of_the_model_that_serves_counts_as_free(tmp_path: Path) -> None:
    room = Room(on_disk(tmp_path, "2B", 2), on_disk(tmp_path, "4B", 4))
    choice = room.auto()
    room.free = memory(3)
    assert choice.model().endswith("2B")
    assert not choice.choose_again()
    assert choice.choose_again(loaded(1.2))
    assert choice.model().endswith("4B")


def test_a_model_that_was_deleted_is_chosen_no_more(tmp_path: Path) -> None:
    room = Room(on_disk(tmp_path, "1B", 1), on_disk(tmp_path, "3B", 3))
    choice = room.auto()
    assert choice.model().endswith("3B")
    (tmp_path / "3B").unlink()
    del room.models[1]
    assert choice.model().endswith("1B")


def test_a_model_that_could_not_be_loaded_is_chosen_no_more(tmp_path: Path) -> None:
    choice = Room(on_disk(tmp_path, "1B", 1), on_disk(tmp_path, "3B", 3)).auto()
    assert not choice.reject(str(tmp_path / "3B")), "nothing was chosen yet"
    assert choice.model().endswith("3B")
    assert not choice.reject(str(tmp_path / "1B"))
    assert choice.reject(str(tmp_path / "3B"))
    assert choice.model().endswith("1B")
    assert not choice.choose_again()
    choice.forget()
    assert choice.model().endswith("3B")


def test_nothing_fits(tmp_path: Path) -> None:
    choice = Room(on_disk(tmp_path, "70B", 70)).auto()
    with pytest.raises(ModelNotFound, match="no model on this computer fits into the free memory"):
        choice.model()
    assert not choice.choose_again()


def test_other_settings_another_choice(tmp_path: Path) -> None:
    room = Room(on_disk(tmp_path, "3B", 3))
    choice = room.auto()
    assert choice.model().endswith("3B")
    room.models.append(on_disk(tmp_path, "3.5B", 3.5))
    choice.forget()
    assert choice.model().endswith("3.5B")


def test_memory_is_given_back_where_the_model_is() -> None:
    both = memory(8, 4)
    assert with_memory_returned(both, None) == both
    assert with_memory_returned(both, loaded(2)).ram_free == 10 * GB
    card = with_memory_returned(replace(both, gpus=(replace(both.gpus[0], free=GB),)), loaded(2, "cuda:0"))
    assert (card.ram_free, card.gpus[0].free) == (8 * GB, 3 * GB)
    assert with_memory_returned(both, loaded(2, "gpu")).gpus[0].free == 4 * GB


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS", "API_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


def test_the_setting_resolves_to_what_is_on_the_disk(home: Path, tmp_path: Path) -> None:
    blob = put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    assert resolve_name.resolve("auto", tmp_path) == str(blob)


def test_what_the_server_runs_is_known_from_z_waif_s_env(home: Path, tmp_path: Path) -> None:
    write_gguf(home / ".lmstudio/models/a/b/Big.gguf", tensors={"t": ((1 << 24,), 12)})
    blob = put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    (tmp_path / ".env").write_text('API_TYPE = Ollama\nZW_OLLAMA_MODEL = "llama3.2:3b"\n')
    choice = auto.choose_here(Constraints(tmp_path))
    assert choice is not None and choice.same_voice and choice.model.path == blob


def test_engines_get_a_name_for_a_repository_and_a_path_for_the_rest(home: Path) -> None:
    put_in_hub(home / ".cache/huggingface/hub", "someone/tiny")
    link = put_in_hub(home / ".cache/huggingface/hub", "someone/Tiny-GGUF", "Tiny-Q4_0.gguf")
    models = find_models(None, "", Machine("Linux", home, {})).models
    assert {loadable(one) for one in models if home in one.path.parents} == {"someone/tiny", str(link)}


@pytest.mark.parametrize("offer", catalogue.OFFERS[:-1], ids=lambda offer: offer.title)
def test_what_an_offer_needs_is_near_what_it_says(offer: catalogue.Offer) -> None:
    facts = planned_facts(offer)
    plenty = memory(1000, 1000)
    how = fit(facts, plenty, quantization="4bit", can=EVERYTHING)
    assert how.verdict == "fits on GPU"
    # For a GGUF file the catalogue plans with a processor; a card gives half a gigabyte more to its own library.
    library = (GGUF_ON_CARD - GGUF_PROGRAM) / GB if offer.format == "GGUF" else 0
    assert how.need.total / GB == pytest.approx(offer.memory_gb + library, abs=0.05)
